"""Which revision the service needs, which one the schema is at, and whether the schema is this service's."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from taskmanager.database.migration_files import migrations_directory

VERSION_TABLE = "taskmanager_schema"
# Alembic's own name for it. Versions before VERSION_TABLE keep the revision there; since then it is a view.
FORMER_VERSION_TABLE = "alembic_version"
# Made by the first migration and used by every version; no other application has all of it.
_CORE = {
    "users": ("id", "username", "email", "password_hash", "disabled", "is_admin", "deleted_at"),
    "sessions": ("id", "user_id", "generation", "last_used_at", "revoked_at"),
    "projects": ("id", "name", "archived", "inbox_of", "version"),
    "project_members": ("project_id", "user_id", "role"),
    "tasks": ("project_id", "id", "title", "status", "assignee_id", "created_by", "completed_at", "version"),
    "comments": ("project_id", "id", "task_id", "author_id", "body", "version"),
    "events": ("project_id", "id", "xid", "actor_id", "entity", "entity_id", "action", "changes"),
}
_CORE_COLUMNS = ", ".join(f"('{table}', '{column}')" for table, columns in _CORE.items() for column in columns)
_STATE = text(f"""
    WITH version_table AS (
        SELECT name, c.relnamespace::regnamespace::text AS schema, n.nspname = current_schema() AS is_here,
               c.relkind = 'r' AND ARRAY(
                   SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
               ) = '{{version_num}}' AS fits
        FROM unnest(ARRAY['{VERSION_TABLE}', '{FORMER_VERSION_TABLE}']) AS name
        JOIN pg_class c ON c.oid = to_regclass(name)
        JOIN pg_namespace n ON n.oid = c.relnamespace
    )
    SELECT own.fits AS own_fits, own.schema AS own_schema,
           former.fits AS former_fits, former.schema AS former_schema, former.is_here AS former_is_here,
           NOT EXISTS (
               SELECT FROM (VALUES {_CORE_COLUMNS}) AS needed(name, attribute)
               WHERE NOT EXISTS (
                   SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                   WHERE c.oid = to_regclass(needed.name) AND c.relkind IN ('r', 'p')
                     AND a.attname = needed.attribute AND a.attnum > 0 AND NOT a.attisdropped
               )
           ) AS has_core,
           EXISTS (
               SELECT FROM pg_class c
               WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
                 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname <> '{FORMER_VERSION_TABLE}'
                 AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = c.oid AND e.deptype = 'e')
           ) AS has_others
    FROM (VALUES (true)) AS always
    LEFT JOIN version_table own ON own.name = '{VERSION_TABLE}'
    LEFT JOIN version_table former ON former.name = '{FORMER_VERSION_TABLE}'
""")
_REVISIONS = "SELECT version_num FROM {} ORDER BY version_num"


@dataclass(frozen=True)
class SchemaVersion:
    """The revision of the schema, or None if there is none yet; where it is recorded; why it is not ours, if it isn't.

    `table` is one of the two names above, `schema` is quoted for use in SQL.
    """

    revision: str | None = None
    table: str | None = None
    schema: str | None = None
    refusal: str | None = None


def newest_revision() -> str:
    """Return the revision of the newest migration, with which the name of its file begins."""
    # Alembic would tell, but takes a fifth of the whole start to import.
    return max(file.name.partition("_")[0] for file in (migrations_directory() / "versions").glob("[0-9]*.py"))


async def read_schema_version(connection: AsyncSession | AsyncConnection) -> SchemaVersion:
    """Return which revision the schema is at; only its structure proves that it is this service's, never the number."""
    state = (await connection.execute(_STATE)).one()
    if state.own_fits is not None:
        table, schema, fits = VERSION_TABLE, state.own_schema, state.own_fits
    elif state.former_fits is not None and (state.former_is_here or state.has_core):
        table, schema, fits = FORMER_VERSION_TABLE, state.former_schema, state.former_fits
    else:
        return SchemaVersion()
    if not fits:
        refusal = f"the database belongs to another application, which has its own {table}"
        return SchemaVersion(table=table, schema=schema, refusal=refusal)
    # More than one only where it is another application's.
    revision = ", ".join((await connection.execute(text(_REVISIONS.format(table)))).scalars()) or None
    is_ours = state.has_core
    if revision is None:
        # Made by a migration that was interrupted before the first revision; beside the tables of another application
        # it may be that one's.
        is_ours = is_ours or table == VERSION_TABLE or not state.has_others
    refusal = f"the database belongs to another application, which left it at revision {revision or 'none'}"
    return SchemaVersion(revision, table, schema, None if is_ours else refusal)

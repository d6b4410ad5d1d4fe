"""Takes over the record of the schema's revision, and refuses the database of another application."""

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from taskmanager.database.checks import read_state
from taskmanager.database.database import SCHEMA_REVISION, Base, SchemaError, is_known_revision
from taskmanager.database.schema_version import FORMER_VERSION_TABLE, VERSION_TABLE, SchemaVersion, read_schema_version

_TAKEN_NAMES = text("""
    SELECT relname FROM pg_class
    WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relname = ANY(:names)
    UNION
    SELECT typname FROM pg_type
    WHERE typnamespace = to_regnamespace(quote_ident(current_schema())) AND typname = ANY(:names)
    ORDER BY 1
""")
_GRANTS = text(f"""
    SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE CAST(CAST(grantee AS regrole) AS text) END AS grantee
    FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))
    WHERE oid = to_regclass('{VERSION_TABLE}') AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
      AND grantee <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
""")


async def take_over(connection: AsyncConnection, names: Collection[str]) -> str | None:
    """Have the revision in our own version table from now on, and return it, or None if no migration has run.

    Versions that know only Alembic's own table go on: in its place there is a view of ours that can be written.

    Args:
        connection: Outside of a transaction.
        names: Of all tables and indexes that the migrations make.

    Raises:
        SchemaError: The database, or one of the names, belongs to another application; nothing was written.
    """
    async with connection.begin():
        state = await read_state(connection, Base.metadata)
        for fault in state.server_faults():
            raise SchemaError(fault)
        found = await read_schema_version(connection)
        if found.refusal:
            raise SchemaError(found.refusal)
        if found.revision is None or (found.revision != SCHEMA_REVISION and is_known_revision(found.revision)):
            for fault in state.creation_faults():
                raise SchemaError(fault)
        if found.revision is None and (taken := await _taken(connection, names)):
            shown = ", ".join(taken[:3]) + (" and others" if len(taken) > 3 else "")
            raise SchemaError(
                f"the database has {shown} of another application, or of this service without its {VERSION_TABLE}: "
                "DATABASE_URL must name a database of its own"
            )
        await _keep_revision(connection, found)
    return found.revision


async def _taken(connection: AsyncConnection, names: Collection[str]) -> list[str]:
    return list((await connection.execute(_TAKEN_NAMES, {"names": list(names)})).scalars())


async def _keep_revision(connection: AsyncConnection, found: SchemaVersion) -> None:
    if found.table == VERSION_TABLE:
        return
    schema = ""
    if found.table == FORMER_VERSION_TABLE:
        schema = f"{found.schema}."
        await connection.execute(text(f"ALTER TABLE {schema}{FORMER_VERSION_TABLE} RENAME TO {VERSION_TABLE}"))
    else:
        key = f"CONSTRAINT {VERSION_TABLE}_pkey PRIMARY KEY"
        await connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num varchar(32) NOT NULL {key})"))
        if await _taken(connection, [FORMER_VERSION_TABLE]):
            return
    view = f"{schema}{FORMER_VERSION_TABLE}"
    await connection.execute(text(f"CREATE VIEW {view} AS SELECT version_num FROM {schema}{VERSION_TABLE}"))
    for grant in (await connection.execute(_GRANTS)).all():
        await connection.execute(text(f"GRANT {grant.privilege_type} ON {view} TO {grant.grantee}"))

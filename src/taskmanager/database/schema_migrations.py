"""How Alembic is configured, and what migrations use to index large tables."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command, op
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.migration_files import migrations_directory
from taskmanager.database.schema_version import newest_revision

# Shorter than a request waits for a lock, because requests queue behind a migration that waits for a table.
TABLE_LOCK_TIMEOUT_MS = 500
# CREATE INDEX CONCURRENTLY blocks no request while it waits for older transactions, so it may wait long.
PATIENCE_SECONDS = 600
LOCK_NOT_AVAILABLE = "55P03"
_INDEX = text("""
    SELECT indisvalid AS is_valid, CAST(CAST(indrelid AS regclass) AS text) AS "table",
           pg_get_indexdef(indexrelid, 0, true) AS statement
    FROM pg_index WHERE indexrelid = to_regclass(:name)
""")


class HeldUpError(Exception):
    """An older transaction has not ended within PATIENCE_SECONDS."""


def alembic_config(database_url: str | None = None) -> Config:
    """Return Alembic's configuration, pointing at our migrations and, if given, at one database."""
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    return config


def start_migration(message: str) -> None:
    """Write the file of a new migration, with the next number; `message` says what it does: `add labels`."""
    command.revision(alembic_config(), message=message, rev_id=f"{int(newest_revision()) + 1:04}")


def build_index(name: str, definition: str, *, unique: bool = False) -> None:
    """Build an index from within a migration, while others write; commits what the migration has done before.

    After an interruption it goes on: an index that is complete stays, an invalid one is built again.

    Args:
        name: Of the index.
        definition: What follows ON, as `pg_get_indexdef(..., 0, true)` writes it: `tasks USING btree (created_at)`.
            Written in another way the index is the same, but is built again after each interruption.
        unique: Whether no two rows may have the same.

    Raises:
        HeldUpError: An older transaction stayed open.
        sqlalchemy.exc.DBAPIError: The server refused, for example because another table has an index of that name.
    """
    kind = "UNIQUE INDEX" if unique else "INDEX"
    with _patiently():
        there = None if op.get_context().as_sql else op.get_bind().execute(_INDEX, {"name": name}).one_or_none()
        if there and there.is_valid and there.statement == f"CREATE {kind} {name} ON {definition}":
            return
        if op.get_context().as_sql or (there and there.table == definition.partition(" ")[0]):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE {kind} CONCURRENTLY {name} ON {definition}")


def drop_index(name: str) -> None:
    """Drop an index from within a migration, while others write; commits what the migration has done before.

    Raises:
        HeldUpError: An older transaction stayed open.
    """
    with _patiently():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


@contextmanager
def _patiently() -> Iterator[None]:
    context = op.get_context()
    try:
        with context.autocommit_block():
            op.execute(f"SET lock_timeout = '{PATIENCE_SECONDS}s'")
            yield
            op.execute(f"SET lock_timeout = '{TABLE_LOCK_TIMEOUT_MS}ms'")
    except DBAPIError as error:
        if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
            raise
        raise HeldUpError from error

"""Alembic's environment: migrates over one connection, one process at a time."""

import asyncio
from importlib import import_module

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.base import ischema_names

from taskmanager.commands.migrating import migration_connection
from taskmanager.commands.taking_over import take_over
from taskmanager.database.checks import table_modules
from taskmanager.database.database import Base
from taskmanager.database.schema_migrations import TABLE_LOCK_TIMEOUT_MS
from taskmanager.database.schema_version import VERSION_TABLE
from taskmanager.events.models import TransactionId

for _name in table_modules():
    import_module(_name)

# SQLAlchemy's reflection does not know the type yet.
ischema_names.setdefault("xid8", TransactionId)


def _names() -> set[str]:
    tables = Base.metadata.tables.values()
    indexes = {str(index.name) for table in tables for index in table.indexes}
    return indexes | {str(table.primary_key.name) for table in tables} | {table.name for table in tables}


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


async def _migrate_online(database_url: str) -> None:
    known = {step.revision for step in context.script.walk_revisions()}
    async with migration_connection(database_url) as connection:
        revision = await take_over(connection, _names())
        # There is nothing to do at the revision of a newer version, which only adds to the schema.
        if revision is None or revision in known:
            await connection.run_sync(_migrate)


def _print_sql() -> None:
    context.configure(
        dialect_name="postgresql",
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.execute(f"SET lock_timeout = '{TABLE_LOCK_TIMEOUT_MS}ms'")
        context.run_migrations()


if context.is_offline_mode():
    _print_sql()
else:
    asyncio.run(_migrate_online(context.config.attributes["database_url"]))

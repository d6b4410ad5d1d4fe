"""Alembic's environment: migrates over one connection, one process at a time."""

import asyncio
import time
from importlib import import_module

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from taskmanager.database.database import Base
from taskmanager.events.models import TransactionId

for _feature in ("accounts", "comments", "events", "notifications", "projects", "rate_limits", "tasks"):
    import_module(f"taskmanager.{_feature}.models")
import_module("taskmanager.idempotency")

# SQLAlchemy's reflection does not know the type yet.
ischema_names.setdefault("xid8", TransactionId)

_ADVISORY_LOCK = 7_463_526_194_023_211
_LOCK_WAIT_SECONDS = 60
# Shorter than a request waits for a lock: while a migration waits for a table, everybody else queues up behind it.
_TABLE_LOCK_TIMEOUT = "500ms"


def _wait_for_lock(connection: Connection) -> None:
    # Polled: waiting inside pg_advisory_lock would deadlock with CREATE INDEX CONCURRENTLY,
    # which waits for every transaction that holds a snapshot.
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK}).scalar():
        connection.commit()
        if time.monotonic() > deadline:
            raise TimeoutError("another migration has been running for a minute")
        time.sleep(0.1)
    connection.commit()


def _migrate(connection: Connection) -> None:
    _wait_for_lock(connection)
    try:
        context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
        connection.commit()


async def _migrate_online(database_url: str) -> None:
    engine = create_async_engine(
        database_url,
        poolclass=NullPool,
        connect_args={
            "timeout": 5,
            "server_settings": {"lock_timeout": _TABLE_LOCK_TIMEOUT, "application_name": "migration"},
        },
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


def _print_sql() -> None:
    context.configure(
        dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.execute(f"SET lock_timeout = '{_TABLE_LOCK_TIMEOUT}'")
        context.run_migrations()


if context.is_offline_mode():
    _print_sql()
else:
    asyncio.run(_migrate_online(context.config.attributes["database_url"]))

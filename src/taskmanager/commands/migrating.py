"""`taskmanager migrate`: waits for other migrations and reports failures."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import typer
from alembic import command
from alembic.util import CommandError
from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from taskmanager.database import schema_migrations
from taskmanager.database.connections import DRIVER_URL
from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.failures import describe_failure
from taskmanager.database.poolers import is_direct, refuses_settings
from taskmanager.database.schema_migrations import (
    LOCK_NOT_AVAILABLE,
    TABLE_LOCK_TIMEOUT_MS,
    HeldUpError,
    alembic_config,
)
from taskmanager.libpq.address import read_address

_ADVISORY_LOCK = 7_463_526_194_023_211
# A migration gives up waiting for a table quickly, so that requests do not queue behind it, and tries again later.
_TRIES = 14
_PAUSE_SECONDS = 1.0
_POLL_SECONDS = 0.1
_SAY_AFTER_SECONDS = 10
# Nobody waits for an answer, and a server that is scaled to zero needs its time.
_CONNECT_SECONDS = 30.0
_DEADLOCK = "40P01"
_DISK_FULL = "53100"
_FOREIGN_PREPARED_STATEMENTS = {"26000", "42P05"}  # a pooler has exchanged the server connection
# A connection refused, lost or not admitted, and a server that shuts down or is not set up.
_UNREACHABLE_SQLSTATES = ("08", "28", "3D", "533", "57P")
POOLER = (
    "a migration needs the server itself and DATABASE_URL leads to a pooler: "
    "set DATABASE_DIRECT_URL to the address of the server"
)
_AGAIN = "run `taskmanager migrate` again, it goes on from here"
# Those of the connection have priority over what was set for the role or the database.
_SERVER_SETTINGS = {
    "application_name": "migration",
    "statement_timeout": "0",
    "lock_timeout": f"{TABLE_LOCK_TIMEOUT_MS}ms",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
_BACKEND = """
    a.pid, a.usename AS role, coalesce(nullif(a.application_name, ''), a.backend_type) AS name,
    CAST(extract(epoch FROM clock_timestamp() - a.xact_start) AS bigint) AS seconds
"""
_HOLDER = text(f"""
    SELECT b.pid AS holder, {_BACKEND}
    FROM unnest(pg_blocking_pids(:pid)) AS b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid
    ORDER BY a.xact_start LIMIT 1
""")
_OTHER_MIGRATION = text(f"""
    SELECT l.pid AS holder, {_BACKEND}
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid = CAST(CAST(:key AS bigint) >> 32 AS oid)
      AND l.objid = CAST(CAST(:key AS bigint) & 4294967295 AS oid)
""")


class MigrationError(Exception):
    """The migration did not come to its end; one line says why."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class TableLockedError(MigrationError):
    """Another transaction held a table for longer than others should wait behind this one."""


def migrate_schema(database_url: str) -> None:
    """Bring the schema up to date; leave that of a newer version alone.

    Raises:
        MigrationError: It stopped; what is committed stays, and the next call goes on from there.
        SchemaError: The database belongs to another application; nothing was written.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            command.upgrade(alembic_config(database_url), "head")
        except TableLockedError:
            if not tries_left:
                raise
            time.sleep(_PAUSE_SECONDS)
        except CommandError as error:
            raise MigrationError(str(error), exit_code=2) from error
        except (SQLAlchemyError, OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise _explained(_first(error)) from error
        else:
            return


def _first(error: Exception) -> Exception:
    # A lost connection fails the statement first, then every step of the clean-up.
    first, cause = error, error.__context__
    while cause is not None:
        first = cause if isinstance(cause, DBAPIError) else first
        cause = cause.__context__
    return first


def _explained(error: Exception) -> MigrationError:
    state = sqlstate_of(error)
    if refuses_settings(error) or state in _FOREIGN_PREPARED_STATEMENTS:
        return MigrationError(POOLER, exit_code=2)
    if not isinstance(error, DBAPIError) or state is None or state.startswith(_UNREACHABLE_SQLSTATES):
        return MigrationError(describe_failure(error), exit_code=2)
    message = str(getattr(error.orig, "__cause__", None) or error.orig).partition("\n")[0]
    if state == _DISK_FULL:
        return MigrationError(f"the disk of the database is full ({message}): make room, then {_AGAIN}")
    return MigrationError(f"the database stopped the migration ({message}): mend that, then {_AGAIN}")


def _describe(backend: Row[Any]) -> str:
    if not backend.holder:
        return "a prepared transaction (see pg_prepared_xacts)"
    if backend.pid is None:
        return f"backend {backend.holder}"
    # Only a role with more rights sees the times of another role's backend.
    since = "" if backend.seconds is None else f", its transaction open for {backend.seconds} s"
    return f"backend {backend.holder} ({backend.name}, role {backend.role}{since})"


class _Watch:
    """Looks over a connection of its own for what the migration waits for."""

    def __init__(self, engine: AsyncEngine, pid: int) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._pid = pid
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._since: tuple[int, float] | None = None
        self.holder: str | None = None

    async def stop(self) -> None:
        """Close the connection."""
        self._stopped.set()
        await self._task

    async def _run(self) -> None:
        # The migration goes on without it; an error then does not name what it waited for.
        with suppress(Exception):
            async with self._engine.connect() as connection:
                while not self._stopped.is_set():
                    found = (await connection.execute(_HOLDER, {"pid": self._pid})).one_or_none()
                    self._note(found)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopped.wait(), _POLL_SECONDS)

    def _note(self, found: Row[Any] | None) -> None:
        if found is None:
            self._since = None
            return
        self.holder = _describe(found)
        if self._since is None or self._since[0] != found.holder:
            self._since = (found.holder, time.monotonic() + _SAY_AFTER_SECONDS)
        elif time.monotonic() > self._since[1]:
            typer.echo(f"taskmanager: waiting for {self.holder}", err=True)
            self._since = (found.holder, float("inf"))


@asynccontextmanager
async def migration_connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    """Yield the connection of the one migration that may run in a database at a time.

    Raises:
        MigrationError: The server refused the connection, another migration is running, or another transaction held
            this one up.
        sqlalchemy.exc.DBAPIError: The server refused.
        OSError: The server cannot be reached.
    """
    address = read_address(database_url)
    arguments = {
        **address.connect_args(),
        "timeout": min(address.connect_timeout_seconds or _CONNECT_SECONDS, _CONNECT_SECONDS),
        "server_settings": {**_SERVER_SETTINGS, **address.server_settings},
    }
    engine = create_async_engine(DRIVER_URL, poolclass=NullPool, connect_args=arguments)
    is_connected = False
    try:
        async with engine.connect() as connection:
            is_connected = True
            await _refuse_pooler(connection)
            await _let_the_server_notice_an_end(connection)
            await _wait_for_lock(connection)
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await connection.commit()
            watch = _Watch(engine, pid)
            try:
                yield connection
            except HeldUpError as error:
                holder = watch.holder or "an older transaction"
                message = f"waited {schema_migrations.PATIENCE_SECONDS} s for {holder}: end that, then {_AGAIN}"
                raise MigrationError(message) from error
            except DBAPIError as error:
                if sqlstate_of(error) not in {LOCK_NOT_AVAILABLE, _DEADLOCK}:
                    raise
                holder = watch.holder or "another transaction"
                raise TableLockedError(f"a table stayed locked by {holder}: end that, then {_AGAIN}") from error
            finally:
                await watch.stop()
    except DBAPIError as error:
        if is_connected or refuses_settings(error):
            raise
        raise MigrationError(describe_failure(error), exit_code=2) from error
    finally:
        await engine.dispose()


async def _refuse_pooler(connection: AsyncConnection) -> None:
    # The advisory lock, and settings that last, belong to a server connection.
    driver_connection = (await connection.get_raw_connection()).driver_connection
    assert driver_connection is not None
    if not await is_direct(driver_connection):
        raise MigrationError(POOLER, exit_code=2)


async def _let_the_server_notice_an_end(connection: AsyncConnection) -> None:
    # The statement of a process that was killed ends soon, instead of letting the next migration wait for its end.
    with suppress(DBAPIError):  # not on Windows
        await connection.execute(text("SET client_connection_check_interval = '2s'"))
        await connection.commit()
        return
    await connection.rollback()


async def _wait_for_lock(connection: AsyncConnection) -> None:
    # Polled: waiting inside pg_advisory_lock would deadlock with CREATE INDEX CONCURRENTLY,
    # which waits for every transaction that holds a snapshot. Closing the connection gives the lock back.
    patience = schema_migrations.PATIENCE_SECONDS
    deadline = time.monotonic() + patience
    key = {"key": _ADVISORY_LOCK}
    while not (await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key)).scalar():
        await connection.commit()
        if time.monotonic() > deadline:
            other = (await connection.execute(_OTHER_MIGRATION, key)).first()
            named = f", {_describe(other)}" if other else ""
            raise MigrationError(f"waited {patience} s for another migration{named}: {_AGAIN}")
        await asyncio.sleep(_POLL_SECONDS)
    await connection.commit()

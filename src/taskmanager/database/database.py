"""The connections of a process, and what the schema must look like."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, cast

import asyncpg
from sqlalchemy import MetaData, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import AsyncAdaptedQueuePool

from taskmanager.database.checks import Fault, read_state
from taskmanager.database.connections import EngineMaker
from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.measuring import StatementMeter
from taskmanager.database.opening import open_completely
from taskmanager.database.schema_version import newest_revision, read_schema_version
from taskmanager.settings import DatabaseSettings

SCHEMA_REVISION = newest_revision()
# How long a request waits for a new connection. Opening may take longer: the next request then finds it open.
REQUEST_CONNECT_SECONDS = 1.0
# For statements that requests share, and for reads that run alone; see `sharing` and `reads`.
SHARED_CONNECTIONS = 2
ALONE_CONNECTIONS = 2
# Longer than a migration waits for a table.
_SHARED_LOCK_TIMEOUT_MS = 1_100
_READ_ONLY = "25006"
# A plan is made once and kept, so one made for a small table must still be right when the table has grown.
_PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}


class Base(DeclarativeBase):
    """Base of every mapped table; names every constraint, so that an error's constraint can be recognised by name."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


class SharedConnection:
    """A held connection in AUTOCOMMIT, for one statement or transaction at a time.

    Outside of `transaction`, each statement is a transaction of its own, committed when it returns.
    """

    def __init__(
        self,
        session: AsyncSession,
        driver_connection: "asyncpg.Connection[asyncpg.Record]",
        meter: "StatementMeter",
    ) -> None:
        self._session = session
        self._driver_connection = driver_connection
        self._meter = meter
        self.used_at = time.monotonic()

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Run a statement with `$1`, `$2` and so on for its arguments, past SQLAlchemy's own layers.

        Raises:
            asyncpg.PostgresError: The server refused the statement and rolled it back.
            asyncpg.InterfaceError: The connection is closed.
            OSError: The connection was lost, or the server did not answer in time.
        """
        started = time.perf_counter()
        try:
            rows = await self._driver_connection.fetch(sql, *arguments)
        finally:
            self._meter.add(started)
        self.used_at = time.monotonic()
        return rows

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commit what is fetched in the block when it ends, and roll it back when it raises.

        Raises:
            asyncpg.PostgresError: The COMMIT failed; nothing was stored.
            OSError: The connection was lost, or the server did not answer in time.
        """
        async with self._driver_connection.transaction():
            yield
            started = time.perf_counter()
        self._meter.add(started)
        self.used_at = time.monotonic()

    @property
    def is_lost(self) -> bool:
        """Whether the server is known to have closed the connection."""
        return self._driver_connection.is_closed()

    async def close(self) -> None:
        """Give the connection back to its pool."""
        await self._session.close()

    async def discard(self) -> None:
        """Close the connection for good, after it failed."""
        await self._session.invalidate()


class SchemaError(Exception):
    """The server, the database or its schema does not fit this code; the message is one line.

    `reason` is that line without what only operators should read.
    """

    def __init__(self, problem: Fault | str) -> None:
        super().__init__(str(problem))
        self.reason = problem.reason if isinstance(problem, Fault) else problem


class Database:
    """The connections of a process, a few for each kind of statement.

    `wait_seconds` is how long a request waits for a connection, `connect_wait_seconds` how long for a new one to be
    opened (None: as long as the settings allow). No engine is made before it is used.
    """

    def __init__(self, settings: DatabaseSettings, *, connect_wait_seconds: float | None = None) -> None:
        self.wait_seconds = settings.database_pool_wait_seconds
        self.write_connections = settings.database_pool_size
        self.meter = StatementMeter()
        self._settings = settings
        self._engines = EngineMaker(settings, connect_wait_seconds)

    @cached_property
    def engine(self) -> AsyncEngine:
        """The connections for writes, all of them in AUTOCOMMIT."""
        # Writes find their rows by key, so one plan is right for all values, and planning costs more than running.
        engine = self._engines.new_held(self.write_connections, _PLANNED_ONCE)
        self.meter.watch(engine)
        event.listen(engine.sync_engine, "handle_error", _leave_read_only_server)
        return engine

    @cached_property
    def _shared_engine(self) -> AsyncEngine:
        # These statements skip locked rows, so they wait only for a table that is locked as a whole.
        lock_timeout = str(min(_SHARED_LOCK_TIMEOUT_MS, self._settings.database_lock_timeout_ms))
        settings = {**_PLANNED_ONCE, "lock_timeout": lock_timeout}
        return self._engines.new_held(SHARED_CONNECTIONS, settings)

    @cached_property
    def _alone_engine(self) -> AsyncEngine:
        # A filter may match one row in a million or all of them, so each plan has to consider its value.
        return self._engines.new_held(ALONE_CONNECTIONS, {"plan_cache_mode": "force_custom_plan"})

    @cached_property
    def _long_engine(self) -> AsyncEngine:
        # Deleting a whole project takes longer than other requests may wait for a connection, so it has its own.
        return self._engines.new_held(1, {}, statement_timeout_ms=self._settings.database_long_statement_timeout_ms)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncSession]:
        """Yield a session in AUTOCOMMIT on one of the connections for writes, which must not all be held.

        Raises:
            sqlalchemy.exc.TimeoutError: All of them are held.
            sqlalchemy.exc.DBAPIError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @property
    def shared_connections(self) -> int:
        """How many connections are open for statements that requests share."""
        pool = cast("AsyncAdaptedQueuePool", self._shared_engine.pool)
        return pool.checkedin() + pool.checkedout()

    async def connect_shared(self) -> SharedConnection:
        """Return a connection for statements that requests share; its owner closes or discards it.

        Raises:
            sqlalchemy.exc.TimeoutError: All of them are taken.
            sqlalchemy.exc.DBAPIError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        return await self._connect_held(self._shared_engine)

    async def connect_writing(self) -> SharedConnection:
        """Return a connection for writes; its owner closes or discards it.

        Raises:
            sqlalchemy.exc.TimeoutError: All of them are taken.
            sqlalchemy.exc.DBAPIError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        return await self._connect_held(self.engine)

    async def connect_long(self) -> SharedConnection:
        """Return the connection for writes that take long; its owner closes or discards it.

        Raises:
            sqlalchemy.exc.TimeoutError: It is taken.
            sqlalchemy.exc.DBAPIError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        return await self._connect_held(self._long_engine)

    async def connect_alone(self) -> SharedConnection:
        """Return a connection for reads that run alone, planned for their values; its owner closes or discards it.

        Raises:
            sqlalchemy.exc.TimeoutError: All of them are taken.
            sqlalchemy.exc.DBAPIError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        return await self._connect_held(self._alone_engine)

    async def _connect_held(self, engine: AsyncEngine) -> SharedConnection:
        return await open_completely(self._open_held(engine), SharedConnection.close)

    async def _open_held(self, engine: AsyncEngine) -> SharedConnection:
        session = AsyncSession(engine, expire_on_commit=False)
        try:
            pooled = await (await session.connection()).get_raw_connection()
        except BaseException:
            await session.close()
            raise
        assert pooled.driver_connection is not None
        return SharedConnection(session, pooled.driver_connection, self.meter)

    async def check_schema(self) -> str:
        """Make sure that server, schema and rights fit this code, and return the schema's revision.

        A revision that this code does not know is taken for that of a newer version, which only adds to the schema: the
        old version serves on while the new one is rolled out, and starts after it was rolled back.

        Raises:
            SchemaError: The server is too old or read-only, the encoding is not UTF8, the schema is behind the code or
                not this service's, or the role lacks rights.
        """
        async with self.reader() as session:
            state = await read_state(session, Base.metadata)
            for fault in state.server_faults():
                raise SchemaError(fault)
            found = await read_schema_version(session)
        if found.refusal:
            raise SchemaError(found.refusal)
        revision = found.revision
        if revision is None or (revision != SCHEMA_REVISION and is_known_revision(revision)):
            raise SchemaError(
                f"the database schema is at revision {revision or 'none'} and this version needs {SCHEMA_REVISION}: "
                "run `taskmanager migrate`"
            )
        for fault in state.right_faults():
            raise SchemaError(fault)
        return revision

    async def dispose(self) -> None:
        """Close every connection."""
        await self._engines.close()


def _leave_read_only_server(failure: ExceptionContext) -> None:
    # After a failover the address leads elsewhere, and settings of a role or a database apply to new connections only:
    # a held one could stay read-only for ever. Each other connection of the pool is replaced at its own first error.
    if sqlstate_of(failure.original_exception) == _READ_ONLY:
        failure.is_disconnect = True
        failure.invalidate_pool_on_disconnect = False


def is_known_revision(revision: str) -> bool:
    """Return whether a revision is one of this code's migrations, which are numbered."""
    return revision <= SCHEMA_REVISION

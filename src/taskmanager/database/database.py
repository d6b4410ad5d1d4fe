"""The connections of a process, and what the schema must look like."""

import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import MetaData, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase

from taskmanager.database.checks import Fault, read_state
from taskmanager.database.connections import EngineMaker
from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.measuring import StatementMeter
from taskmanager.database.opening import open_completely
from taskmanager.database.poolers import PoolerMode
from taskmanager.database.pools import Pool, first_of_transaction, server_settings, sizes_of
from taskmanager.database.schema_version import newest_revision, read_schema_version
from taskmanager.database.server_settings import IN_FORCE, RoleSettings
from taskmanager.database_settings import DatabaseSettings

SCHEMA_REVISION = newest_revision()
# How long a request waits for a new connection. Opening may take longer: the next request then finds it open.
REQUEST_CONNECT_SECONDS = 1.0
_READ_ONLY = "25006"


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

    Outside of `transaction`, each statement is a transaction of its own, committed when it returns. Each `transaction`
    begins with `first_of_transaction`, if there is one.
    """

    def __init__(
        self,
        session: AsyncSession,
        driver_connection: "asyncpg.Connection[asyncpg.Record]",
        meter: "StatementMeter",
        first_of_transaction: str = "",
    ) -> None:
        self._session = session
        self._driver_connection = driver_connection
        self._meter = meter
        self._first_of_transaction = first_of_transaction
        self.used_at = time.monotonic()

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Run a statement with `$1`, `$2` and so on for its arguments, past SQLAlchemy's own layers.

        Raises:
            asyncpg.PostgresError: The server refused the statement and rolled it back.
            asyncpg.InterfaceError: The connection is closed.
            OSError: The connection was lost, or the server did not answer in time.
        """
        return await self._measured(self._driver_connection.fetch(sql, *arguments))

    async def fetch_each(self, sql: str, requests: Sequence[Sequence[Any]]) -> Sequence[asyncpg.Record]:
        """Run a statement for each of the requests, in one transaction, and return the rows of all in their order.

        Raises:
            asyncpg.PostgresError: The server refused one of them and rolled back all.
            asyncpg.InterfaceError: The connection is closed.
            OSError: The connection was lost, or the server did not answer in time.
        """
        if not self._first_of_transaction:
            # One message. PostgreSQL commits what it holds when it has run all of it (manual, "Pipelining").
            return await self._measured(self._driver_connection.fetchmany(sql, requests))
        async with self.transaction():
            return await self._measured(self._driver_connection.fetchmany(sql, requests))

    async def _measured(self, rows: Awaitable[Sequence[asyncpg.Record]]) -> Sequence[asyncpg.Record]:
        started = time.perf_counter()
        try:
            found = await rows
        finally:
            self._meter.add(started)
        self.used_at = time.monotonic()
        return found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commit what is fetched in the block when it ends, and roll it back when it raises.

        Raises:
            asyncpg.PostgresError: The COMMIT failed; nothing was stored.
            OSError: The connection was lost, or the server did not answer in time.
        """
        async with self._driver_connection.transaction():
            if self._first_of_transaction:
                await self._driver_connection.execute(self._first_of_transaction)
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
    """The connections of a process, a pool of a few for each kind of statement.

    `connect_wait_seconds` is how long a request waits for a new connection to be opened (None: as long as the settings
    allow). `limits` are settings that differ from those of the process. With `checks_settings` what the role has to
    have set behind a pooler is checked with each new connection. No engine is made before it is used.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        connect_wait_seconds: float | None = None,
        limits: Mapping[str, Any] | None = None,
        checks_settings: bool = True,
    ) -> None:
        self._settings = settings.model_copy(update=limits)
        self.wait_seconds = self._settings.database_pool_wait_seconds
        self.sizes = sizes_of(self._settings)
        self.meter = StatementMeter()
        self.role_settings = RoleSettings(settings)
        self._engines = EngineMaker(
            self._settings, connect_wait_seconds, self.role_settings if checks_settings else None
        )
        self._by_pool: dict[Pool, AsyncEngine] = {}

    @property
    def pooler_mode(self) -> PoolerMode | None:
        """What lies before the server; None before the first connection, unless the settings say it."""
        return self._engines.pooler_mode

    @property
    def engine(self) -> AsyncEngine:
        """The connections for writes, all of them in AUTOCOMMIT."""
        return self.engine_of(Pool.WRITING)

    def engine_of(self, pool: Pool) -> AsyncEngine:
        """Return the connections of a pool, all of them in AUTOCOMMIT."""
        engine = self._by_pool.get(pool)
        if engine is None:
            engine = self._by_pool[pool] = self._new_engine(pool)
        return engine

    def _new_engine(self, pool: Pool) -> AsyncEngine:
        is_long = pool is Pool.LONG
        timeout_ms = self._settings.database_long_statement_timeout_ms if is_long else None
        engine = self._engines.new_held(
            self.sizes[pool], server_settings(pool, self._settings), statement_timeout_ms=timeout_ms
        )
        if pool is Pool.WRITING:
            self.meter.watch(engine)
            event.listen(engine.sync_engine, "handle_error", _leave_read_only_server)
        return engine

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

    async def connect(self, pool: Pool) -> SharedConnection:
        """Return a connection of a pool; its owner closes or discards it.

        Raises:
            sqlalchemy.exc.TimeoutError: All of them are taken.
            sqlalchemy.exc.DBAPIError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        return await open_completely(self._open(pool), SharedConnection.close)

    async def _open(self, pool: Pool) -> SharedConnection:
        session = AsyncSession(self.engine_of(pool), expire_on_commit=False)
        try:
            pooled = await (await session.connection()).get_raw_connection()
        except BaseException:
            await session.close()
            raise
        assert pooled.driver_connection is not None
        is_shared = self.pooler_mode is PoolerMode.TRANSACTION
        first = first_of_transaction(pool, self._settings) if is_shared else ""
        return SharedConnection(session, pooled.driver_connection, self.meter, first)

    async def check_schema(self) -> str:
        """Make sure that server, schema and rights fit this code, and return the schema's revision.

        A revision that this code does not know is taken for that of a newer version, which only adds to the schema: the
        old version serves on while the new one is rolled out, and starts after it was rolled back.

        Raises:
            SchemaError: The server is too old or read-only, the encoding is not UTF8, the schema is behind the code or
                not this service's, the role lacks rights, or settings behind a pooler.
        """
        async with self.reader() as session:
            state = await read_state(session, Base.metadata)
            for fault in state.server_faults():
                raise SchemaError(fault)
            if unset := await self._settings_fault(session):
                raise SchemaError(unset)
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

    async def _settings_fault(self, session: AsyncSession) -> Fault | None:
        if self.pooler_mode is not PoolerMode.TRANSACTION:
            return None
        # Each server connection has those of the moment in which the pooler opened it.
        return self.role_settings.fault((await session.execute(text(IN_FORCE))).mappings().one())

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

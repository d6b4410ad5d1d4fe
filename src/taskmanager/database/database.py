"""The connection pool, its two kinds of session, and what the schema must look like."""

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, cast

import asyncpg
from sqlalchemy import BigInteger, MetaData, TextClause, bindparam, event, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.types import TypeEngine

from taskmanager.database.checks import Fault, read_state
from taskmanager.database.connections import EngineMaker
from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.measuring import MeasuredPool, StatementMeter
from taskmanager.database.schema_version import read_schema_version
from taskmanager.settings import DatabaseSettings

# The newest migration. Alembic would tell, but takes a fifth of the whole start to import.
SCHEMA_REVISION = "0004"
# The longest that a request waits for a new connection, which may take longer: the next one finds it open.
REQUEST_CONNECT_SECONDS = 1.0
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
# For statements that requests share, and for reads that run alone; see `sharing` and `reads`.
SHARED_CONNECTIONS = 2
ALONE_CONNECTIONS = 2
# Longer than a migration asks for a table.
_SHARED_LOCK_TIMEOUT_MS = 1_100
_READ_ONLY = "25006"


class Base(DeclarativeBase):
    """Base of every mapped table; names every constraint, so that errors can be told apart by name."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


class ReadSession(AsyncSession):
    """A session in AUTOCOMMIT: each statement sees what was committed before it, none can be rolled back."""


class WriteSession(AsyncSession):
    """A session in a transaction, which its owner commits or rolls back as a whole."""


class SharedConnection:
    """A session in AUTOCOMMIT that is kept, for statements that many requests share; one at a time.

    Each statement is a transaction of its own, committed when it returns. It is planned once, without looking at its
    values: the plan of a look-up by key is the same for all of them, and planning would cost more than running it.
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
    """The connections of a process: one pool for writes, and those that are held for statements of their own.

    `wait_seconds` is how long anybody waits for a connection, `connect_wait_seconds` for a new one to be opened: as
    long as the settings allow, if it is None. No engine is made before it is used.
    """

    def __init__(self, settings: DatabaseSettings, *, connect_wait_seconds: float | None = None) -> None:
        self.wait_seconds = settings.database_pool_wait_seconds
        self.meter = StatementMeter()
        self._settings = settings
        self._engines = EngineMaker(settings, connect_wait_seconds)

    @cached_property
    def engine(self) -> AsyncEngine:
        """The pool of requests that run in a transaction of their own."""
        # Outside AUTOCOMMIT the ping of each checkout would be three round trips: BEGIN, ping, ROLLBACK.
        return self._watched(
            self._engines.new(self._settings.database_pool_size, isolation_level="AUTOCOMMIT", poolclass=MeasuredPool)
        )

    @cached_property
    def _long_engine(self) -> AsyncEngine:
        # Deleting a whole project takes longer than any request may make the others wait: such work has one connection
        # of its own.
        timeout = self._settings.database_long_statement_timeout_ms
        return self._watched(
            self._engines.new(1, statement_timeout_ms=timeout, poolclass=MeasuredPool, pool_recycle=30)
        )

    @cached_property
    def _shared_engine(self) -> AsyncEngine:
        # Only a table that is locked as a whole is waited for: rows that are locked are passed over.
        lock_timeout = str(min(_SHARED_LOCK_TIMEOUT_MS, self._settings.database_lock_timeout_ms))
        settings = {"plan_cache_mode": "force_generic_plan", "lock_timeout": lock_timeout}
        return self._engines.new_held(SHARED_CONNECTIONS, settings)

    @cached_property
    def _alone_engine(self) -> AsyncEngine:
        # For a filter that may find one row in a million or all of them no plan is good that does not look at it.
        return self._engines.new_held(ALONE_CONNECTIONS, {"plan_cache_mode": "force_custom_plan"})

    @cached_property
    def _new_read_session(self) -> async_sessionmaker[ReadSession]:
        return async_sessionmaker(self.engine, class_=ReadSession, expire_on_commit=False)

    @cached_property
    def _new_write_session(self) -> async_sessionmaker[WriteSession]:
        engine = self.engine.execution_options(isolation_level="READ COMMITTED")
        return async_sessionmaker(engine, class_=WriteSession, expire_on_commit=False)

    @cached_property
    def _new_long_session(self) -> async_sessionmaker[WriteSession]:
        return async_sessionmaker(self._long_engine, class_=WriteSession, expire_on_commit=False)

    def _watched(self, engine: AsyncEngine) -> AsyncEngine:
        self.meter.watch(engine)
        event.listen(engine.sync_engine, "handle_error", _leave_read_only_server)
        return engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriteSession]:
        """Yield a session that commits when the block ends and rolls back when it raises.

        Raises:
            sqlalchemy.exc.DBAPIError: The COMMIT itself failed; nothing was stored, or the connection was lost.
        """
        async with self._committing(self._new_write_session) as session:
            yield session

    @asynccontextmanager
    async def long_transaction(self) -> AsyncIterator[WriteSession]:
        """Yield a session like `transaction`, for the rare statement that touches very many rows.

        Raises:
            sqlalchemy.exc.TimeoutError: Another one is running.
            sqlalchemy.exc.DBAPIError: The COMMIT itself failed; nothing was stored, or the connection was lost.
        """
        async with self._committing(self._new_long_session) as session:
            yield session

    @asynccontextmanager
    async def _committing(self, new_session: async_sessionmaker[WriteSession]) -> AsyncIterator[WriteSession]:
        async with new_session() as session:
            async with session.begin():
                yield session
                started = time.perf_counter()
            self.meter.add(started)

    @property
    def pool(self) -> MeasuredPool:
        """The pool of the connections that requests use."""
        return cast("MeasuredPool", self.engine.pool)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[ReadSession]:
        """Yield a session for reads, without the round trips of a transaction."""
        async with self._new_read_session() as session:
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

    async def connect_alone(self) -> SharedConnection:
        """Return a connection for reads that run alone, planned for their values; its owner closes or discards it.

        Raises:
            sqlalchemy.exc.TimeoutError: All of them are taken.
            sqlalchemy.exc.DBAPIError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        return await self._connect_held(self._alone_engine)

    async def _connect_held(self, engine: AsyncEngine) -> SharedConnection:
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

        One that this code does not know is taken for that of a newer version, which only adds to the schema: the old
        version serves on while that is rolled out, and starts when it was taken back.

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
    # After a failover the address leads elsewhere, and what is set for a role or a database counts for new connections
    # only: one that is kept could stay read-only for ever. The others of the pool are found out in the same way.
    if sqlstate_of(failure.original_exception) == _READ_ONLY:
        failure.is_disconnect = True
        failure.invalidate_pool_on_disconnect = False


def statement(sql: str, **types: TypeEngine[Any]) -> TextClause:
    """Return SQL whose parameters have types: bigint for `..._id`, bigint[] for `..._ids`, as given for others.

    Without a type PostgreSQL guesses one from the place where a parameter first stands, often wrongly.
    """
    for name in _PARAMETER.findall(sql):
        if name.endswith("_id"):
            types.setdefault(name, BigInteger())
        elif name.endswith("_ids"):
            types.setdefault(name, ARRAY(BigInteger))
    return text(sql).bindparams(*(bindparam(name, type_=kind) for name, kind in types.items()))


def is_known_revision(revision: str) -> bool:
    """Tell whether a revision is one of this code's migrations, which are numbered."""
    return revision <= SCHEMA_REVISION

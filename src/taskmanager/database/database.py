"""The connection pool, its two kinds of session, and what the schema must look like."""

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
from sqlalchemy import BigInteger, MetaData, TextClause, bindparam, event, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, ExceptionContext, ExecutionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection
from sqlalchemy.types import TypeEngine

from taskmanager.database.checks import Fault, read_state
from taskmanager.database.connection_opener import ConnectionOpener
from taskmanager.database.schema_version import read_schema_version
from taskmanager.request_context import current_timings
from taskmanager.settings import DatabaseSettings

# The newest migration. Alembic would tell, but takes a fifth of the whole start to import.
SCHEMA_REVISION = "0004"
# The longest that a request waits for a new connection, which may take longer: the next one finds it open.
REQUEST_CONNECT_SECONDS = 1.0
_FAREWELL_SECONDS = 0.3
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
# Class 08 connection, 53 resources, 57 intervention (time-out, shutdown), 40 rollback, 55P03 lock time-out,
# 25006 a standby, 3D000 and 28 a server that is being set up: none of them is the caller's doing.
_TRANSIENT_SQLSTATES = ("08", "53", "57", "40", "55P03", "25006", "3D000", "28")
# For statements that requests share; see `sharing`.
SHARED_CONNECTIONS = 2
# Longer than a migration asks for a table.
_SHARED_LOCK_TIMEOUT_MS = 1_100
# Statements that are kept compiled, per engine, and prepared, per connection; each takes some 15 KB.
_COMPILED_STATEMENTS = 64
_PREPARED_STATEMENTS = 64
_READ_ONLY = "25006"
_PLAN_BY_VALUE = text("SET LOCAL plan_cache_mode = force_custom_plan")


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

    async def plan_by_value(self) -> None:
        """Have the statements that follow planned for their values; must be called before any other.

        PostgreSQL plans a statement that it has seen a few times without looking at its values. For a filter that
        may find one row in a million or all of them no such plan is good.
        """
        # In a transaction, so that the setting ends with it.
        await self.connection(execution_options={"isolation_level": "READ COMMITTED"})
        await self.execute(_PLAN_BY_VALUE)


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


class MeasuredPool(AsyncAdaptedQueuePool):
    """A pool that tells how many are asking it for a connection, and the request how long that took."""

    waiting = 0

    @property
    def limit(self) -> int:
        """How many connections there may be."""
        return self.size()

    @property
    def in_use(self) -> int:
        """How many of them somebody holds."""
        return self.checkedout()

    def connect(self) -> PoolProxiedConnection:
        """Return a connection, which may have to be waited for, opened or tested.

        Raises:
            sqlalchemy.exc.TimeoutError: None was free in time.
            OSError: A new one could not be opened.
        """
        started = time.perf_counter()
        self.waiting += 1
        try:
            return super().connect()
        finally:
            self.waiting -= 1
            if (timings := current_timings()) is not None:
                timings.pool += time.perf_counter() - started


class StatementMeter:
    """Counts the statements of engines, commits included, and tells the request how long they took.

    `seconds` is the time from a statement's first byte to its last row, summed over all.
    """

    def __init__(self) -> None:
        self.statements = 0
        self.seconds = 0.0

    def watch(self, engine: AsyncEngine) -> None:
        """Count what is executed on an engine from now on."""
        event.listen(engine.sync_engine, "before_cursor_execute", self._begin)
        event.listen(engine.sync_engine, "after_cursor_execute", self._end)
        event.listen(engine.sync_engine, "handle_error", self._fail)

    def add(self, started: float) -> None:
        """Count a statement that began at this moment of `time.perf_counter` and has just ended."""
        seconds = time.perf_counter() - started
        self.statements += 1
        self.seconds += seconds
        if (timings := current_timings()) is not None:
            timings.database += seconds

    @staticmethod
    def _begin(_connection: Connection, _cursor: Any, _sql: str, _values: Any, context: Any, _many: bool) -> None:
        context.began_at = time.perf_counter()

    def _end(
        self,
        _connection: Connection,
        _cursor: Any,
        _sql: str,
        _values: Any,
        context: ExecutionContext | None,
        _many: bool,
    ) -> None:
        self.add(context.began_at)  # type: ignore[union-attr]  # put there by _begin

    def _fail(self, failure: ExceptionContext) -> None:
        began_at = getattr(failure.execution_context, "began_at", None)
        if began_at is not None:
            self.add(began_at)


class Database:
    """One pool of connections with a session maker for reads and one for writes.

    `wait_seconds` is how long anybody waits for a connection, `connect_wait_seconds` for a new one to be opened: as
    long as the settings allow, if it is None.
    """

    def __init__(self, settings: DatabaseSettings, *, connect_wait_seconds: float | None = None) -> None:
        if settings.database_url is None:
            raise ValueError("DATABASE_URL is not set")
        self._openers: list[ConnectionOpener] = []

        def connect_args(statement_timeout_ms: int, **server_settings: str) -> dict[str, Any]:
            self._openers.append(ConnectionOpener(connect_wait_seconds))
            arguments = _connect_args(settings, statement_timeout_ms, **server_settings)
            return {"async_creator_fn": self._openers[-1], **arguments}

        self.wait_seconds = settings.database_pool_wait_seconds
        self.engine: AsyncEngine = create_async_engine(
            settings.database_url,
            poolclass=MeasuredPool,
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=settings.database_pool_wait_seconds,
            pool_pre_ping=True,
            hide_parameters=True,
            query_cache_size=_COMPILED_STATEMENTS,
            # Outside AUTOCOMMIT the ping of each checkout would be three round trips: BEGIN, ping, ROLLBACK.
            isolation_level="AUTOCOMMIT",
            connect_args=connect_args(settings.database_statement_timeout_ms),
        )
        # Deleting a whole project takes longer than any request may make the others wait: such work has
        # one connection of its own, opened when it is needed.
        self._long_engine = create_async_engine(
            settings.database_url,
            poolclass=MeasuredPool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=settings.database_pool_wait_seconds,
            pool_pre_ping=True,
            pool_recycle=30,
            hide_parameters=True,
            query_cache_size=_COMPILED_STATEMENTS,
            connect_args=connect_args(settings.database_long_statement_timeout_ms),
        )
        self.meter = StatementMeter()
        for engine in (self.engine, self._long_engine):
            self.meter.watch(engine)
            event.listen(engine.sync_engine, "handle_error", _leave_read_only_server)
        self._new_long_session = async_sessionmaker(self._long_engine, class_=WriteSession, expire_on_commit=False)
        self._shared_engine = create_async_engine(
            settings.database_url,
            pool_size=SHARED_CONNECTIONS,
            max_overflow=0,
            pool_timeout=settings.database_pool_wait_seconds,
            pool_pre_ping=True,
            hide_parameters=True,
            query_cache_size=_COMPILED_STATEMENTS,
            isolation_level="AUTOCOMMIT",
            connect_args=connect_args(
                settings.database_statement_timeout_ms,
                plan_cache_mode="force_generic_plan",
                # Only a table that is locked as a whole is waited for: rows that are locked are passed over.
                lock_timeout=str(min(_SHARED_LOCK_TIMEOUT_MS, settings.database_lock_timeout_ms)),
            ),
        )
        self._new_shared_session = async_sessionmaker(self._shared_engine, expire_on_commit=False)
        self._new_write_session = async_sessionmaker(
            self.engine.execution_options(isolation_level="READ COMMITTED"),
            class_=WriteSession,
            expire_on_commit=False,
        )
        self._new_read_session = async_sessionmaker(self.engine, class_=ReadSession, expire_on_commit=False)

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
        session = self._new_shared_session()
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
        await self.engine.dispose()
        await self._long_engine.dispose()
        await self._shared_engine.dispose()
        for opener in self._openers:
            await opener.close()


def _leave_read_only_server(failure: ExceptionContext) -> None:
    # After a failover the address leads elsewhere, and what is set for a role or a database counts for new connections
    # only: one that is kept could stay read-only for ever. The others of the pool are found out in the same way.
    if sqlstate_of(failure.original_exception) == _READ_ONLY:
        failure.is_disconnect = True
        failure.invalidate_pool_on_disconnect = False


class _DriverConnection(asyncpg.Connection):
    """A connection that takes leave briefly, since SQLAlchemy lets a request wait for the end of one that is lost.

    It counts as closed as soon as it has the server's farewell, so that the pool's test of it opens another instead.
    """

    async def fetchrow(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement, above all the pool's test, and return its first row.

        Raises:
            asyncpg.InterfaceError: The connection is closed.
        """
        try:
            return await super().fetchrow(*arguments, **options)
        except asyncpg.InternalClientError as error:
            self.terminate()
            raise asyncpg.InterfaceError("connection is closed") from error

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's
        """Close the connection.

        Raises:
            TimeoutError: The server did not take notice; the socket is closed all the same.
        """
        await super().close(timeout=min(timeout or _FAREWELL_SECONDS, _FAREWELL_SECONDS))


def _connect_args(settings: DatabaseSettings, statement_timeout_ms: int, **server_settings: str) -> dict[str, Any]:
    # The client waits a little longer than the server, which tells why it gave up.
    patience = settings.database_command_timeout_seconds - settings.database_statement_timeout_ms / 1000
    return {
        "connection_class": _DriverConnection,
        "prepared_statement_cache_size": _PREPARED_STATEMENTS,
        "timeout": settings.database_connect_timeout_seconds,
        "command_timeout": statement_timeout_ms / 1000 + max(patience, 0.1),
        "server_settings": {
            "application_name": "taskmanager",
            "timezone": "UTC",
            "jit": "off",
            # As on a solid disk. With the default, made for one that turns, a bitmap and a sort of all that is there
            # seem as cheap as reading the page in the order of its index, and are not once a project has grown.
            "random_page_cost": "1.1",
            # Whoever finds the search index's list of new entries full sorts it in: no request, unless `search_index`
            # falls behind. At one go with so much memory; little takes several passes and three times as long.
            "gin_pending_list_limit": "16MB",
            "work_mem": "64MB",
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(settings.database_lock_timeout_ms),
            "idle_in_transaction_session_timeout": "10000",
            **server_settings,
        },
    }


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


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE that the server answered with, to SQLAlchemy or the driver, or None if it never answered."""
    state: str | None = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state


def is_transient(error: BaseException) -> bool:
    """Tell whether an error comes from the state of the database rather than from what it was asked."""
    if isinstance(error, (DBAPIError, asyncpg.PostgresError)):
        state = sqlstate_of(error)
        return state is None or state.startswith(_TRANSIENT_SQLSTATES)
    # A refused connection and a time-out reach us bare, not as DBAPIError; TimeoutError is an OSError.
    # An InternalClientError is what asyncpg says of a connection that got the server's farewell but is not closed yet.
    return isinstance(error, (PoolTimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError))


def violated_constraint(error: DBAPIError) -> str | None:
    """Return the name of the violated constraint, without the shard number that Citus appends."""
    cause: Any = getattr(error.orig, "__cause__", None)
    name: str | None = getattr(cause, "constraint_name", None)
    return re.sub(r"_\d+$", "", name) if name else None

"""A few connections that are held, lent to one statement after the other."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.pools import Pool
from taskmanager.telemetry.request_context import current_timings

# Data exception, violated constraint, rollback (deadlock).
CAUSED_BY_ONE = ("22", "23", "40")
# Statement time-out, lock time-out: the connection is as good as before.
TIMED_OUT_ON_THE_SERVER = {"57014", "55P03"}
TOO_MANY_CONNECTIONS = "53300"
CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)
_OF_THE_DRIVER = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# A connection that was idle for longer is tested before it is used.
_TRUSTED_SECONDS = 1.0
# For how long a server without room is not asked again: each refusal costs it a process and a line of its log.
_FULL_SECONDS = 0.25


class Kind(Protocol):
    """Requests of one kind, which share statements."""

    statements: int
    requests: int

    async def finish(self) -> None:
        """Wait until there is no statement under way and no request that waits."""

    def refuse_waiting(self, failure: Exception) -> None:
        """Fail the requests that wait for the next statement."""


class SharedConnections:
    """Lends a few connections of a pool that stay open, to callers in the order in which they ask.

    `limit` is how many (None: all of the pool).
    """

    def __init__(self, database: Database, pool: Pool = Pool.SHARED, limit: int | None = None) -> None:
        self.kinds: list[Kind] = []
        self.limit = limit or database.sizes[pool]
        self.in_use = 0
        self.waiting = 0
        self._database = database
        self._pool = pool
        self._turns = asyncio.Semaphore(self.limit)
        self._idle: list[SharedConnection] = []
        self._full_until = 0.0

    @property
    def has_turn(self) -> bool:
        """Whether `take_turn` would return without waiting."""
        return not self._turns.locked()

    async def take_turn(self) -> None:
        """Wait for the right to use one connection, which `connect` returns; end it with `give_turn_back`.

        Raises:
            sqlalchemy.exc.TimeoutError: The others did not end in time.
        """
        if not self._turns.locked():
            await self._turns.acquire()
            self.in_use += 1
            return
        self.waiting += 1
        try:
            async with asyncio.timeout(self._database.wait_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise PoolTimeoutError("no connection was free") from None
        finally:
            self.waiting -= 1
        self.in_use += 1

    def give_turn_back(self) -> None:
        """Let the next caller use a connection."""
        self.in_use -= 1
        self._turns.release()

    async def connect(self, trusted_seconds: float | None = None) -> SharedConnection:
        """Return a connection that is not known to be lost; the caller gives it to `put_back` or discards it.

        One that has been idle for longer than `trusted_seconds` (default: one second) is tested before.

        Raises:
            asyncpg.TooManyConnectionsError: The server had no room for a new connection a moment ago.
            sqlalchemy.exc.DBAPIError: The server refused a new connection.
            OSError: The server cannot be reached.
        """
        trusted_seconds = _TRUSTED_SECONDS if trusted_seconds is None else trusted_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.is_lost:
                await connection.discard()
            elif time.monotonic() - connection.used_at <= trusted_seconds:
                return connection
            else:
                # The pool tests each connection that it lends.
                await connection.close()
        if time.monotonic() < self._full_until:
            raise asyncpg.TooManyConnectionsError("the server had no room for a connection a moment ago")
        try:
            return await self._database.connect(self._pool)
        except (asyncpg.PostgresError, DBAPIError) as error:
            if sqlstate_of(error) == TOO_MANY_CONNECTIONS:
                self._full_until = time.monotonic() + _FULL_SECONDS
            raise

    @asynccontextmanager
    async def lend(self, trusted_seconds: float | None = None) -> AsyncIterator[SharedConnection]:
        """Yield a connection for the block, and close it if the block leaves it in an unknown state.

        One that has been idle for longer than `trusted_seconds` (default: one second) is tested before. The wait is
        added to the request's timings.

        Raises:
            sqlalchemy.exc.TimeoutError: The others did not end in time.
            sqlalchemy.exc.DBAPIError: The server refused a new connection.
            OSError: The server cannot be reached.
        """
        asked = time.perf_counter()
        try:
            await self.take_turn()
        except PoolTimeoutError:
            _add_waiting(asked)
            raise
        try:
            connection = await self.connect(trusted_seconds)
            _add_waiting(asked)
            try:
                yield connection
            except BaseException as error:
                if is_harmless(error):
                    self.put_back(connection)
                else:
                    await connection.discard()
                raise
            self.put_back(connection)
        finally:
            self.give_turn_back()

    def put_back(self, connection: SharedConnection) -> None:
        """Take back a connection that is in order."""
        self._idle.append(connection)

    async def close(self) -> None:
        """Wait until all running and waiting requests are served, then close the connections."""
        for kind in self.kinds:
            await kind.finish()
        while self._idle:
            await self._idle.pop().close()


def is_harmless(failure: BaseException | None) -> bool:
    """Return whether the connection can still be used after a failure."""
    if failure is None:
        return True
    if isinstance(failure, Exception) and not isinstance(failure, _OF_THE_DRIVER):
        return True  # raised by the request's own code; its transaction has been rolled back
    state = sqlstate_of(failure) or ""
    return state in TIMED_OUT_ON_THE_SERVER or state.startswith(CAUSED_BY_ONE)


def _add_waiting(asked: float) -> None:
    if (timings := current_timings()) is not None:
        timings.pool += time.perf_counter() - asked

"""A few connections that are held, lent to one statement after the other."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

import asyncpg
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
    """Lends a few connections of a pool that stay open, first to the caller whose request has waited longest.

    `limit` is how many (None: all of the pool). Where the server has no room for so many, those that are open serve
    all.
    """

    def __init__(self, database: Database, pool: Pool = Pool.SHARED, limit: int | None = None) -> None:
        self.kinds: list[Kind] = []
        self.limit = limit or database.sizes[pool]
        self.in_use = 0
        self.waiting = 0
        self._database = database
        self._pool = pool
        self._turns: list[tuple[float, int, asyncio.Future[None]]] = []  # a heap
        self._numbers = count()
        self._idle: list[SharedConnection] = []
        self._open = 0  # or being opened
        self._full_until = 0.0

    @property
    def has_turn(self) -> bool:
        """Whether `take_turn` would return without waiting."""
        return self.in_use < self._allowed

    async def take_turn(self, since: float) -> float:
        """Wait for the right to use one connection, which `connect` returns; return until when it may wait.

        `since` is when the caller, or the oldest of its requests, came, of `time.perf_counter`.

        Raises:
            sqlalchemy.exc.TimeoutError: The others did not end in time.
        """
        until = time.perf_counter() + self._database.wait_seconds
        await self._wait_for_turn(since, until)
        return until

    async def connect(self, since: float, until: float, trusted_seconds: float | None = None) -> SharedConnection:
        """Return a connection that is not known to be lost; the caller gives it to `put_back` or `discard`.

        One that has been idle for longer than `trusted_seconds` (default: one second) is tested before. Where the
        server has no room for another one, this waits for those that are open. The turn ends if it fails.

        Raises:
            sqlalchemy.exc.TimeoutError: The others did not end in time.
            asyncpg.TooManyConnectionsError: The server had no room for a first connection a moment ago.
            sqlalchemy.exc.DBAPIError: The server refused a new connection.
            OSError: The server cannot be reached.
        """
        while True:
            try:
                return await self._connect(_TRUSTED_SECONDS if trusted_seconds is None else trusted_seconds)
            except BaseException as error:
                is_full = isinstance(error, Exception) and sqlstate_of(error) == TOO_MANY_CONNECTIONS
                if is_full:
                    self._remember_full()
                self._give_turn_back()
                if not is_full or not self._open:
                    raise
            await self._wait_for_turn(since, until)

    @asynccontextmanager
    async def lend(self, trusted_seconds: float | None = None) -> AsyncIterator[SharedConnection]:
        """Yield a connection for the block, and close it if the block leaves it in an unknown state.

        One that has been idle for longer than `trusted_seconds` (default: one second) is tested before. The wait is
        added to the request's timings.

        Raises:
            sqlalchemy.exc.TimeoutError: The others did not end in time.
            asyncpg.TooManyConnectionsError: The server had no room for a first connection a moment ago.
            sqlalchemy.exc.DBAPIError: The server refused a new connection.
            OSError: The server cannot be reached.
        """
        asked = time.perf_counter()
        try:
            until = await self.take_turn(asked)
            connection = await self.connect(asked, until, trusted_seconds)
        finally:
            if (timings := current_timings()) is not None:
                timings.pool += time.perf_counter() - asked
        try:
            yield connection
        except BaseException as error:
            if is_harmless(error):
                self.put_back(connection)
            else:
                await self.discard(connection)
            raise
        self.put_back(connection)

    def put_back(self, connection: SharedConnection) -> None:
        """Take back a connection that is in order."""
        self._idle.append(connection)
        self._give_turn_back()

    async def discard(self, connection: SharedConnection) -> None:
        """Close a connection that may be lost, or whose state is unknown."""
        try:
            await connection.discard()
        finally:
            self._open -= 1
            self._full_until = 0.0  # there is room for one now
            self._give_turn_back()

    async def close(self) -> None:
        """Wait until all running and waiting requests are served, then close the connections."""
        for kind in self.kinds:
            await kind.finish()
        while self._idle:
            await self._idle.pop().close()
            self._open -= 1

    @property
    def _allowed(self) -> int:
        if self._full_until and time.monotonic() < self._full_until:
            return max(min(self._open, self.limit), 1)
        return self.limit

    async def _wait_for_turn(self, since: float, until: float) -> None:
        if self.has_turn:
            self.in_use += 1
            return
        turn = asyncio.get_running_loop().create_future()
        heappush(self._turns, (since, next(self._numbers), turn))
        self.waiting += 1
        try:
            async with asyncio.timeout(until - time.perf_counter()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_turn_back()
            if isinstance(error, TimeoutError):
                raise PoolTimeoutError("no connection was free") from None
            raise
        finally:
            self.waiting -= 1

    def _give_turn_back(self) -> None:
        self.in_use -= 1
        self._let_next_ones_go()

    def _let_next_ones_go(self) -> None:
        while self._turns and self.in_use < self._allowed:
            _, _, turn = heappop(self._turns)
            if not turn.done():
                self.in_use += 1
                turn.set_result(None)

    async def _connect(self, trusted_seconds: float) -> SharedConnection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_lost and time.monotonic() - connection.used_at <= trusted_seconds:
                return connection
            self._open -= 1
            if not connection.is_lost:
                # The pool tests each connection that it lends.
                await connection.close()
                return await self._connect_anew()
            await connection.discard()
            self._full_until = 0.0  # there is room for one now
            self._let_next_ones_go()
        if time.monotonic() < self._full_until:
            raise asyncpg.TooManyConnectionsError("the server had no room for a connection a moment ago")
        return await self._connect_anew()

    async def _connect_anew(self) -> SharedConnection:
        self._open += 1
        try:
            return await self._database.connect(self._pool)
        except BaseException:
            self._open -= 1
            raise

    def _remember_full(self) -> None:
        if time.monotonic() >= self._full_until:
            self._full_until = time.monotonic() + _FULL_SECONDS
            asyncio.get_running_loop().call_later(_FULL_SECONDS, self._let_next_ones_go)


def is_harmless(failure: BaseException | None) -> bool:
    """Return whether the connection can still be used after a failure."""
    if failure is None:
        return True
    if isinstance(failure, Exception) and not isinstance(failure, _OF_THE_DRIVER):
        return True  # raised by the request's own code; its transaction has been rolled back
    state = sqlstate_of(failure) or ""
    return state in TIMED_OUT_ON_THE_SERVER or state.startswith(CAUSED_BY_ONE)

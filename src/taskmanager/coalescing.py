"""Concurrent requests of one kind share a statement, so that throughput rises with load and few connections serve many.

Why it is correct. A statement is sent only after all of its requests have arrived, so each of them sees whatever was
committed before it came (read-your-writes). The statement is run by a task of its own: a request that is cancelled or
that gives up leaves the others alone. What goes wrong with one request goes wrong with that one only: an answer of None
means that the request must be run alone, and so it is for all of them when the server refuses the shared statement
for something that a single request may have caused; PostgreSQL has then rolled it back as a whole. A statement whose
outcome is unknown (connection lost, time-out) is never repeated: it may have been committed. All its requests are
refused, and with them those that wait, since no database answers them either. Only what reads is run again, each
request alone, when its connection turns out to be lost: a server that closed one may be there for the next.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

import asyncpg

from taskmanager.database import Database, SharedConnection, is_transient
from taskmanager.errors import DatabaseUnavailableError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Data exception, violated constraint, rollback (deadlock).
_CAUSED_BY_ONE = ("22", "23", "40")
# Statement time-out, lock time-out: the connection is as good as before.
_TIMED_OUT_ON_THE_SERVER = {"57014", "55P03"}
_CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)
# A connection that was idle for longer is looked at before it is used.
_TRUSTED_SECONDS = 1.0


class Ticket(Generic[_Item, _Result]):
    """A request on its way through a shared statement, with how long it waited and took, in seconds."""

    __slots__ = ("answer", "arrived", "item", "took", "waited")

    def __init__(self, item: _Item, answer: asyncio.Future[_Result | None]) -> None:
        self.item = item
        self.answer = answer
        self.arrived = time.perf_counter()
        self.waited = 0.0
        self.took = 0.0


class Coalescer(Generic[_Item, _Result]):
    """Runs one statement for all requests of a kind that arrived while the one before was under way.

    `run` takes a connection and the items and returns a result for each, in their order; None for one that must be run
    alone. Items with the same `conflict_key` never share a statement: the later one waits for the next. With `reads`
    the statement changes nothing.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        run: Callable[[SharedConnection, Sequence[_Item]], Awaitable[Sequence[_Result | None]]],
        *,
        max_batch: int = 64,
        conflict_key: Callable[[_Item], Hashable] | None = None,
        reads: bool = False,
    ) -> None:
        self.name = name
        self.statements = 0
        self.requests = 0
        self._database = database
        self._run = run
        self._max_batch = max_batch
        self._conflict_key = conflict_key
        self._reads = reads
        self._waiting: deque[Ticket[_Item, _Result]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._connection: SharedConnection | None = None

    async def submit(self, item: _Item) -> Ticket[_Item, _Result]:
        """Return the request's ticket once `ticket.answer` is there: its result, or None if it must be run alone.

        Raises:
            DatabaseUnavailableError: The database went away; a write may or may not have been committed.
            asyncpg.PostgresError: The statement itself is at fault.
        """
        ticket: Ticket[_Item, _Result] = Ticket(item, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        if self._worker is None:
            # In a context of its own, since its work belongs to no single request.
            self._worker = asyncio.get_running_loop().create_task(
                self._work(), name=f"shared statements: {self.name}", context=Context()
            )
        await ticket.answer
        return ticket

    async def close(self) -> None:
        """Let the statement under way finish, then give the connection back."""
        if self._worker is not None:
            await self._worker
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _work(self) -> None:
        try:
            while self._waiting:
                # Requests that the event loop has read, and will begin with next, may still come along.
                await asyncio.sleep(0)
                if batch := self._next_batch():
                    await self._serve(batch)
        finally:
            self._worker = None

    def _next_batch(self) -> list[Ticket[_Item, _Result]]:
        batch: list[Ticket[_Item, _Result]] = []
        postponed: list[Ticket[_Item, _Result]] = []
        keys = set[Hashable]()
        while self._waiting and len(batch) < self._max_batch:
            ticket = self._waiting.popleft()
            if ticket.answer.done():  # its request is gone
                continue
            if self._conflict_key is not None:
                if (key := self._conflict_key(ticket.item)) in keys:
                    postponed.append(ticket)
                    continue
                keys.add(key)
            batch.append(ticket)
        self._waiting.extendleft(reversed(postponed))
        return batch

    async def _serve(self, batch: Sequence[Ticket[_Item, _Result]]) -> None:
        sent = 0.0
        results: Sequence[_Result | None] = [None] * len(batch)
        self.statements += 1
        self.requests += len(batch)
        try:
            connection = await self._connected()
            sent = time.perf_counter()
            for ticket in batch:
                ticket.waited = sent - ticket.arrived
            results = await self._run(connection, [ticket.item for ticket in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must learn of it
            state = error.sqlstate or "" if isinstance(error, asyncpg.PostgresError) else ""
            if self._reads and sent and isinstance(error, _CONNECTION_LOST):
                await self._discard()
            elif not state.startswith(_CAUSED_BY_ONE):
                await self._fail(batch, error)
                return
        took = time.perf_counter() - sent
        for ticket, result in zip(batch, results, strict=True):
            ticket.took = took
            if not ticket.answer.done():
                ticket.answer.set_result(result)

    async def _connected(self) -> SharedConnection:
        if self._connection is not None and self._connection.is_lost:
            await self._discard()
        if self._connection is None or time.monotonic() - self._connection.used_at > _TRUSTED_SECONDS:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                await connection.close()
            self._connection = await self._database.connect_shared()
        return self._connection

    async def _fail(self, batch: Sequence[Ticket[_Item, _Result]], error: Exception) -> None:
        state = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
        if state not in _TIMED_OUT_ON_THE_SERVER:
            await self._discard()
            if is_transient(error):
                batch = [*batch, *self._waiting]
                self._waiting.clear()
        for ticket in batch:
            if not ticket.answer.done():
                cause = f"{type(error).__name__}: {error}"
                ticket.answer.set_exception(DatabaseUnavailableError(cause) if is_transient(error) else error)

    async def _discard(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.discard()

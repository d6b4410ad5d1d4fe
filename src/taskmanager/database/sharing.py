"""Concurrent requests of one kind share a statement, so that throughput rises with load and few connections serve many.

The kinds take turns at very few connections. While a kind waits for its turn more of its requests come together, so the
fewer the connections, the fewer and larger the statements: two keep the database busy while answers are handed out.
A kind has one statement under way, so that they stay large; only behind one that takes long goes another.

A request that finds its kind idle, and a connection that nobody waits for, runs its statement itself (`run_now`),
without a task and two more turns of the event loop. Those that arrive meanwhile share the next one.

Why it is correct. A statement is sent only after all of its requests have arrived, so each of them sees whatever was
committed before it came (read-your-writes). A statement of several is run by a task of its own: a request that is
cancelled or that gives up leaves the others alone. One that is cancelled in its own statement closes the connection,
which nobody else has. What goes wrong with one request goes wrong with that one only: an answer of None
means that the request must be run alone, and so it is for all of them when the server refuses the shared statement
for something that a single request may have caused; PostgreSQL has then rolled it back as a whole. A statement whose
outcome is unknown (connection lost, time-out) is never repeated: it may have been committed. All its requests are
refused, and with them those of all kinds that wait, since no database answers them either. Only what reads is run
again, each request alone, when its connection turns out to be lost: a server that closed one may be there for the next.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextvars import Context
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import SharedConnection
from taskmanager.database.driver_errors import is_transient, sqlstate_of
from taskmanager.database.shared_connections import (
    CAUSED_BY_ONE,
    CONNECTION_LOST,
    TIMED_OUT_ON_THE_SERVER,
    SharedConnections,
    is_harmless,
)
from taskmanager.errors import DatabaseUnavailableError
from taskmanager.telemetry.request_context import current_timings

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Several times what a statement takes; one that sorts the search index in takes half a second.
_LONG_SECONDS = 0.05
# So many statements of a kind, one after the other, were for one request only before a request runs its own: where it
# would find company in the same turn of the event loop, the two would take two statements.
_LONE_STATEMENTS = 8


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

    Requests that arrive behind a statement that takes long are not kept waiting for its end, if there is a turn.
    `run` takes a connection and the items and returns a result for each, in their order; None for one that must be run
    alone. Of items with the same `conflict_key` the later one waits until the statement of the earlier one has ended.
    With `reads` the statement changes nothing.
    """

    def __init__(
        self,
        name: str,
        connections: SharedConnections,
        run: Callable[[SharedConnection, Sequence[_Item]], Awaitable[Sequence[_Result | None]]],
        *,
        max_batch: int = 64,
        conflict_key: Callable[[_Item], Hashable] | None = None,
        reads: bool = False,
    ) -> None:
        self.name = name
        self.statements = 0
        self.requests = 0
        self._connections = connections
        self._run = run
        self._max_batch = max_batch
        self._conflict_key = conflict_key
        self._reads = reads
        self._waiting: deque[Ticket[_Item, _Result]] = deque()
        self._keys_under_way = set[Hashable]()
        self._lone_statements = _LONE_STATEMENTS  # since the last one that was shared
        # What is done when the statement under way is: a task, or a request's own future.
        self._worker: asyncio.Future[None] | None = None
        self._workers = set[asyncio.Future[None]]()  # the others finish a statement that took long
        connections.kinds.append(self)

    def enqueue(self, item: _Item) -> Ticket[_Item, _Result]:
        """Return the request's ticket, whose `answer` will be its result, or None if it must be run alone.

        The answer raises DatabaseUnavailableError if the database went away, so that a write may or may not have been
        committed, and asyncpg.PostgresError if the statement itself is at fault.
        """
        ticket: Ticket[_Item, _Result] = Ticket(item, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        if self._worker is None:
            self._start_worker()
        return ticket

    @property
    def is_quiet(self) -> bool:
        """Whether no request waits or is under way, and the last statements were for one request each."""
        return self._worker is None and not self._waiting and self._lone_statements >= _LONE_STATEMENTS

    @property
    def is_idle(self) -> bool:
        """Whether a request may `run_now`; never where requests conflict, since what that runs takes no keys."""
        return self._conflict_key is None and self.is_quiet and self._connections.has_turn

    async def run_now(self, item: _Item) -> _Result | None:
        """Return the result of a request that found the kind idle, or None if it must be run alone.

        Raises:
            DatabaseUnavailableError: The database went away.
            asyncpg.PostgresError: The statement itself is at fault.
        """
        loop = asyncio.get_running_loop()
        ticket: Ticket[_Item, _Result] = Ticket(item, loop.create_future())
        self._worker = worker = loop.create_future()
        self._workers.add(worker)
        await self._connections.take_turn()  # which waits for nobody
        try:
            await self._serve_in_turn([ticket])
        finally:
            self._connections.give_turn_back()
            if (timings := current_timings()) is not None:
                timings.pool += ticket.waited  # what the statement took is counted by its connection
            worker.set_result(None)
            self._workers.discard(worker)
            if self._worker is worker:
                self._worker = None
            if self._worker is None and self._waiting:
                self._start_worker()
        return ticket.answer.result()

    async def finish(self) -> None:
        """Wait until there is no statement under way and no request that waits."""
        while self._workers:
            await asyncio.wait(self._workers)

    def refuse_waiting(self, failure: Exception) -> None:
        """Let the requests that wait for the next statement fail."""
        _refuse(self._waiting, failure)
        self._waiting.clear()

    def _start_worker(self) -> None:
        # In a context of its own, since its work belongs to no single request.
        self._worker = worker = asyncio.get_running_loop().create_task(
            self._work(), name=f"shared statements: {self.name}", context=Context()
        )
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    def _leave_to_another_worker(self) -> None:
        self._worker = None
        if self._waiting:
            self._start_worker()

    async def _work(self) -> None:
        worker = asyncio.current_task()
        try:
            while self._waiting and self._worker is worker:
                if self._lone_statements == 0 or len(self._waiting) > 1:
                    # Requests that the event loop has read, and will begin with next, may still come along.
                    await asyncio.sleep(0)
                await self._connections.take_turn()
                try:
                    batch = self._next_batch()
                    if not batch:
                        break  # what waits conflicts with a statement under way, whose worker sees to it
                    await self._serve_in_turn(batch)
                finally:
                    self._connections.give_turn_back()
                if self._worker is None and self._waiting:
                    self._start_worker()
        except PoolTimeoutError as error:
            self.refuse_waiting(error)
        finally:
            if self._worker is worker:
                self._worker = None

    async def _serve_in_turn(self, batch: Sequence[Ticket[_Item, _Result]]) -> None:
        takes_long = asyncio.get_running_loop().call_later(_LONG_SECONDS, self._leave_to_another_worker)
        try:
            await self._serve(batch)
        finally:
            takes_long.cancel()
            self._keys_under_way.difference_update(self._keys(batch))

    def _next_batch(self) -> list[Ticket[_Item, _Result]]:
        batch: list[Ticket[_Item, _Result]] = []
        postponed: list[Ticket[_Item, _Result]] = []
        while self._waiting and len(batch) < self._max_batch:
            ticket = self._waiting.popleft()
            if ticket.answer.done():  # its request is gone
                continue
            if self._conflict_key is not None:
                if (key := self._conflict_key(ticket.item)) in self._keys_under_way:
                    postponed.append(ticket)
                    continue
                self._keys_under_way.add(key)
            batch.append(ticket)
        self._waiting.extendleft(reversed(postponed))
        return batch

    def _keys(self, batch: Sequence[Ticket[_Item, _Result]]) -> Iterable[Hashable]:
        return () if self._conflict_key is None else (self._conflict_key(ticket.item) for ticket in batch)

    async def _serve(self, batch: Sequence[Ticket[_Item, _Result]]) -> None:
        sent = 0.0
        results: Sequence[_Result | None] = [None] * len(batch)
        self.statements += 1
        self.requests += len(batch)
        self._lone_statements = self._lone_statements + 1 if len(batch) == 1 else 0
        connection: SharedConnection | None = None
        failure: BaseException | None = None
        try:
            connection = await self._connections.connect(math.inf if self._reads else None)
            sent = time.perf_counter()
            for ticket in batch:
                ticket.waited = sent - ticket.arrived
            results = await self._run(connection, [ticket.item for ticket in batch])
        except BaseException as error:  # noqa: BLE001  # whatever it is, those who wait must learn of it
            failure = error
        took = time.perf_counter() - sent if sent else 0.0
        for ticket in batch:
            ticket.took = took
        self._settle(batch, results, failure, is_sent=sent > 0)
        if connection is not None:
            if is_harmless(failure):
                self._connections.put_back(connection)
            else:
                # Only now, since to take leave of a lost connection may take a moment.
                await connection.discard()
        if isinstance(failure, asyncio.CancelledError):
            raise failure

    def _settle(
        self,
        batch: Sequence[Ticket[_Item, _Result]],
        results: Sequence[_Result | None],
        failure: BaseException | None,
        *,
        is_sent: bool,
    ) -> None:
        if isinstance(failure, Exception) and not self._is_to_be_run_again(failure, is_sent=is_sent):
            self._fail(batch, failure)
            return
        for ticket, result in zip(batch, results, strict=True):
            if ticket.answer.done():
                continue
            if isinstance(failure, asyncio.CancelledError):
                ticket.answer.cancel()
            else:
                ticket.answer.set_result(result)

    def _is_to_be_run_again(self, failure: Exception, *, is_sent: bool) -> bool:
        if self._reads and is_sent and isinstance(failure, CONNECTION_LOST):
            return True
        return (sqlstate_of(failure) or "").startswith(CAUSED_BY_ONE)

    def _fail(self, batch: Sequence[Ticket[_Item, _Result]], failure: Exception) -> None:
        _refuse(batch, failure)
        if sqlstate_of(failure) in TIMED_OUT_ON_THE_SERVER:
            # Who waits for these very items would only wait as long again, each after the other.
            keys = set(self._keys(batch))
            _refuse((ticket for ticket in self._waiting if not keys.isdisjoint(self._keys([ticket]))), failure)
        elif is_transient(failure):
            for kind in self._connections.kinds:
                kind.refuse_waiting(failure)


def _refuse(tickets: Iterable[Ticket[Any, Any]], failure: Exception) -> None:
    for ticket in tickets:
        if not ticket.answer.done():
            if not ticket.took:
                ticket.waited = time.perf_counter() - ticket.arrived
            error = failure
            if is_transient(failure):
                error = DatabaseUnavailableError(f"{type(failure).__name__}: {failure}")
                error.__cause__ = failure
            ticket.answer.set_exception(error)

"""Concurrent requests of one kind share a statement, so that throughput rises with load and few connections serve many.

All kinds share two connections. While a kind waits for one, more of its requests queue up and join its next statement,
so fewer connections mean fewer, larger statements; two keep the database busy while answers are handed out. The kind
whose oldest request has waited longest comes first. Each runs one statement at a time, so that statements stay large,
and starts a second one only when the first takes long.

A request that finds its kind idle and a connection free runs its statement itself (`run_now`), without a task and two
more iterations of the event loop. Requests that arrive meanwhile share the next statement.

Why it is correct. A statement is sent only after all of its requests have arrived, so each of them sees everything that
was committed before it came (read-your-writes). A task of its own runs each statement of several requests, so a request
that is cancelled or gives up does not disturb the others. A request that is cancelled in its own statement closes the
connection, which no other request uses. What is wrong with one request affects that request only: a result of None
means that the request must be run alone, and all of them are run alone when the server refuses the shared statement
for something that a single request may have caused; PostgreSQL has then rolled it back as a whole. A statement whose
outcome is unknown (connection lost, time-out) is never repeated, because it may have been committed. All its requests
fail, and so do the waiting requests of all kinds, since the database would not answer them either. Reads are the
exception: when their connection turns out to be lost, each is run again alone, because the server may accept a new one.
Where the server has no room for a first connection, each is run alone.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextvars import Context
from itertools import chain
from typing import Generic, TypeVar

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import SharedConnection
from taskmanager.database.driver_errors import is_transient, sqlstate_of
from taskmanager.database.shared_connections import (
    CAUSED_BY_ONE,
    CONNECTION_LOST,
    TIMED_OUT_ON_THE_SERVER,
    TOO_MANY_CONNECTIONS,
    SharedConnections,
    is_harmless,
)
from taskmanager.database.tickets import Ticket, refuse
from taskmanager.telemetry.request_context import current_timings

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Several times as long as a statement takes; one that merges the search index's pending list takes half a second.
_LONG_SECONDS = 0.05
# A request runs its own statement only after this many statements of its kind in a row served a single request.
# Otherwise two requests that arrive in the same iteration of the event loop would need two statements.
_LONE_STATEMENTS = 8


class Coalescer(Generic[_Item, _Result]):
    """Runs one statement for all requests of a kind that arrived while the one before was under way.

    Requests that arrive behind a statement that takes long do not wait for its end if a connection is free.
    `run` takes a connection and the items and returns a result for each, in their order; None for one that must be run
    alone. Items that have one of their `conflict_keys` in common never run at the same time. With `reads` the statement
    changes nothing.
    """

    def __init__(
        self,
        name: str,
        connections: SharedConnections,
        run: Callable[[SharedConnection, Sequence[_Item]], Awaitable[Sequence[_Result | None]]],
        *,
        max_batch: int = 64,
        conflict_keys: Callable[[_Item], Sequence[Hashable]] | None = None,
        reads: bool = False,
    ) -> None:
        self.name = name
        self.statements = 0
        self.requests = 0
        self._connections = connections
        self._run = run
        self._max_batch = max_batch
        self._conflict_keys = conflict_keys
        self._reads = reads
        self._waiting: deque[Ticket[_Item, _Result]] = deque()
        self._keys_under_way = set[Hashable]()
        self._lone_statements = _LONE_STATEMENTS  # since the last one that was shared
        # Done when the statement under way has ended: a task, or a request's own future.
        self._worker: asyncio.Future[None] | None = None
        self._workers = set[asyncio.Future[None]]()  # all but one finish a statement that takes long
        connections.kinds.append(self)

    def enqueue(self, item: _Item) -> Ticket[_Item, _Result]:
        """Return the request's ticket, whose `answer` will be its result, or None if it must be run alone.

        Awaiting `answer` raises DatabaseUnavailableError if the database went away (a write may have been committed),
        and asyncpg.PostgresError if the statement itself is at fault.
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
        """Whether a request may `run_now`; never where requests can conflict, because `run_now` checks no keys."""
        return self._conflict_keys is None and self.is_quiet and self._connections.has_turn

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
        try:
            await self._serve_next(ticket.arrived, lambda: [ticket])
        except PoolTimeoutError as error:
            refuse([ticket], error)
        finally:
            if (timings := current_timings()) is not None:
                timings.pool += ticket.waited  # the connection counts the statement's own time
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
        """Fail the requests that wait for the next statement."""
        refuse(self._waiting, failure)
        self._waiting.clear()

    def let_waiting_run_alone(self) -> None:
        """Have the requests that wait for the next statement run alone instead."""
        for ticket in self._waiting:
            if not ticket.answer.done():
                ticket.answer.set_result(None)
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
                oldest = self._waiting[0]
                if self._lone_statements == 0 or len(self._waiting) > 1:
                    # Requests that the event loop has read and starts next can then join this statement.
                    await asyncio.sleep(0)
                if not await self._serve_next(oldest.arrived, self._next_batch):
                    break  # all that wait conflict with a statement under way, whose worker runs them next
                if self._worker is None and self._waiting:
                    self._start_worker()
        except PoolTimeoutError as error:
            self.refuse_waiting(error)
        finally:
            if self._worker is worker:
                self._worker = None

    async def _serve_next(self, since: float, choose: Callable[[], Sequence[Ticket[_Item, _Result]]]) -> bool:
        """Wait for a connection, then choose who shares the statement; return whether there was anyone.

        Raises:
            sqlalchemy.exc.TimeoutError: No connection was free in time.
        """
        until = await self._connections.take_turn(since)
        takes_long = asyncio.get_running_loop().call_later(_LONG_SECONDS, self._leave_to_another_worker)
        batch: Sequence[Ticket[_Item, _Result]] = ()
        try:
            try:
                connection = await self._connections.connect(since, until, math.inf if self._reads else None)
            except PoolTimeoutError:
                raise
            except Exception as failure:  # noqa: BLE001  # whatever it is, the waiting requests must get it
                batch = choose()
                self._settle(batch, [None] * len(batch), failure, is_sent=False)
            else:
                batch = choose()
                if batch:
                    await self._serve(connection, batch)
                else:
                    self._connections.put_back(connection)
        finally:
            takes_long.cancel()
            self._keys_under_way.difference_update(self._keys(batch))
        return bool(batch)

    def _next_batch(self) -> list[Ticket[_Item, _Result]]:
        batch: list[Ticket[_Item, _Result]] = []
        postponed: list[Ticket[_Item, _Result]] = []
        while self._waiting and len(batch) < self._max_batch:
            ticket = self._waiting.popleft()
            if ticket.answer.done():  # the request was cancelled
                continue
            if self._conflict_keys is not None:
                keys = self._conflict_keys(ticket.item)
                if not self._keys_under_way.isdisjoint(keys):
                    postponed.append(ticket)
                    continue
                self._keys_under_way.update(keys)
            batch.append(ticket)
        self._waiting.extendleft(reversed(postponed))
        return batch

    def _keys(self, batch: Sequence[Ticket[_Item, _Result]]) -> Iterable[Hashable]:
        if self._conflict_keys is None:
            return ()
        return chain.from_iterable(self._conflict_keys(ticket.item) for ticket in batch)

    async def _serve(self, connection: SharedConnection, batch: Sequence[Ticket[_Item, _Result]]) -> None:
        results: Sequence[_Result | None] = [None] * len(batch)
        self.statements += 1
        self.requests += len(batch)
        self._lone_statements = self._lone_statements + 1 if len(batch) == 1 else 0
        failure: BaseException | None = None
        sent = time.perf_counter()
        for ticket in batch:
            ticket.waited = sent - ticket.arrived
        try:
            results = await self._run(connection, [ticket.item for ticket in batch])
        except BaseException as error:  # noqa: BLE001  # whatever it is, the waiting requests must get it
            failure = error
        took = time.perf_counter() - sent
        for ticket in batch:
            ticket.took = took
        try:
            self._settle(batch, results, failure, is_sent=True)
        finally:
            if is_harmless(failure):
                self._connections.put_back(connection)
            else:
                # After the answers, because closing a lost connection may take a moment.
                await self._connections.discard(connection)
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
        state = sqlstate_of(failure) or ""
        return state.startswith(CAUSED_BY_ONE) or (state == TOO_MANY_CONNECTIONS and not is_sent)

    def _fail(self, batch: Sequence[Ticket[_Item, _Result]], failure: Exception) -> None:
        refuse(batch, failure)
        if sqlstate_of(failure) in TIMED_OUT_ON_THE_SERVER:
            # Requests that wait for the same items would only time out too, one after the other.
            keys = set(self._keys(batch))
            refuse((ticket for ticket in self._waiting if not keys.isdisjoint(self._keys([ticket]))), failure)
        elif is_transient(failure):
            for kind in self._connections.kinds:
                kind.refuse_waiting(failure)

"""Decides for each request of a write whether it runs alone or together with others that wait.

A request runs alone if no other of its kind is under way and the last ones came alone too: the plain statement costs
less than one made for many. Others go together in one of two ways: one statement writes what all of them ask for
(`SharedWrite`), or a batch runs the plain statement for each of them in turn, in one message with one COMMIT, which
costs as much as a small write.

In a batch each statement sees what those before it wrote, as if they had been committed. What has been written stays
locked until the whole batch is committed, so its statements wait only briefly for a lock, and two batches that wait for
each other are both rolled back. If the server refuses a statement, the batch has been rolled back as a whole. Each of
its requests then runs alone, and so do others with the same statement for a moment, since the cause may still be there.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

from taskmanager.database.database import SharedConnection
from taskmanager.database.driver_errors import is_transient, sqlstate_of
from taskmanager.database.pools import MOST_IN_BATCH
from taskmanager.database.shared_connections import CAUSED_BY_ONE, TIMED_OUT_ON_THE_SERVER, SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.database.statements import Arguments, Statement
from taskmanager.telemetry.request_context import current_timings

_Result = TypeVar("_Result")
_REST_SECONDS = 0.25
# Parameters that name what a write changes. Those that not every request for the same row gives come last.
_LOCK_ORDER = (
    *("task_id", "comment_id", "section_id", "notification_id", "webhook_id", "session_id", "key_id", "account_id"),
    *("project_id", "user_id", "login_user_id"),
)


class WriteKind(Generic[_Result]):
    """The requests of one write; `committed` is called after each that went together with others."""

    def __init__(self, coalescer: Coalescer[Arguments, _Result], committed: Callable[[], None]) -> None:
        self._coalescer = coalescer
        self._committed = committed
        self._alone = 0

    @property
    def requests(self) -> int:
        """How many waited for a statement or a batch with others; some of them ran alone after it."""
        return self._coalescer.requests

    @property
    def goes_alone(self) -> bool:
        """Whether the next request runs alone."""
        return not self._alone and self._coalescer.is_quiet

    async def run(self, arguments: Arguments, alone: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the result of a request that goes together with others, or of `alone`.

        Raises:
            DatabaseUnavailableError: The database went away; the write may have been committed.
            asyncpg.PostgresError: The server refused the statement.
        """
        if self.goes_alone:
            self._alone += 1
            try:
                return await alone()
            finally:
                self._alone -= 1
        ticket = self._coalescer.enqueue(arguments)
        try:
            result = await ticket.answer
        finally:
            if (timings := current_timings()) is not None:
                timings.pool += ticket.waited
                timings.database += ticket.took
        if result is None:
            return await alone()
        self._committed()
        return result


class Batches(WriteKind[asyncpg.Record]):
    """The requests of a write that gives one row, which go together in batches."""

    def __init__(self, statement: Statement, connections: SharedConnections, committed: Callable[[], None]) -> None:
        assert statement.gives_one_row
        most = min(MOST_IN_BATCH, statement.most_shared)
        super().__init__(Coalescer(statement.name, connections, self._run, max_batch=most), committed)
        self._sql = statement.lone
        self._places_of_rows = [statement.names.index(name) for name in _LOCK_ORDER if name in statement.names]
        self._rests_until = 0.0

    @property
    def goes_alone(self) -> bool:
        """Whether the next request runs alone."""
        return super().goes_alone or time.monotonic() < self._rests_until

    async def _run(
        self, connection: SharedConnection, requests: Sequence[Arguments]
    ) -> Sequence[asyncpg.Record | None]:
        # In one order, so that two batches do not wait for each other's rows.
        order = sorted(range(len(requests)), key=lambda n: [requests[n][place] or 0 for place in self._places_of_rows])
        rows: list[asyncpg.Record | None] = [None] * len(requests)
        try:
            found = await connection.fetch_each(self._sql, [requests[n] for n in order])
        except asyncpg.PostgresError as error:
            if not _may_be_caused_by_one(error):
                raise
            self._rests_until = time.monotonic() + _REST_SECONDS
            self._coalescer.let_waiting_run_alone()
            return rows
        for n, row in zip(order, found, strict=True):
            rows[n] = row
        return rows


def _may_be_caused_by_one(error: asyncpg.PostgresError) -> bool:
    state = sqlstate_of(error) or ""
    return state in TIMED_OUT_ON_THE_SERVER or state.startswith(CAUSED_BY_ONE) or not is_transient(error)

"""Decides for each request of a write whether it runs alone or together with others that wait.

A request runs alone if no other of its kind is under way and the last ones went alone too: the plain statement costs
less than one made for many. Others go together in one of two ways: one statement writes what all of them ask for
(`SharedWrite`), or a batch runs the plain statement for each of them in turn, in one message with one COMMIT, which
costs as much as a small write.

In a batch each statement sees what those before it wrote, as if they had been committed. What has been written stays
locked until the whole batch is committed, so a batch waits for a lock only briefly: two of them that wait for each
other end with it, and nobody else waits for long. If the server refuses a statement or a wait ends, the batch is rolled
back as a whole, each of its requests runs alone, and so do others for a moment, since the cause may still be there.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

from taskmanager.database.database import SharedConnection
from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.shared_connections import CAUSED_BY_ONE, TIMED_OUT_ON_THE_SERVER, SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.database.statements import Arguments, Statement
from taskmanager.telemetry.request_context import current_timings

_Result = TypeVar("_Result")
# So few that the first does not wait long for the last.
_MOST_IN_BATCH = 32
_REST_SECONDS = 0.25
# Parameters that name no row which the request changes.
_OF_THE_REQUEST = {"user_id", "login_user_id", "login_session_id", "key_user_id", "lock_id"}


class WriteKind(Generic[_Result]):
    """The requests of one write; `committed` is called after each that went together with others."""

    def __init__(self, coalescer: Coalescer[Arguments, _Result], committed: Callable[[], None]) -> None:
        self._coalescer = coalescer
        self._committed = committed
        self._alone = 0

    @property
    def requests(self) -> int:
        """How many went together with others."""
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
        super().__init__(
            Coalescer(statement.name, connections, self._run, max_batch=min(_MOST_IN_BATCH, statement.most_shared)),
            committed,
        )
        self._sql = statement.lone
        ids = {name for name in statement.names if name.endswith("_id")} - _OF_THE_REQUEST
        # The project comes last: it is left out of some paths to one and the same row.
        in_order = sorted(ids, key=lambda name: (name == "project_id", name))
        self._places_of_ids = [statement.names.index(name) for name in in_order]
        self._rests_until = 0.0

    @property
    def goes_alone(self) -> bool:
        """Whether the next request runs alone."""
        return super().goes_alone or time.monotonic() < self._rests_until

    async def _run(
        self, connection: SharedConnection, requests: Sequence[Arguments]
    ) -> Sequence[asyncpg.Record | None]:
        # In one order, so that no two batches wait for each other's rows.
        order = sorted(range(len(requests)), key=lambda n: [requests[n][place] or 0 for place in self._places_of_ids])
        rows: list[asyncpg.Record | None] = [None] * len(requests)
        try:
            found = await connection.fetch_each(self._sql, [requests[n] for n in order])
            for n, row in zip(order, found, strict=True):
                rows[n] = row
        except asyncpg.PostgresError as error:
            state = sqlstate_of(error) or ""
            if state not in TIMED_OUT_ON_THE_SERVER and not state.startswith(CAUSED_BY_ONE):
                raise
            self._rests_until = time.monotonic() + _REST_SECONDS
        return rows

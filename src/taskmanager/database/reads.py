"""Runs reads: each is a declared statement, shared with other requests where possible, else alone on a held connection.

No read opens a transaction, so its statement is its only message. A read whose connection turns out to be lost is sent
once more on another.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.pools import Pool
from taskmanager.database.shared_connections import CONNECTION_LOST, SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.database.statements import Arguments, Statement
from taskmanager.database.tickets import Ticket
from taskmanager.telemetry.request_context import current_timings


class Document(NamedTuple):
    """A row as the bytes of its JSON object, and its version."""

    version: int
    body: bytes


class FoundPage(NamedTuple):
    """A page as `json_page` gives it: JSON objects with commas between, how many were found, and the last one's key.

    `more` are other fields of the answer, each with a comma behind it.
    """

    items: bytes
    found: int
    last_time: Any
    last_id: int | None
    more: bytes = b""


def found_page(row: asyncpg.Record) -> FoundPage:
    """Return the page that a row of `json_page` holds, with the fields of its column `more`, if it has one."""
    return FoundPage(row["items"] or b"", row["found"], row["last_time"], row["last_id"], row.get("more") or b"")


# A row, or nothing.
Row = asyncpg.Record | tuple[()]
_NOTHING: Final = ()


class Begun:
    """A read of one request; it is sent when its row is asked for, or earlier by `begin`."""

    __slots__ = ("_arguments", "_kind", "_reads", "_statement", "_ticket")

    def __init__(
        self, reads: "Reads", statement: Statement, arguments: Arguments, kind: Coalescer[Arguments, Row] | None
    ) -> None:
        self._reads = reads
        self._statement = statement
        self._arguments = arguments
        self._kind = kind
        self._ticket: Ticket[Arguments, Row] | None = None

    def begin(self) -> None:
        """Send it now if it is shared, while the request goes on."""
        if self._kind is not None:
            self._ticket = self._kind.enqueue(self._arguments)
            self._ticket.answer.add_done_callback(_retrieve_exception)

    async def row(self) -> asyncpg.Record | None:
        """Return its row.

        Raises:
            DatabaseUnavailableError: The database went away.
            asyncpg.PostgresError: The server refused the statement.
            sqlalchemy.exc.TimeoutError: No connection was free in time.
            OSError: The server cannot be reached.
        """
        kind = self._kind
        if kind is not None:
            if self._ticket is None and kind.is_idle:
                row = await kind.run_now(self._arguments)
            else:
                row = await self._wait(self._ticket or kind.enqueue(self._arguments))
            if row is not None:
                return row or None
        rows = await self._reads.fetch_alone(self._statement, self._arguments)
        return rows[0] if rows else None

    @staticmethod
    async def _wait(ticket: Ticket[Arguments, Row]) -> Row | None:
        asked = time.perf_counter()
        try:
            return await ticket.answer
        finally:
            if (timings := current_timings()) is not None:
                # Only the time that the request spent waiting here counts as its own.
                seconds = time.perf_counter() - asked
                took = min(ticket.took, seconds)
                timings.database += took
                timings.pool += min(ticket.waited, seconds - took)


def _retrieve_exception(answer: "asyncio.Future[Any]") -> None:
    # A request that fails earlier never asks for the answer, and asyncio would log the exception.
    if not answer.cancelled():
        answer.exception()


class Reads:
    """Runs the reads of all requests; one per application, over the connections that `connections` lends for sharing.

    Without `connections` no statement is shared.
    """

    def __init__(self, database: Database, connections: SharedConnections | None) -> None:
        self._connections = connections
        self._kinds: dict[Statement, Coalescer[Arguments, Row]] = {}
        self._alone = SharedConnections(database, Pool.ALONE)

    @property
    def waiting(self) -> int:
        """How many reads wait for a connection of their own."""
        return self._alone.waiting

    def prepare(self, statement: Statement, **values: Any) -> Begun:
        """Return a statement that gives one row at most, which is sent when that is asked for."""
        is_shared = statement.is_shared and self._connections is not None
        return Begun(self, statement, statement.arguments(values), self._kind(statement) if is_shared else None)

    def begin(self, statement: Statement, **values: Any) -> Begun:
        """Begin a statement that gives one row at most; one that is not shared begins when its row is asked for."""
        begun = self.prepare(statement, **values)
        begun.begin()
        return begun

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of a statement that gives one at most.

        Raises:
            DatabaseUnavailableError: The database went away.
            asyncpg.PostgresError: The server refused the statement.
            sqlalchemy.exc.TimeoutError: No connection was free in time.
            OSError: The server cannot be reached.
        """
        return await self.prepare(statement, **values).row()

    async def page(self, statement: Statement, **values: Any) -> FoundPage | None:
        """Return the page of a statement made by `json_page`; None where there is nothing that it could be a page of.

        Raises:
            DatabaseUnavailableError: The database went away.
            asyncpg.PostgresError: The server refused the statement.
            sqlalchemy.exc.TimeoutError: No connection was free in time.
            OSError: The server cannot be reached.
        """
        row = await self.one(statement, **values)
        return None if row is None else found_page(row)

    async def close(self) -> None:
        """Close the connections for reads that run alone; those for sharing are closed by their owner."""
        await self._alone.close()

    def _kind(self, statement: Statement) -> Coalescer[Arguments, Row]:
        kind = self._kinds.get(statement)
        if kind is None:
            assert self._connections is not None

            async def run(connection: SharedConnection, requests: Sequence[Arguments]) -> Sequence[Row | None]:
                return await _run(statement, connection, requests)

            kind = self._kinds[statement] = Coalescer(
                statement.name, self._connections, run, max_batch=statement.most_shared, reads=True
            )
        return kind

    async def fetch_alone(self, statement: Statement, arguments: Arguments) -> Sequence[asyncpg.Record]:
        """Run a statement on a connection of its own, once more if that one turns out to be lost.

        Raises:
            asyncpg.PostgresError: The server refused the statement.
            sqlalchemy.exc.TimeoutError: No connection was free in time.
            OSError: The server cannot be reached.
        """
        try:
            return await self._fetch_once(statement.lone, arguments, trusted_seconds=math.inf)
        except CONNECTION_LOST:
            # The other held connections may be lost as well.
            return await self._fetch_once(statement.lone, arguments, trusted_seconds=0)

    async def _fetch_once(self, sql: str, arguments: Arguments, *, trusted_seconds: float) -> Sequence[asyncpg.Record]:
        async with self._alone.lend(trusted_seconds) as connection:
            return await connection.fetch(sql, *arguments)


async def _run(statement: Statement, connection: SharedConnection, requests: Sequence[Arguments]) -> Sequence[Row]:
    if len(requests) == 1:
        rows = await connection.fetch(statement.lone, *requests[0])
        return [rows[0] if rows else _NOTHING]
    found: list[Row] = [_NOTHING] * len(requests)
    for row in await connection.fetch(statement.shared, *statement.columns(requests)):
        found[row["n"] - 1] = row
    return found

"""Runs writes on held connections: one declared statement, several in a transaction, or one for many requests.

A statement that runs alone is a transaction of its own, committed when it returns, so it is a single message. No write
is sent twice: the connection is tested before, and a connection that is lost while a statement runs may have committed
it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import asyncpg

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.pools import Pool
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.database.statements import Arguments, SharedWrite, Statement, Write
from taskmanager.database.write_kinds import Batches, WriteKind
from taskmanager.database_settings import DatabaseSettings


class Written(NamedTuple):
    """The thing that a write created or changed; `body` is its JSON object as bytes."""

    id: int | None
    version: int | None
    body: bytes | None


class Runner(Protocol):
    """Runs declared statements."""

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of a statement that gives one at most."""
        ...


class TransactionRunner(Runner, Protocol):
    """Runs declared statements that are committed together."""

    async def all(self, statement: Statement, **values: Any) -> Sequence[asyncpg.Record]:
        """Return the rows of a statement."""
        ...

    async def last(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of the last statement, whose answer is stored for a retry."""
        ...


async def _run_shared(
    write: SharedWrite, connection: SharedConnection, requests: Sequence[Arguments]
) -> Sequence[Written | None]:
    """Return what a shared write did for each request, None for those that it left out."""
    written: list[Written | None] = [None] * len(requests)
    for n, *left in await connection.fetch(write.sql, *zip(*requests, strict=True)):
        written[n - 1] = Written(*left)
    return written


class WriteRunner(Runner, Protocol):
    """What repositories use to write."""

    def transaction(self, *, long: bool = False) -> AbstractAsyncContextManager[TransactionRunner]:
        """Yield a runner whose statements are committed when the block ends, and rolled back when it raises."""
        ...

    async def share(self, write: SharedWrite, alone: Callable[[], Awaitable[Written]], **values: Any) -> Written:
        """Return the result of a write that others may share, or of `alone`."""
        ...

    def note_more(self, rows: int) -> None:
        """Note that one request writes so many rows besides the one that every request is taken for."""
        ...


class Transaction(TransactionRunner, WriteRunner):
    """Statements of one transaction; a transaction begun inside of it is part of it."""

    def __init__(self, connection: SharedConnection) -> None:
        self._connection = connection

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of a statement that gives one at most."""
        rows = await self.all(statement, **values)
        return rows[0] if rows else None

    async def all(self, statement: Statement, **values: Any) -> Sequence[asyncpg.Record]:
        """Return the rows of a statement."""
        return await self._connection.fetch(statement.lone, *statement.arguments(values))

    async def last(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of the last statement."""
        return await self.one(statement, **values)

    @asynccontextmanager
    async def transaction(self, *, long: bool = False) -> AsyncIterator["Transaction"]:  # noqa: ARG002
        """Yield this transaction."""
        yield self

    async def share(
        self,
        write: SharedWrite,  # noqa: ARG002
        alone: Callable[[], Awaitable[Written]],
        **values: Any,  # noqa: ARG002
    ) -> Written:
        """Return the result of `alone`."""
        return await alone()

    def note_more(self, rows: int) -> None:
        """Do nothing: who has begun the transaction has noted it."""


class Writes(WriteRunner):
    """Runs the writes of all requests; one per application, `shared` are the connections for those that are shared.

    Without `shared` each write runs alone. `on_commit` is called after each of them.
    """

    def __init__(self, database: Database, shared: SharedConnections | None) -> None:
        self.connections = SharedConnections(database, Pool.WRITING)
        self.batches = SharedConnections(database, Pool.BATCHES)
        self._long = SharedConnections(database, Pool.LONG)
        self._shared = shared
        self._kinds: dict[SharedWrite, WriteKind[Written]] = {}
        # By their text, since statements may be made again.
        self._kinds_of_batches: dict[str, Batches] = {}
        self._alone = 0
        self._more_rows = 0
        self.on_commit: list[Callable[[], None]] = []

    @property
    def rows(self) -> int:
        """How many rows have been written since the start, roughly: one by each write, and those that were noted."""
        shared = sum(kind.requests for kind in self._kinds.values())
        batches = sum(kind.requests for kind in self._kinds_of_batches.values())
        return self._alone + shared + batches + self._more_rows

    def note_more(self, rows: int) -> None:
        """Note that one request writes so many rows besides the one that every request is taken for."""
        self._more_rows += rows

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of a statement that gives one at most and is committed when it returns.

        Unless each write runs alone, requests with the same `Write`, or statement of one row, go together.

        Raises:
            DatabaseUnavailableError: The database went away; the write may have been committed.
            asyncpg.PostgresError: The server refused the statement and rolled it back.
            sqlalchemy.exc.TimeoutError: No connection was free in time.
            OSError: The connection was lost; the statement may have been committed.
        """
        if isinstance(statement, Write) and self._shared is not None:
            row = await self._one_row(statement.one_row, values)
            return row if row["is_found"] else None
        if statement.gives_one_row and self._shared is not None:
            return await self._one_row(statement, values)
        rows = await self.all(statement, **values)
        return rows[0] if rows else None

    async def all(self, statement: Statement, **values: Any) -> Sequence[asyncpg.Record]:
        """Return the rows of a statement that is committed when it returns.

        Raises:
            asyncpg.PostgresError: The server refused the statement and rolled it back.
            sqlalchemy.exc.TimeoutError: No connection was free in time.
            OSError: The connection was lost; the statement may have been committed.
        """
        return await self._fetch_alone(statement, statement.arguments(values))

    async def _one_row(self, statement: Statement, values: dict[str, Any]) -> asyncpg.Record:
        arguments = statement.arguments(values)

        async def alone() -> asyncpg.Record:
            return (await self._fetch_alone(statement, arguments))[0]

        batches = self._kinds_of_batches.get(statement.lone)
        if batches is None:
            batches = Batches(statement, self.batches, self._committed)
            self._kinds_of_batches[statement.lone] = batches
        return await batches.run(arguments, alone)

    async def _fetch_alone(self, statement: Statement, arguments: Arguments) -> Sequence[asyncpg.Record]:
        self._alone += 1
        async with self.connections.lend() as connection:
            rows = await connection.fetch(statement.lone, *arguments)
        self._committed()
        return rows

    @asynccontextmanager
    async def transaction(self, *, long: bool = False) -> AsyncIterator[Transaction]:
        """Yield a runner whose statements are committed when the block ends, and rolled back when it raises.

        A `long` one may take longer than other requests may wait; only one runs at a time, on a connection of its own.

        Raises:
            asyncpg.PostgresError: The COMMIT failed; nothing was stored.
            sqlalchemy.exc.TimeoutError: No connection was free in time.
            OSError: The connection was lost; the transaction may have been committed.
        """
        self._alone += 1
        connections = self._long if long else self.connections
        async with connections.lend() as connection, connection.transaction():
            yield Transaction(connection)
        self._committed()

    async def share(self, write: SharedWrite, alone: Callable[[], Awaitable[Written]], **values: Any) -> Written:
        """Return the result of a write that others may share, or of `alone`.

        Raises:
            DatabaseUnavailableError: The database went away; the write may have been committed.
            asyncpg.PostgresError: The server refused the statement.
        """
        if self._shared is None:
            return await alone()
        kind = self._kinds.get(write)
        if kind is None:
            coalescer = Coalescer(
                write.name,
                self._shared,
                partial(_run_shared, write),
                max_batch=write.most,
                conflict_keys=write.conflict_keys if write.conflicts else None,
            )
            kind = self._kinds[write] = WriteKind(coalescer, self._committed)
        return await kind.run(write.arguments(values), alone)

    def _committed(self) -> None:
        for tell in self.on_commit:
            tell()

    async def close(self) -> None:
        """Close its own connections; the owner of the shared ones closes those."""
        for connections in (self.batches, self.connections, self._long):
            await connections.close()


@asynccontextmanager
async def open_writes(settings: DatabaseSettings) -> AsyncIterator[Writes]:
    """Yield the writes of a database outside of an application."""
    database = Database(settings)
    writes = Writes(database, None)
    try:
        yield writes
    finally:
        await writes.close()
        await database.dispose()

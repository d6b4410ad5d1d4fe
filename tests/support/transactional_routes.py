"""What the tests of several files in tests/database share: transactional routes."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from starlette.exceptions import HTTPException

from taskmanager.accounts.dependencies import AppWrites
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Runner
from taskmanager.errors import ProjectArchivedError
from taskmanager.field_types import ResponseModel

INSERT = Statement("promise", "INSERT INTO promises VALUES (1)")


async def open_late_transaction(writes: AppWrites) -> AsyncIterator[Runner]:
    """Yield the statements of a transaction that ends with the request."""
    async with writes.transaction() as run:
        yield run


LateTransaction = Annotated[Runner, Depends(open_late_transaction)]
ERRORS: dict[str, tuple[Exception, int]] = {
    "unforeseen": (RuntimeError("oops"), 500),
    "http": (HTTPException(404), 404),
    "domain": (ProjectArchivedError(), 409),
    "system": (OSError(), 503),
}


class Stored(ResponseModel):
    """What the routes of these tests answer."""

    number: int


async def insert(writes: AppWrites) -> Stored:
    """Store a row."""
    async with writes.transaction() as run:
        await run.one(INSERT)
    return Stored(number=1)


async def insert_alone(writes: AppWrites) -> Stored:
    """Store a row by a statement that is a transaction of its own."""
    await writes.one(INSERT)
    return Stored(number=1)


async def insert_late(run: LateTransaction) -> Stored:
    """Store a row in a transaction that outlives the answer."""
    await run.one(INSERT)
    return Stored(number=1)


async def insert_twice(writes: AppWrites) -> Stored:
    """Store what COMMIT will refuse."""
    async with writes.transaction() as run:
        await run.one(INSERT)
        await run.one(INSERT)
    return Stored(number=1)


async def insert_twice_late(run: LateTransaction) -> Stored:
    """Store what a COMMIT after the answer will refuse."""
    await run.one(INSERT)
    await run.one(INSERT)
    return Stored(number=1)


async def insert_and_fail(kind: str, writes: AppWrites) -> Stored:
    """Store a row and raise."""
    async with writes.transaction() as run:
        await run.one(INSERT)
        raise ERRORS[kind][0]

"""What the tests of several files in tests/database share: transactional routes."""

from typing import Annotated

from fastapi import Depends
from sqlalchemy import text
from starlette.exceptions import HTTPException

from taskmanager.database.database import WriteSession
from taskmanager.errors import ProjectArchivedError
from taskmanager.field_types import ResponseModel
from taskmanager.http.dependencies import Transaction, open_transaction

# What `Transaction` would be without its scope.
LateTransaction = Annotated[WriteSession, Depends(open_transaction)]


INSERT = text("INSERT INTO promises VALUES (1)")


ERRORS: dict[str, tuple[Exception, int]] = {
    "unforeseen": (RuntimeError("oops"), 500),
    "http": (HTTPException(418), 418),
    "domain": (ProjectArchivedError(), 409),
    "system": (OSError(), 503),
}


class Stored(ResponseModel):
    """What the routes of these tests answer."""

    number: int


async def insert(transaction: Transaction) -> Stored:
    """Store a row."""
    await transaction.execute(INSERT)
    return Stored(number=1)


async def insert_late(transaction: LateTransaction) -> Stored:
    """Store a row in a transaction that outlives the answer."""
    await transaction.execute(INSERT)
    return Stored(number=1)


async def insert_twice(transaction: Transaction) -> Stored:
    """Store what COMMIT will refuse."""
    await transaction.execute(INSERT)
    await transaction.execute(INSERT)
    return Stored(number=1)


async def insert_twice_late(transaction: LateTransaction) -> Stored:
    """Store what a COMMIT after the answer will refuse."""
    await transaction.execute(INSERT)
    await transaction.execute(INSERT)
    return Stored(number=1)


async def insert_and_fail(kind: str, transaction: Transaction) -> Stored:
    """Store a row and raise."""
    await transaction.execute(INSERT)
    raise ERRORS[kind][0]


async def insert_and_answer_badly(transaction: Transaction) -> Stored:
    """Store a row and answer what was not promised."""
    await transaction.execute(INSERT)
    return {"number": "none"}  # type: ignore[return-value]

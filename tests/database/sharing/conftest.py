"""Fixtures of the tests in this folder."""

from collections.abc import AsyncIterator

import pytest

from taskmanager.database.database import Database
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.sharing import Coalescer
from tests.conftest import make_settings
from tests.support.coalescers import Statements


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement takes long, however slow the machine is."""
    monkeypatch.setattr("taskmanager.database.sharing._LONG_SECONDS", 60)


@pytest.fixture
async def own_database(database_url: str) -> AsyncIterator[Database]:
    """A database with pools of its own."""
    database = Database(make_settings(database_url=database_url))
    yield database
    await database.dispose()


@pytest.fixture
async def statements() -> Statements:
    """What was run."""
    return Statements()


@pytest.fixture
async def doubled(own_database: Database, statements: Statements) -> AsyncIterator[Coalescer[int, int]]:
    """A coalescer that doubles numbers, at most four at a time; no statement has two of one last digit."""
    connections = SharedConnections(own_database)
    coalescer = Coalescer[int, int](
        "double", connections, statements.run, max_batch=4, conflict_keys=lambda number: (number % 10,)
    )
    yield coalescer
    statements.go_on.set()
    await connections.close()

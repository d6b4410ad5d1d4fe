"""Fixtures of the tests in this folder."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import make_url, text

from taskmanager.database.database import Database
from taskmanager.database.writes import Writes
from taskmanager.main import create_app
from tests.conftest import make_settings
from tests.support.applications import started
from tests.support.databases import temporary_database
from tests.support.killed_migrations import Migrations, forked_migrations
from tests.support.server import connect
from tests.support.sessions import open_session
from tests.support.transactional_routes import (
    insert,
    insert_alone,
    insert_and_fail,
    insert_late,
    insert_twice,
    insert_twice_late,
)


@pytest.fixture(scope="module")
async def extended(database_url: str) -> AsyncIterator[FastAPI]:
    """An application with these routes, where each request runs alone; a table whose constraint COMMIT checks."""
    connection = await connect(make_url(database_url))
    await connection.execute("CREATE TABLE promises (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    app = create_app(make_settings(database_url=database_url, share_statements=False))
    for handler in (insert, insert_alone, insert_late, insert_twice, insert_twice_late):
        path = f"/{handler.__name__}"
        app.add_api_route(path, handler, methods=["POST"], status_code=201, include_in_schema=False)
    app.add_api_route("/insert_and_fail/{kind}", insert_and_fail, methods=["POST"], include_in_schema=False)
    async with started(app):
        yield app
    await connection.execute("DROP TABLE promises")
    await connection.close()


@pytest.fixture
async def fresh(extended: FastAPI, database: Database) -> FastAPI:
    """The same, without any row in the table."""
    async with open_session(database) as session:
        await session.execute(text("DELETE FROM promises"))
    return extended


@pytest.fixture(scope="module")
def migrations() -> Iterator[Migrations]:
    """Runs `taskmanager migrate`."""
    with forked_migrations() as migrations:
        yield migrations


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    async with temporary_database(database_url) as url:
        yield url


@pytest.fixture
def fresh_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `/readyz` look each time."""
    monkeypatch.setattr("taskmanager.health.readiness._CACHE_SECONDS", 0.0)


@pytest.fixture
async def own_database(database_url: str, database: Database) -> AsyncIterator[Database]:
    """A database with engines of its own: two connections for writes, for which nobody waits long."""
    settings = make_settings(database_url=database_url, database_pool_size=2, database_pool_wait_seconds=0.2)
    own = Database(settings)
    yield own
    await own.dispose()


@pytest.fixture
async def writes(own_database: Database) -> AsyncIterator[Writes]:
    """What runs writes on it; none is shared."""
    writes = Writes(own_database, None)
    yield writes
    await writes.close()

"""When the service or its database fails: what is answered, and what is not told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from structlog.testing import capture_logs

from taskmanager.accounts.dependencies import AppWrites
from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from taskmanager.field_types import ResponseModel
from taskmanager.http.dependencies import AppReads
from taskmanager.main import create_app
from tests.conftest import Person, client_for, make_settings
from tests.support.applications import started, without_lifespan
from tests.support.databases import refusing_url, silent_url
from tests.support.server import database_on
from tests.support.sessions import open_session, open_transaction

SECRET_CAUSE = "password=hunter2"
_BROKEN = Statement("broken", "SELECT hunter2 FROM hunter2")
_BROKEN_SHARED = Statement("broken", "SELECT hunter2 FROM hunter2 WHERE id = :some_id", shared=True)
_DIVIDE, _DIVIDE_SHARED = (
    Statement("divide", "SELECT 1 / :hunter2", {"hunter2": "integer"}, shared=shared) for shared in (False, True)
)
_SLEEP, _SLEEP_SHARED = (
    Statement("sleep", "SELECT pg_sleep(:seconds)", {"seconds": "float8"}, shared=shared) for shared in (False, True)
)
KILL_ALL = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'taskmanager' AND pid <> pg_backend_pid()
""")


class Answer(ResponseModel):
    """What the failing routes promise."""

    number: int


async def fail() -> Answer:
    """Raise something unforeseen."""
    raise RuntimeError(SECRET_CAUSE)


async def answer_badly() -> Answer:
    """Return what was not promised."""
    return {"number": SECRET_CAUSE}  # type: ignore[return-value]


async def fail_in_sql(reads: AppReads) -> Answer:
    """Run a broken statement."""
    await reads.one(_BROKEN)
    return Answer(number=1)


async def fail_in_shared_sql(reads: AppReads) -> Answer:
    """Run a broken statement that requests share."""
    await reads.one(_BROKEN_SHARED, some_id=1)
    return Answer(number=1)


async def divide(reads: AppReads) -> Answer:
    """Run a statement that fails with its parameters."""
    await reads.one(_DIVIDE, hunter2=0)
    return Answer(number=1)


async def divide_shared(reads: AppReads) -> Answer:
    """Run a statement that requests share and that fails with its parameters."""
    await reads.one(_DIVIDE_SHARED, hunter2=0)
    return Answer(number=1)


async def divide_in_transaction(writes: AppWrites) -> Answer:
    """Run a statement of a transaction that fails with its parameters."""
    async with writes.transaction() as run:
        await run.one(_DIVIDE, hunter2=0)
    return Answer(number=1)


def assert_unavailable(response: httpx.Response) -> None:
    """Check that a response asks the client to come back."""
    assert response.status_code == 503, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    problem = response.json()
    assert problem["type"] == "/docs/problems#unavailable"
    assert problem["request_id"] == response.headers["X-Request-ID"]


async def fail_with(named: str, writes: AppWrites) -> Answer:
    """Let the server answer with this SQLSTATE, named as `at-08006`: a number in a path has no leading zeros."""
    sqlstate = named.removeprefix("at-")
    await writes.one(Statement("fail", f"DO $$ BEGIN RAISE 'hunter2' USING ERRCODE = '{sqlstate}'; END $$"))
    return Answer(number=1)


_FAILING = (fail, answer_badly, fail_in_sql, fail_in_shared_sql, divide, divide_shared, divide_in_transaction)


@pytest.fixture(scope="module", params=[False, True], ids=["", "debug"])
async def failing(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with all the failing routes."""
    app = create_app(make_settings(database_url=database_url, debug=request.param))
    for handler in _FAILING:
        app.add_api_route(f"/{handler.__name__}", handler, include_in_schema=False)
    app.add_api_route("/fail_with/{named}", fail_with, include_in_schema=False)
    async with started(app) as client:
        yield client


@pytest.mark.parametrize("path", [f"/{handler.__name__}" for handler in _FAILING])
async def test_a_500_tells_the_request_id_and_nothing_of_the_cause(failing: httpx.AsyncClient, path: str) -> None:
    with capture_logs() as logs:
        response = await failing.get(path, headers={"Origin": "http://localhost:3000"})
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(response.content) == {
        "type": "/docs/problems#internal",
        "code": "internal",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong here; the request id leads to it in the logs.",
        "instance": path,
        "request_id": response.headers["X-Request-ID"],
    }
    assert "hunter2" not in response.text
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert float(response.headers["X-Process-Time"]) < 5
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    # The operator gets the cause, with a traceback.
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["exc_info"]


class TestSqlState:
    """What the server answers decides between 503 and 500."""

    @pytest.mark.parametrize(
        "sqlstate",
        [
            "08006",  # connection failure
            "53300",  # too many connections
            "57014",  # statement time-out
            "57P01",  # the server is shut down
            "57P03",  # the server starts up
            "55P03",  # lock time-out
            "40P01",  # deadlock
            "40001",  # serialisation failure
            "25006",  # a standby
            "3D000",  # the database is not there yet
            "28P01",  # nor the role
        ],
    )
    async def test_passing_trouble_is_503(self, failing: httpx.AsyncClient, sqlstate: str) -> None:
        with capture_logs():
            assert_unavailable(await failing.get(f"/fail_with/at-{sqlstate}"))

    @pytest.mark.parametrize("sqlstate", ["22012", "23505", "42P01", "42703", "P0001", "XX000"])
    async def test_a_mistake_is_500(self, failing: httpx.AsyncClient, sqlstate: str) -> None:
        with capture_logs():
            response = await failing.get(f"/fail_with/at-{sqlstate}")
        assert response.status_code == 500
        assert "hunter2" not in response.text


async def sleep(reads: AppReads) -> Answer:
    """Run a statement that takes too long."""
    await reads.one(_SLEEP, seconds=10.0)
    return Answer(number=1)


async def sleep_shared(reads: AppReads) -> Answer:
    """Run a statement that requests share and that takes too long."""
    await reads.one(_SLEEP_SHARED, seconds=10.0)
    return Answer(number=1)


async def hang(writes: AppWrites) -> Answer:
    """Run a statement that the server will not cancel, as good as a frozen server."""
    async with writes.transaction() as run:
        await run.one(Statement("set time-out", "SET LOCAL statement_timeout = 0"))
        await run.one(_SLEEP, seconds=10.0)
    return Answer(number=1)


async def die(writes: AppWrites) -> Answer:
    """Let the server end its own process."""
    await writes.one(Statement("die", "SELECT pg_terminate_backend(pg_backend_pid())"))
    return Answer(number=1)


@pytest.fixture(scope="module")
async def impatient(database_url: str) -> AsyncIterator[FastAPI]:
    """An application of two connections that waits for nothing."""
    app = create_app(
        make_settings(
            database_url=database_url,
            database_pool_size=2,
            database_pool_wait_seconds=0.3,
            database_lock_timeout_ms=100,
            database_statement_timeout_ms=200,
            database_command_timeout_seconds=0.4,
        )
    )
    for handler in (sleep, sleep_shared, hang, die):
        app.add_api_route(f"/{handler.__name__}", handler, include_in_schema=False)
    async with started(app):
        yield app


@pytest.mark.server_itself("time-outs that the role does not have")
class TestDatabaseFaults:
    """503 within the time-outs, and good answers again afterwards."""

    @pytest.fixture
    async def client(self, impatient: FastAPI, alice: Person) -> AsyncIterator[httpx.AsyncClient]:
        """Alice's client of it."""
        async with client_for(impatient, headers={"Authorization": f"Bearer {alice.token}"}) as client:
            yield client
            # Whatever happened, the next request is fine.
            assert (await client.get("/api/v1/tasks")).status_code == 200

    @pytest.mark.parametrize("path", ["/sleep", "/sleep_shared"])
    async def test_a_statement_that_takes_too_long(self, client: httpx.AsyncClient, path: str) -> None:
        started_at = time.monotonic()
        assert_unavailable(await client.get(path))
        assert time.monotonic() - started_at < 4

    async def test_a_server_that_does_not_answer_in_time(self, client: httpx.AsyncClient) -> None:
        started_at = time.monotonic()
        for answer in await asyncio.gather(*(client.get("/hang") for _ in range(4))):
            assert_unavailable(answer)
        assert time.monotonic() - started_at < 5

    async def test_a_row_that_stays_locked(self, client: httpx.AsyncClient, alice: Person, database: Database) -> None:
        task = await alice.new_task()
        path = f"/api/v1/tasks/{task['id']}"
        async with open_transaction(database) as session:
            await session.execute(text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE"), {"id": task["id"]})
            assert_unavailable(await client.patch(path, json={"title": "New"}))
        assert (await client.patch(path, json={"title": "New"})).status_code == 200

    async def test_a_pool_that_is_exhausted(self, client: httpx.AsyncClient, impatient: FastAPI) -> None:
        async with AsyncExitStack() as busy:
            for _ in range(2):
                await busy.enter_async_context(impatient.state.writes.transaction())
            started_at = time.monotonic()
            assert_unavailable(await client.post("/api/v1/projects", json={"name": "New"}))
            assert time.monotonic() - started_at < 4
            # Reads have connections of their own.
            assert (await client.get("/api/v1/projects")).status_code == 200

    async def test_a_backend_that_dies_at_work(self, client: httpx.AsyncClient) -> None:
        for _ in range(3):
            assert_unavailable(await client.get("/die"))

    async def test_backends_that_died_while_idle_are_noticed_by_nobody(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        for _ in range(3):
            # Some share a connection, others have one each.
            paths = ("/api/v1/tasks", "/api/v1/projects", "/api/v1/notifications")
            answers = await asyncio.gather(*(client.get(path) for path in paths))
            assert {answer.status_code for answer in answers} == {200}
            async with open_session(database) as session:
                assert len((await session.execute(KILL_ALL)).all()) >= 2

    async def test_a_server_that_refuses(self, database_url: str, alice: Person) -> None:
        app = create_app(make_settings(database_url=refusing_url(database_url)))
        headers = {"Authorization": f"Bearer {alice.token}"}
        async with without_lifespan(app) as client:
            assert_unavailable(await client.get("/api/v1/tasks", headers=headers))
            form = {"username": "alice", "password": "anything at all"}
            assert_unavailable(await client.post("/api/v1/token", data=form))
            # What needs no database is answered as ever.
            assert (await client.get("/api/v1/tasks")).status_code == 401
            assert (await client.post("/api/v1/tasks", content=b"{", headers=headers)).status_code == 415

    async def test_a_server_that_says_nothing(self, database_url: str, alice: Person) -> None:
        headers = {"Authorization": f"Bearer {alice.token}"}
        async with silent_url(database_url) as url:
            app = create_app(make_settings(database_url=url, database_connect_timeout_seconds=0.2))
            async with without_lifespan(app) as client:
                started_at = time.monotonic()
                assert_unavailable(await client.get("/api/v1/tasks", headers=headers))
                assert time.monotonic() - started_at < 4

    async def test_a_database_that_is_not_there(self, database_url: str, alice: Person) -> None:
        app = create_app(make_settings(database_url=database_on(database_url, "gone")))
        async with without_lifespan(app) as client:
            headers = {"Authorization": f"Bearer {alice.token}"}
            assert_unavailable(await client.get("/api/v1/tasks", headers=headers))

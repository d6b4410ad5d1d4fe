"""When work is committed: before the answer's first byte, as a whole, and never by reading."""

import asyncio
import gc
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
import pytest
from asyncpg.connection import LoggedQuery
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import event, make_url, text
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from taskmanager.database.database import Database, WriteSession
from taskmanager.errors import ProjectArchivedError
from taskmanager.field_types import ResponseModel
from taskmanager.http.dependencies import Transaction, open_transaction
from taskmanager.main import create_app
from tests.conftest import Person, client_for, make_settings, recorded_statements
from tests.support.applications import started
from tests.support.event_log import count_rows, events_of
from tests.support.server import connect

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


@pytest.fixture(scope="module")
async def extended(database_url: str) -> AsyncIterator[FastAPI]:
    """An application with these routes, where each request runs alone; a table whose constraint COMMIT checks."""
    connection = await connect(make_url(database_url))
    await connection.execute("CREATE TABLE promises (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    app = create_app(make_settings(database_url=database_url, share_statements=False))
    for handler in (insert, insert_late, insert_twice, insert_twice_late, insert_and_answer_badly):
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
    async with database.reader() as session:
        await session.execute(text("DELETE FROM promises"))
    return extended


class TestCommit:
    """COMMIT comes before the first byte of the answer."""

    @staticmethod
    async def _rows_at_the_first_byte(app: FastAPI, database: Database, path: str) -> list[int]:
        seen: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 201
                seen.append(await count_rows(database, "promises"))

        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "root_path": "",
            "headers": [],
            "client": None,
            "server": ("test", 80),
        }
        await app(scope, receive, send)
        return seen

    async def test_what_is_answered_can_be_read_by_everybody_at_once(self, fresh: FastAPI, database: Database) -> None:
        assert await self._rows_at_the_first_byte(fresh, database, "/insert") == [1]

    async def test_the_default_scope_would_answer_too_early(self, fresh: FastAPI, database: Database) -> None:
        # Proves that the test above can fail.
        assert await self._rows_at_the_first_byte(fresh, database, "/insert_late") == [0]
        assert await count_rows(database, "promises") == 1

    async def test_a_commit_that_fails_is_no_success(self, fresh: FastAPI, database: Database) -> None:
        async with client_for(fresh) as client:
            with capture_logs():
                response = await client.post("/insert_twice")
        assert response.status_code == 500
        assert response.headers["Content-Type"] == "application/problem+json"
        assert await count_rows(database, "promises") == 0

    async def test_the_default_scope_would_call_it_one(self, fresh: FastAPI, database: Database) -> None:
        # Proves that the test above can fail.
        async with client_for(fresh) as client:
            with capture_logs():
                response = await client.post("/insert_twice_late")
        assert response.status_code == 201
        assert await count_rows(database, "promises") == 0


class TestRollback:
    """A request that fails after a write stores nothing."""

    @pytest.mark.parametrize("kind", ERRORS)
    async def test_whatever_the_handler_raises(self, fresh: FastAPI, database: Database, kind: str) -> None:
        async with client_for(fresh) as client:
            with capture_logs():
                assert (await client.post(f"/insert_and_fail/{kind}")).status_code == ERRORS[kind][1]
        assert await count_rows(database, "promises") == 0

    async def test_an_answer_that_cannot_be_written(self, fresh: FastAPI, database: Database) -> None:
        async with client_for(fresh) as client:
            with capture_logs():
                assert (await client.post("/insert_and_answer_badly")).status_code == 500
        assert await count_rows(database, "promises") == 0


@dataclass
class Wire:
    """What goes to the server: statements, and what begins and ends transactions."""

    statements: list[str] = field(default_factory=list)
    control: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget what was recorded."""
        self.statements.clear()
        self.control.clear()


@pytest.fixture
async def wire(fresh: FastAPI) -> AsyncIterator[Wire]:
    """Everything that the application sends over its pools."""
    database: Database = fresh.state.database
    engines = database.engine, database._alone_engine
    control: list[str] = []

    def record_control(query: LoggedQuery) -> None:
        if query.query.startswith(("BEGIN", "START", "COMMIT", "ROLLBACK")):
            control.append(query.query.strip(" ;"))

    def watch(connection: Any, _: Any) -> None:
        connection.driver_connection.add_query_logger(record_control)

    async def close_all() -> None:
        await fresh.state.reads.close()
        for engine in engines:
            await engine.dispose()

    await close_all()
    for engine in engines:
        event.listen(engine.sync_engine, "connect", watch)
    with recorded_statements(database) as statements:
        yield Wire(statements, control)
    for engine in engines:
        event.remove(engine.sync_engine, "connect", watch)
    await close_all()


class TestRoundTrips:
    """Reads need no transaction, writes exactly one."""

    @pytest.fixture
    async def quiet(
        self, fresh: FastAPI, alice: Person, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Alice's client of an application whose pool does not check its connections."""
        monkeypatch.setattr(fresh.state.database.engine.pool, "_pre_ping", False)
        async with client_for(fresh, headers={"Authorization": f"Bearer {alice.token}"}) as client:
            yield client

    async def test_no_get_handler_begins_a_transaction(
        self, fresh: FastAPI, alice: Person, quiet: httpx.AsyncClient, wire: Wire
    ) -> None:
        task = await alice.new_task()
        comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "A comment"})).json()
        known = {"project_id": alice.inbox_id, "task_id": task["id"], "comment_id": comment["id"], "user_id": alice.id}
        ids: dict[str, int] = defaultdict(lambda: 1, known)
        found = 0
        for context in iter_route_contexts(fresh.routes):
            if context.path and context.path.startswith("/api/v1/") and "GET" in (context.methods or ()):
                wire.clear()
                response = await quiet.get(context.path.format_map(ids))
                await asyncio.sleep(0)  # the driver reports a little later
                found += response.status_code == 200
                assert wire.control == [], context.path
        assert found >= 7

    @pytest.mark.parametrize(("query", "counts"), [("?count=none", []), ("", [False])])
    async def test_a_read_is_two_statements_and_one_to_count(
        self, quiet: httpx.AsyncClient, wire: Wire, query: str, counts: list[bool]
    ) -> None:
        for _ in range(2):
            wire.clear()
            await quiet.get(f"/api/v1/tasks{query}")
        assert ["FROM sessions" in statement for statement in wire.statements] == [True, False, *counts]

    async def test_a_write_is_one_transaction_of_one_statement(self, quiet: httpx.AsyncClient, wire: Wire) -> None:
        for _ in range(2):
            wire.clear()
            assert (await quiet.post("/api/v1/tasks", json={"title": "A task"})).status_code == 201
        await asyncio.sleep(0)
        assert [control.split()[0] for control in wire.control] == ["BEGIN", "COMMIT"]
        authentication, write = wire.statements
        assert "FROM sessions" in authentication
        assert "INSERT INTO events" in write

    async def test_the_pool_begins_no_transaction_of_its_own(self, fresh: FastAPI, alice: Person, wire: Wire) -> None:
        async with client_for(fresh, headers={"Authorization": f"Bearer {alice.token}"}) as client:
            for _ in range(2):
                wire.clear()
                await client.get("/api/v1/tasks")
        await asyncio.sleep(0)
        assert wire.control == []


class TestCancellation:
    """A client that goes away leaves nothing open and nothing half done."""

    async def _assert_nothing_is_open(self, app: FastAPI, database: Database) -> None:
        pool = app.state.database.engine.pool
        assert pool.checkedout() == 0
        statement = text("""
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'
        """)
        async with database.reader() as session:
            assert (await session.execute(statement)).scalar_one() == 0

    @staticmethod
    def _calls(client: httpx.AsyncClient, task_id: int) -> list[Coroutine[Any, Any, httpx.Response]]:
        path = f"/api/v1/tasks/{task_id}"
        calls = []
        for number in range(4):
            calls.append(client.post("/api/v1/tasks", json={"title": "A task"}))
            calls.append(client.patch(path, json={"title": f"Title {number}", "priority": 2}))
            calls.append(client.get("/api/v1/tasks"))
        return calls

    async def _cancel(self, client: httpx.AsyncClient, task_id: int) -> int:
        cancelled = 0
        for batch in range(10):
            requests = [asyncio.create_task(call) for call in self._calls(client, task_id)]
            await asyncio.sleep(batch * 0.003)
            for request in requests:
                request.cancel()
            answers = await asyncio.gather(*requests, return_exceptions=True)
            cancelled += sum(isinstance(answer, asyncio.CancelledError) for answer in answers)
        return cancelled

    async def test_120_cancelled_requests_leave_no_connection_behind(
        self, fresh: FastAPI, database: Database, alice: Person
    ) -> None:
        task = await alice.new_task()
        async with client_for(fresh, headers={"Authorization": f"Bearer {alice.token}"}) as client:
            await asyncio.gather(*self._calls(client, task["id"]))
            assert await self._cancel(client, task["id"]) > 10
            await self._assert_nothing_is_open(fresh, database)
            answers = await asyncio.gather(*self._calls(client, task["id"]))
            assert all(answer.is_success for answer in answers)
        log = await events_of(database, "task", task["id"])
        assert [event["version"] for event in log] == list(range(1, len(log) + 1))
        statement = text("SELECT count(*) FROM events WHERE entity = 'task' AND action = 'created'")
        async with database.reader() as session:
            logged = (await session.execute(statement)).scalar_one()
        assert logged == await count_rows(database, "tasks")
        # The driver complains of connections that were cancelled while they were made: let it do so here.
        gc.collect()

"""Reads: sent again when their connection is lost, with nothing around them, and each with its own errors only."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from taskmanager.database.database import Database
from taskmanager.database.pools import Pool
from taskmanager.database.reads import Reads
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.statements import Statement
from taskmanager.errors import DatabaseUnavailableError
from taskmanager.main import create_app
from taskmanager.telemetry.request_context import CURRENT_REQUEST, RequestContext
from tests.conftest import Person, make_settings
from tests.support.applications import started
from tests.support.credentials import ALL_BUT_ADMIN, Key, new_key
from tests.support.rows import execute
from tests.support.sessions import open_connections

ALONE, SHARED = (
    Statement("divide", "SELECT 60 / :divisor AS quotient WHERE :divisor >= 0", {"divisor": "integer"}, shared=shared)
    for shared in (False, True)
)
BACKEND_ALONE, BACKEND_SHARED = (
    Statement("backend", "SELECT pg_backend_pid() AS pid, :some_id AS id", shared=shared) for shared in (False, True)
)
SLEEP_ALONE, SLEEP_SHARED = (
    Statement("sleep", "SELECT pg_sleep(:seconds)", {"seconds": "float8"}, shared=shared) for shared in (False, True)
)


@pytest.fixture
async def own_database(database_url: str) -> AsyncIterator[Database]:
    """A database with engines of its own."""
    database = Database(make_settings(database_url=database_url))
    yield database
    await database.dispose()


@pytest.fixture
async def reads(own_database: Database) -> AsyncIterator[Reads]:
    """What runs reads on it."""
    connections = SharedConnections(own_database)
    reads = Reads(own_database, connections)
    yield reads
    await connections.close()
    await reads.close()


async def quotient(reads: Reads, statement: Statement, divisor: int) -> int | None:
    """Divide 60, or return None for a negative divisor."""
    row = await reads.one(statement, divisor=divisor)
    return None if row is None else int(row["quotient"])


async def test_a_lone_read_tells_its_request_where_the_time_went(reads: Reads) -> None:
    request = RequestContext(())
    token = CURRENT_REQUEST.set(request)
    try:
        begun = time.perf_counter()
        assert await quotient(reads, SHARED, 5) == 12
        seconds = time.perf_counter() - begun
    finally:
        CURRENT_REQUEST.reset(token)
    assert request.timings.pool > 0.001  # a connection was opened
    assert request.timings.database > 0
    assert request.timings.pool + request.timings.database <= seconds


async def terminate(database: Database, *pids: int) -> None:
    """Close connections from the server's side."""
    for pid in pids:
        await execute(database, "SELECT pg_terminate_backend(:pid, 2000)", pid=pid)


class TestErrors:
    """What is wrong with one request."""

    @pytest.mark.parametrize("statement", [ALONE, SHARED], ids=["alone", "shared"])
    async def test_it_harms_no_other(self, reads: Reads, statement: Statement) -> None:
        divisors = [1, 0, -1, 2, 0, 60]
        answers = await asyncio.gather(
            *(quotient(reads, statement, divisor) for divisor in divisors), return_exceptions=True
        )
        assert [answer if isinstance(answer, int | None) else type(answer) for answer in answers] == [
            *(60, asyncpg.DivisionByZeroError, None, 30, asyncpg.DivisionByZeroError, 1),
        ]

    @pytest.mark.server_itself("connections by the number of their process")
    async def test_the_connections_are_as_good_as_before(self, own_database: Database, reads: Reads) -> None:
        for statement in (ALONE, SHARED):
            for divisor in (0, 5):
                await asyncio.gather(quotient(reads, statement, divisor), return_exceptions=True)
        pids = {(await reads.one(one, some_id=1))["pid"] for one in (BACKEND_ALONE, BACKEND_SHARED)}  # type: ignore[index]
        assert len(pids) == 2
        # One for each kind: none was thrown away for what a request had done.
        assert open_connections(own_database, Pool.SHARED) == 1

    async def test_one_that_nobody_asks_for_is_not_complained_about(self, reads: Reads) -> None:
        begun = reads.begin(SHARED, divisor=0)
        assert await quotient(reads, SHARED, 6) == 10
        del begun


class TestLostConnections:
    """A server that closes connections, for a restart or an update."""

    @pytest.mark.parametrize("statement", [BACKEND_ALONE, BACKEND_SHARED], ids=["alone", "shared"])
    @pytest.mark.parametrize("count", [1, 5])
    async def test_a_read_is_sent_once_more(
        self, database: Database, reads: Reads, statement: Statement, count: int
    ) -> None:
        for _ in range(3):
            rows = await asyncio.gather(*(reads.one(statement, some_id=number) for number in range(count)))
            assert [row and row["id"] for row in rows] == list(range(count))
            await terminate(database, *{row["pid"] for row in rows if row is not None})
        rows = await asyncio.gather(*(reads.one(statement, some_id=number) for number in range(count)))
        assert [row and row["id"] for row in rows] == list(range(count))

    @pytest.mark.parametrize("statement", [SLEEP_ALONE, SLEEP_SHARED], ids=["alone", "shared"])
    async def test_one_under_way_too(self, database: Database, reads: Reads, statement: Statement) -> None:
        reading = asyncio.create_task(reads.one(statement, seconds=0.4))
        await asyncio.sleep(0.2)
        await execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()",
        )
        assert await reading is not None

    async def test_nobody_is_answered_for_ever(self) -> None:
        database = Database(make_settings(database_url="postgresql://nobody@127.0.0.1:1/nothing"))
        connections = SharedConnections(database)
        reads = Reads(database, connections)
        with pytest.raises(DatabaseUnavailableError):
            await reads.one(BACKEND_SHARED, some_id=1)
        with pytest.raises(OSError):  # whatever the operating system says of it
            await reads.one(BACKEND_ALONE, some_id=1)
        await connections.close()
        await reads.close()
        await database.dispose()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is sent over connections that are opened from now on, through any layer: statements, pings, settings."""
    sent: list[str] = []

    class Recorded(asyncpg.Connection):
        """A connection that says what it sends."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.add_query_logger(lambda record: sent.append(record.query))

    monkeypatch.setattr("taskmanager.database.connections.DriverConnection", Recorded)
    return sent


@pytest.mark.server_itself("what a connection without a pooler sends")
class TestNothingAround:
    """No BEGIN, SET, ROLLBACK nor ping goes with a read."""

    @pytest.fixture
    async def key(self, alice: Person) -> Key:
        """A key of Alice's, whose use is noted already."""
        key = await new_key(alice, *ALL_BUT_ADMIN)
        assert (await alice.client.get("/api/v1/users/me", headers={"X-API-Key": key.text})).status_code == 200
        return key

    @pytest.mark.parametrize("share_statements", [True, False])
    async def test_every_route_sends_its_statements_only(
        self,
        alice: Person,
        bob: Person,
        key: Key,
        database_url: str,
        messages: list[str],
        monkeypatch: pytest.MonkeyPatch,
        *,
        share_statements: bool,
    ) -> None:
        project = await alice.new_project()
        await alice.post(f"/projects/{project}/members", {"username": "bob", "role": "viewer"})
        task = (await alice.new_task(project, assignee_id=alice.id))["id"]
        comment = (await alice.post(f"/tasks/{task}/comments", {"body": "Hello"})).json()["id"]
        expected = {
            **dict.fromkeys(("/users/me",), 1),
            **dict.fromkeys(("/users/me/sessions", "/users/me/api-keys", "/projects", f"/projects/{project}"), 2),
            **dict.fromkeys((f"/projects/{project}/{rest}" for rest in ("members", "activity", f"tasks/{task}")), 2),
            f"/projects/{project}/members/{bob.id}": 2,
            **dict.fromkeys((f"/tasks/{task}{rest}" for rest in ("", "/comments", "/activity")), 2),
            f"/tasks/{task}/comments/{comment}": 2,
            **dict.fromkeys(("/tasks", f"/projects/{project}/tasks", "/tasks?status=pending&sort_by=created_at"), 3),
            **dict.fromkeys(("/tasks?count=none", "/tasks?search=task", "/tasks?tag=a&count=exact&skip=600"), 2),
            "/notifications": 2,
        }
        # However long a connection has been idle.
        monkeypatch.setattr("taskmanager.database.shared_connections._TRUSTED_SECONDS", 0)
        settings = make_settings(database_url=database_url, share_statements=share_statements)
        async with started(create_app(settings)) as client:
            found: dict[str, dict[str, int]] = {}
            # The reads of a login check it themselves; without shared statements, and for its account, it is looked up.
            looked_up = {"/users/me"} if share_statements else {*expected}
            for headers in ({"Authorization": f"Bearer {alice.token}"}, {"X-API-Key": key.text}):
                for path in expected:
                    await self.ask(client, path, headers)  # opens connections
                    messages.clear()
                    await self.ask(client, path, headers)
                    assert [sql for sql in messages if not sql.lstrip().startswith(("SELECT ", "WITH size "))] == [], (
                        path
                    )
                    found.setdefault(path, {})[next(iter(headers))] = len(messages)
        assert found == {
            path: {"Authorization": count - (path not in looked_up), "X-API-Key": count}
            for path, count in expected.items()
        }

    @staticmethod
    async def ask(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> None:
        answer = await client.get(f"/api/v1{path}", headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        await asyncio.sleep(0)  # asyncpg calls the recorder in the next turn of the event loop

    async def test_what_is_around_a_write_is_recorded_here(
        self, alice: Person, bob: Person, database_url: str, messages: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The recorder would see it: a ping, and the transaction of a write that is more than one statement.
        project = await alice.new_project()
        monkeypatch.setattr("taskmanager.database.shared_connections._TRUSTED_SECONDS", 0)
        async with started(create_app(make_settings(database_url=database_url))) as client:
            headers = {"Authorization": f"Bearer {alice.token}"}
            for _ in range(2):
                await alice.post(f"/projects/{project}/members", {"username": "bob", "role": "editor"})
                messages.clear()
                answer = await client.delete(f"/api/v1/projects/{project}/members/{bob.id}", headers=headers)
                assert answer.status_code == 204
                await asyncio.sleep(0)  # asyncpg calls the recorder in the next turn of the event loop
        assert ";" in messages
        assert any("BEGIN" in sql for sql in messages)
        assert any("COMMIT" in sql for sql in messages)

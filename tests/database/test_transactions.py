"""When work is committed: before the answer's first byte, as a whole, and never by reading."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from structlog.testing import capture_logs

from taskmanager.database.database import Database
from tests.conftest import Person, client_for
from tests.support.event_log import count_rows, events_of
from tests.support.sessions import open_session
from tests.support.transactional_routes import (
    ERRORS,
)


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

    @pytest.mark.parametrize("path", ["/insert", "/insert_alone"])
    async def test_what_is_answered_can_be_read_by_everybody_at_once(
        self, fresh: FastAPI, database: Database, path: str
    ) -> None:
        assert await self._rows_at_the_first_byte(fresh, database, path) == [1]

    async def test_a_transaction_of_the_request_would_answer_too_early(
        self, fresh: FastAPI, database: Database
    ) -> None:
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

    async def test_a_transaction_of_the_request_would_call_it_one(self, fresh: FastAPI, database: Database) -> None:
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


class TestCancellation:
    """A client that goes away leaves nothing open and nothing half done."""

    async def _assert_nothing_is_open(self, app: FastAPI, database: Database) -> None:
        assert app.state.writes.connections.in_use == 0
        statement = text("""
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'
        """)
        async with open_session(database) as session:
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
        async with open_session(database) as session:
            logged = (await session.execute(statement)).scalar_one()
        assert logged == await count_rows(database, "tasks")
        # The driver complains of connections that were cancelled while they were made: let it do so here.
        gc.collect()

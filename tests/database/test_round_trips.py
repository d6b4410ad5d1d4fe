"""How many messages a request sends to the database."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from asyncpg.connection import LoggedQuery
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import event

from taskmanager.database.database import Database
from taskmanager.database.pools import Pool
from tests.conftest import Person, client_for
from tests.support.recorded_statements import recorded_statements


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
    engines = database.engine, database.engine_of(Pool.ALONE)
    control: list[str] = []

    def record_control(query: LoggedQuery) -> None:
        if query.query.startswith(("BEGIN", "START", "COMMIT", "ROLLBACK")):
            control.append(query.query.strip(" ;"))

    def watch(connection: Any, _: Any) -> None:
        connection.driver_connection.add_query_logger(record_control)

    async def close_all() -> None:
        await fresh.state.reads.close()
        await fresh.state.writes.close()
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
    """Reads and writes of one statement need no message around it."""

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
        section = (await alice.post(f"/projects/{alice.inbox_id}/sections", {"name": "A section"})).json()
        known = {"project_id": alice.inbox_id, "task_id": task["id"], "comment_id": comment["id"], "user_id": alice.id}
        known["section_id"] = section["id"]
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

    async def test_a_write_is_one_statement_that_is_a_transaction_of_its_own(
        self, quiet: httpx.AsyncClient, wire: Wire
    ) -> None:
        for _ in range(2):
            wire.clear()
            assert (await quiet.post("/api/v1/tasks", json={"title": "A task"})).status_code == 201
        await asyncio.sleep(0)
        assert wire.control == []
        authentication, write = wire.statements
        assert "FROM sessions" in authentication
        assert "INSERT INTO events" in write

    async def test_a_move_is_a_read_and_such_a_write(self, alice: Person, quiet: httpx.AsyncClient, wire: Wire) -> None:
        tasks = [(await alice.new_task())["id"] for _ in range(3)]
        for task_id in tasks[1:]:
            wire.clear()
            moved = await quiet.post(f"/api/v1/tasks/{task_id}/move", json={"before": tasks[0]})
            assert moved.status_code == 200
        await asyncio.sleep(0)
        assert wire.control == []
        authentication, places, write = wire.statements
        assert "FROM sessions" in authentication
        assert "INSERT" not in places
        assert "INSERT INTO events" in write

    async def test_the_pool_begins_no_transaction_of_its_own(self, fresh: FastAPI, alice: Person, wire: Wire) -> None:
        async with client_for(fresh, headers={"Authorization": f"Bearer {alice.token}"}) as client:
            for _ in range(2):
                wire.clear()
                await client.get("/api/v1/tasks")
        await asyncio.sleep(0)
        assert wire.control == []

"""What `/metrics` says of the database and of what waits for it."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.accounts.dependencies import AppWrites
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.database.database import Database
from taskmanager.database.pools import SHARED_CONNECTIONS
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from taskmanager.main import create_app
from tests.conftest import METRICS_TOKEN, Person, make_settings
from tests.support.applications import started
from tests.support.metrics_pages import Samples, scrape, value
from tests.support.sessions import open_transaction


class TestDatabase:
    """The pool and the statements."""

    async def test_statements_and_their_time_are_counted(self, observer: httpx.AsyncClient, observed: FastAPI) -> None:
        before = await scrape(observer)
        await observed.state.writes.one(Statement("sleep", "SELECT pg_sleep(0.1)"))
        async with observed.state.writes.transaction() as run:
            await run.one(Statement("work", "SELECT 1"))
        after = await scrape(observer)
        assert value(after, "database_statements_total") - value(before, "database_statements_total") == 3
        name = "database_statement_seconds_total"
        assert 0.1 <= value(after, name) - value(before, name) < 1

    async def test_statements_that_requests_share_are_counted_once(
        self, observer: httpx.AsyncClient, observed: FastAPI, alice: Person
    ) -> None:
        task = await alice.new_task()
        before = await scrape(observer)
        headers = {"Authorization": f"Bearer {alice.token}"}
        answers = await asyncio.gather(
            *(observer.get(f"/api/v1/tasks/{task['id']}", headers=headers) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {200}
        for answer in answers:
            assert "db;dur=0.00" not in answer.headers["Server-Timing"]
        after = await scrape(observer)

        def growth(name: str) -> float:
            return value(after, name) - value(before, name)

        # Each is a part of one only, which checks its login and reads.
        assert growth("shared_statement_requests_total") == 20
        assert 1 <= growth("shared_statements_total") < 20
        assert growth("database_statements_total") >= growth("shared_statements_total")
        assert growth("database_statement_seconds_total") > 0

    async def test_the_pool_is_seen_at_work(
        self, observer: httpx.AsyncClient, observed: FastAPI, alice: Person
    ) -> None:
        idle = await scrape(observer)
        assert [value(idle, f"database_pool_{name}") for name in ("size", "in_use", "waiting")] == [2, 0, 0]
        writes: Writes = observed.state.writes
        async with writes.transaction(), writes.transaction():
            headers = {"Authorization": f"Bearer {alice.token}"}
            writing = observer.post("/api/v1/projects", headers=headers, json={"name": "New"})
            refused = asyncio.create_task(writing)
            await asyncio.sleep(0.05)
            busy = await scrape(observer)
            assert [value(busy, f"database_pool_{name}") for name in ("size", "in_use", "waiting")] == [2, 2, 1]
            assert (await refused).status_code == 503
        samples = await scrape(observer)
        assert value(samples, "unavailable_total", cause="pool_timeout") == 1
        assert value(samples, "database_pool_in_use") == 0

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_a_statement_that_took_too_long_is_a_cause_of_its_own(self, database_url: str) -> None:
        settings = make_settings(
            database_url=database_url, metrics_token=METRICS_TOKEN, database_statement_timeout_ms=100
        )
        app = create_app(settings)

        async def sleep(writes: AppWrites) -> None:
            await writes.one(Statement("sleep", "SELECT pg_sleep(10)"))

        app.add_api_route("/sleep", sleep, include_in_schema=False)
        async with started(app) as client:
            assert (await client.get("/sleep")).status_code == 503
            samples = await scrape(client)
        assert value(samples, "unavailable_total", cause="statement_timeout") == 1


class TestCausesInSharedStatements:
    """The commonest requests tell as exactly as the others what was out of reach."""

    @staticmethod
    async def refused(client: httpx.AsyncClient, person: Person) -> Samples:
        answer = await client.get("/api/v1/tasks/1", headers={"Authorization": f"Bearer {person.token}"})
        assert answer.status_code == 503
        samples = await scrape(client)
        route = "/api/v1/tasks/{task_id}"
        assert value(samples, "http_requests_total", method="GET", route=route, status="503") == 1
        return samples

    @staticmethod
    def app(database_url: str) -> FastAPI:
        return create_app(
            make_settings(
                database_url=database_url,
                metrics_token=METRICS_TOKEN,
                database_statement_timeout_ms=100,
                database_pool_wait_seconds=0.1,
            )
        )

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_a_statement_that_took_too_long(self, database_url: str, alice: Person, database: Database) -> None:
        app = self.app(database_url)
        async with started(app) as client, open_transaction(database) as session:
            await session.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
            assert value(await self.refused(client, alice), "unavailable_total", cause="statement_timeout") == 1

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_a_turn_that_did_not_come(self, database_url: str, alice: Person) -> None:
        app = self.app(database_url)
        async with started(app) as client, AsyncExitStack() as turns:
            for _ in range(SHARED_CONNECTIONS):
                await turns.enter_async_context(app.state.shared_connections.lend())
            assert value(await self.refused(client, alice), "unavailable_total", cause="pool_timeout") == 1


async def test_logins_that_wait_are_counted(observer: httpx.AsyncClient, observed: FastAPI) -> None:
    hasher: PasswordHasher = observed.state.password_hasher
    done = asyncio.Event()

    async def log_in() -> None:
        await hasher.enter()
        async with hasher.turn():
            await done.wait()

    logins = [asyncio.create_task(log_in()) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert value(await scrape(observer), "password_hashes_pending") == 5
    done.set()
    await asyncio.gather(*logins)
    assert value(await scrape(observer), "password_hashes_pending") == 0

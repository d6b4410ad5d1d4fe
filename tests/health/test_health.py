"""The probes of whoever runs the service."""

import asyncio
import time
from contextlib import AsyncExitStack

import httpx
import pytest
from alembic import command

from taskmanager.database.schema_migrations import alembic_config
from taskmanager.main import create_app
from tests.conftest import Person, make_settings
from tests.support.applications import started, without_lifespan
from tests.support.databases import refusing_url, silent_url, temporary_database
from tests.support.stalls import Stalls


@pytest.mark.parametrize(("path", "status"), [("/health", "healthy"), ("/livez", "alive"), ("/readyz", "ready")])
async def test_probes_answer_anybody(client: httpx.AsyncClient, path: str, status: str) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.json() == {"status": status}
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")


async def test_an_unreachable_database_is_not_ready_but_alive(database_url: str) -> None:
    settings = make_settings(database_url=refusing_url(database_url))
    async with without_lifespan(create_app(settings)) as client:
        for path in ("/", "/health", "/livez"):
            assert (await client.get(path)).status_code == 200
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "/docs/problems#not-ready"
    assert "postgres" not in response.text.lower()


async def test_a_silent_database_is_not_ready_and_found_out_in_time(database_url: str) -> None:
    async with silent_url(database_url) as url:
        settings = make_settings(database_url=url, database_connect_timeout_seconds=0.2)
        async with without_lifespan(create_app(settings)) as client, Stalls() as stalls:
            started_at = time.monotonic()
            response = await client.get("/readyz")
            assert response.status_code == 503
            assert stalls.seconds(started_at) < 2


async def test_a_stale_schema_is_not_ready_until_it_is_migrated(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The result is kept for a second, so that probes cost nothing; here longer than a migration takes.
    monkeypatch.setattr("taskmanager.health.readiness._CACHE_SECONDS", 60.0)
    async with (
        temporary_database(database_url) as url,
        without_lifespan(create_app(make_settings(database_url=url))) as client,
    ):
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert "revision" in response.json()["detail"]
        await asyncio.to_thread(command.upgrade, alembic_config(url), "head")
        assert (await client.get("/readyz")).status_code == 503
        monkeypatch.setattr("taskmanager.health.readiness._CACHE_SECONDS", 0.05)
        await asyncio.sleep(0.1)
        assert (await client.get("/readyz")).status_code == 200


async def test_readiness_has_a_connection_of_its_own(database_url: str, alice: Person) -> None:
    app = create_app(make_settings(database_url=database_url, database_pool_size=2, database_pool_wait_seconds=0.1))
    async with started(app) as client, AsyncExitStack() as busy:
        for _ in range(2):
            await busy.enter_async_context(app.state.writes.transaction())
        headers = {"Authorization": f"Bearer {alice.token}"}
        assert (await client.post("/api/v1/projects", json={"name": "New"}, headers=headers)).status_code == 503
        assert (await client.get("/readyz")).status_code == 200


async def test_many_probes_at_once_are_all_answered(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}

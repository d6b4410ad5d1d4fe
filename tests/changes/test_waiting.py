"""Requests that wait for a change: long poll."""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import SECRET, Person, client_for
from tests.support.live_server import LiveServer
from tests.support.mirrors import Mirror

_SOON_SECONDS = 2.0


async def until_wait(app: FastAPI, count: int) -> None:
    """Return when so many wait."""
    while len(app.state.followers) < count:  # noqa: ASYNC110  # the product tells nobody
        await asyncio.sleep(0.01)


@pytest.fixture
async def mirror(alice: Person) -> Mirror:
    """A client of Alice's that knows everything."""
    mirror = Mirror(alice)
    await mirror.catch_up()
    return mirror


async def while_waiting(waiting: Mirror, deed: Awaitable[Any], seconds: int = 20) -> tuple[dict[str, Any], float]:
    """Do something while a client waits, and return the page that it gets and after how long from the deed."""
    asked = asyncio.create_task(waiting.turn_page(wait=seconds))
    await asyncio.sleep(0.2)
    assert not asked.done()
    started = time.monotonic()
    await deed
    page = await asked
    return page, time.monotonic() - started


async def test_a_change_ends_the_wait(alice: Person, mirror: Mirror) -> None:
    page, seconds = await while_waiting(mirror, alice.new_task(title="Dig"))
    assert [item["task"]["title"] for item in page["changes"]] == ["Dig"]
    assert seconds < _SOON_SECONDS


async def test_a_commit_of_another_process_ends_the_wait(
    alice: Person, mirror: Mirror, app: FastAPI, settings: Settings
) -> None:
    other = create_app(settings)
    async with other.router.lifespan_context(other):
        client = client_for(other, headers={"Authorization": f"Bearer {alice.token}"})
        page, seconds = await while_waiting(mirror, client.post("/api/v1/tasks", json={"title": "From there"}))
    assert [item["task"]["title"] for item in page["changes"]] == ["From there"]
    assert seconds < _SOON_SECONDS


async def test_being_added_and_removed_end_the_wait(alice: Person, bob: Person) -> None:
    garden = await alice.new_project("Garden")
    mirror = Mirror(bob)
    await mirror.catch_up()
    membership = {"username": "bob", "role": "viewer"}
    page, seconds = await while_waiting(mirror, alice.post(f"/projects/{garden}/members", membership))
    assert page["has_more"]
    assert seconds < _SOON_SECONDS
    await mirror.catch_up()
    page, seconds = await while_waiting(mirror, alice.delete(f"/projects/{garden}/members/{bob.id}"))
    assert [(item["entity"], item["reason"]) for item in page["changes"]] == [("project", "no_access")]
    assert seconds < _SOON_SECONDS


async def test_what_others_do_does_not(alice: Person, bob: Person, mirror: Mirror) -> None:
    asked = asyncio.create_task(mirror.turn_page(wait=1))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await bob.new_task()
    page = await asked
    assert page["changes"] == []
    assert time.monotonic() - started > 0.5


async def test_what_waits_behind_an_open_transaction_comes_when_that_ends(
    alice: Person, mirror: Mirror, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        await connection.execute("BEGIN; SELECT pg_current_xact_id()")
        await alice.new_task(title="Behind it")
        assert (await mirror.turn_page(wait=1))["changes"] == []
        page, _ = await while_waiting(mirror, connection.execute("COMMIT"))
        assert [item["task"]["title"] for item in page["changes"]] == ["Behind it"]
    finally:
        await connection.close()


async def test_who_waits_holds_no_place_and_no_connection(
    alice: Person, mirror: Mirror, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.followers, "limit_per_user", 30)
    asked = [asyncio.create_task(Mirror(alice).turn_page(since=mirror.cursor, wait=20)) for _ in range(30)]
    await until_wait(app, len(asked))
    await asyncio.sleep(0.2)
    assert app.state.metrics.in_flight == 0
    assert app.state.shared_connections.in_use == 0
    started = time.monotonic()
    await alice.new_task()
    for page in await asyncio.gather(*asked):
        assert len(page["changes"]) == 1
    assert time.monotonic() - started < _SOON_SECONDS * 2
    assert len(app.state.followers) == 0


async def test_one_more_than_may_wait_is_refused(
    alice: Person, mirror: Mirror, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.followers, "limit", 1)
    asked = asyncio.create_task(mirror.turn_page(wait=20))
    await until_wait(app, 1)
    refused = await alice.get("/changes", 503, params={"since": mirror.cursor, "wait": 5})
    assert refused.headers["Retry-After"]
    await alice.get("/changes", 200, params={"since": mirror.cursor})
    await alice.new_task()
    await asked


async def test_of_one_user_only_so_many_wait(
    alice: Person, bob: Person, mirror: Mirror, app: FastAPI, settings: Settings
) -> None:
    of_bob = Mirror(bob)
    await of_bob.catch_up()
    most = settings.max_streams_per_user
    asked = [asyncio.create_task(Mirror(alice).turn_page(since=mirror.cursor, wait=20)) for _ in range(most)]
    await until_wait(app, most)
    refused = await alice.get("/changes", 429, params={"since": mirror.cursor, "wait": 5})
    assert refused.headers["Retry-After"] == "5"
    others = asyncio.create_task(of_bob.turn_page(wait=20))
    await until_wait(app, most + 1)
    await asyncio.gather(alice.new_task(), bob.new_task())
    await asyncio.gather(*asked, others)
    assert not app.state.followers._of_user
    await alice.get("/changes", 200, params={"since": mirror.cursor, "wait": 5})


async def test_who_goes_away_waits_no_longer(alice: Person, mirror: Mirror, database_url: str, tmp_path: Path) -> None:
    server = LiveServer(
        {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "MAX_STREAMS_PER_USER": "2"}, tmp_path / "log"
    )
    await asyncio.to_thread(server.start)
    try:
        headers = {"Authorization": f"Bearer {alice.token}"}
        query = {"since": mirror.cursor or "", "wait": "30"}
        async with httpx.AsyncClient(base_url=f"{server.url}/api/v1", headers=headers) as client:
            for _ in range(6):
                with pytest.raises(httpx.ReadTimeout):
                    await client.get("/changes", params=query, timeout=0.3)
            await asyncio.sleep(0.2)
            with pytest.raises(httpx.ReadTimeout):  # it waits, and is not refused
                await client.get("/changes", params=query, timeout=0.3)
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_stop_ends_the_wait(alice: Person, mirror: Mirror, settings: Settings) -> None:
    other = create_app(settings)
    async with other.router.lifespan_context(other):
        client = client_for(other, headers={"Authorization": f"Bearer {alice.token}"}, timeout=30)
        parameters = {"since": mirror.cursor or "", "wait": "30"}
        asked = asyncio.create_task(client.get("/api/v1/changes", params=parameters))
        await until_wait(other, 1)
        started = time.monotonic()
        for tell in other.state.drain.on_start:
            tell()
        answer: httpx.Response = await asked
        assert answer.json()["changes"] == []
        assert time.monotonic() - started < _SOON_SECONDS
        # Nobody waits in a process that ends.
        started = time.monotonic()
        await client.get("/api/v1/changes", params=parameters)
        assert time.monotonic() - started < _SOON_SECONDS

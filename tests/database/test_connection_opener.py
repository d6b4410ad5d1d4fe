"""A new connection takes longer than a request may wait for one."""

import asyncio
import time
import uuid
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import make_url, text

from taskmanager.database import connection_opener
from taskmanager.database.connection_opener import ConnectionOpener
from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import SECRET, make_settings
from tests.support.applications import started
from tests.support.credentials import API
from tests.support.databases import refusing_url, silent_url, slow_way
from tests.support.live_server import LiveServer
from tests.support.sessions import open_session

SLOW_SECONDS = 1.3


def account() -> dict[str, str]:
    name = f"somebody_{uuid.uuid4().hex[:12]}"
    return {"username": name, "email": f"{name}@example.com", "password": "a long password"}


async def test_requests_get_their_503_in_time_and_are_served_when_the_connection_is_there(
    database: Database, database_url: str
) -> None:
    async with slow_way(database_url, SLOW_SECONDS) as way:
        app = create_app(make_settings(database_url=way.url))
        async with started(app) as client:
            statuses, slowest = [], 0.0
            async with asyncio.timeout(20):
                while 201 not in statuses:
                    began = time.monotonic()
                    statuses.append((await client.post(f"{API}/users", json=account())).status_code)
                    slowest = max(slowest, time.monotonic() - began)
            assert set(statuses) <= {201, 503}
            assert slowest < 3
            assert (await client.get("/readyz")).status_code == 503  # over a connection of its own
            async with asyncio.timeout(10):
                while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110  # asked for in intervals
                    await asyncio.sleep(0.2)


async def test_a_service_starts_and_serves_over_a_slow_way(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    async with slow_way(database_url, SLOW_SECONDS) as way:
        server = LiveServer({"DATABASE_URL": way.url, "SECRET_KEY": SECRET}, tmp_path / "log")
        try:
            await asyncio.to_thread(server.start)
            async with (
                asyncio.timeout(20),
                httpx.AsyncClient(base_url=f"{server.url}{API}", timeout=10, verify=False) as client,
            ):
                while (await client.post("/users", json=account())).status_code != 201:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.1)
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            server.kill()


async def test_there_are_never_more_connections_than_the_pool_may_have(database_url: str) -> None:
    async with slow_way(database_url, 1) as way:
        settings = make_settings(database_url=way.url, database_pool_size=2, database_pool_wait_seconds=0.1)
        database = Database(settings, connect_wait_seconds=0.2)

        async def ask() -> bool:
            try:
                async with open_session(database) as reader:
                    return bool((await reader.execute(text("SELECT true"))).scalar_one())
            except OSError:
                return False

        try:
            async with asyncio.timeout(10):
                while not all(await asyncio.gather(ask(), ask())):
                    pass
            assert way.opened == 2
        finally:
            await database.dispose()


def options(url: str) -> dict[str, str]:
    return {"dsn": make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)}


async def test_a_caller_that_is_cancelled_leaves_the_connection_to_the_next(database_url: str) -> None:
    opener = ConnectionOpener(asyncpg.connect, None)
    async with slow_way(database_url, 0.5) as way:
        first = asyncio.create_task(opener(**options(way.url)))
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.wait([first])
        connection = await opener(**options(way.url))
        assert way.opened == 1
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_a_connection_that_nobody_takes_is_closed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_opener, "_KEEP_SECONDS", 0.2)
    opener = ConnectionOpener(asyncpg.connect, 0.1)
    async with slow_way(database_url, 0.3) as way:
        with pytest.raises(TimeoutError):
            await opener(**options(way.url))
        await asyncio.sleep(1)
        assert not opener._left
        # The next caller begins anew.
        with pytest.raises(TimeoutError):
            await opener(**options(way.url))
        assert way.opened == 2
        await opener.close()


async def test_what_fails_in_the_background_is_forgotten(database_url: str) -> None:
    opener = ConnectionOpener(asyncpg.connect, 0.1)
    async with silent_url(database_url) as url:
        with pytest.raises(TimeoutError, match="longer than a request may wait"):
            await opener(**options(url), timeout=0.3)
        await asyncio.sleep(0.4)
        assert not opener._left
    with pytest.raises(OSError, match="Connect call failed"):
        await ConnectionOpener(asyncpg.connect, None)(**options(refusing_url(database_url)))


@pytest.mark.parametrize("kind", ["refusing", "silent"])
async def test_an_application_starts_without_its_database(database_url: str, kind: str) -> None:
    async with silent_url(database_url) as silent:
        url = silent if kind == "silent" else refusing_url(database_url)
        began = time.monotonic()
        async with started(create_app(make_settings(database_url=url))) as client:
            assert time.monotonic() - began < 3
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.post(f"{API}/users", json=account())).status_code == 503

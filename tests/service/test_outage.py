"""The database is held up, goes silent or goes away under load: what clients see, and how soon it is over."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import make_url

from tests.conftest import SECRET
from tests.support.credentials import API
from tests.support.live_server import LiveServer
from tests.support.outages import FragilePostgres, fragile_postgres
from tests.support.stalls import Stalls

pytestmark = pytest.mark.through_pooler
CLIENTS = 40  # eight times what the pool holds
_PATIENCE_SECONDS = 30


@dataclass
class Place:
    """A database that may be mistreated, and the service on it."""

    postgres: FragilePostgres
    dsn: str
    server: LiveServer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The service on a database of its own."""
    with fragile_postgres() as postgres:
        log = tmp_path_factory.mktemp("outage") / "server.log"
        server = LiveServer({"DATABASE_URL": postgres.service_url, "SECRET_KEY": SECRET}, log)
        server.start()
        dsn = make_url(postgres.url).set(drivername="postgresql").render_as_string(hide_password=False)
        yield Place(postgres, dsn, server)
        server.stop()


@dataclass
class Seen:
    """What clients saw; no time is counted for which the machine was busy otherwise."""

    stalls: Stalls
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    first_success_at: float | None = None

    def forget_successes(self) -> None:
        """Note the next success as the first, and count anew."""
        self.first_success_at = None
        self.statuses.clear()


async def _use(client: httpx.AsyncClient, seen: Seen, until: asyncio.Event) -> None:
    while not until.is_set():
        started = time.monotonic()
        if random.random() < 0.5:
            response = await client.get(f"{API}/tasks?limit=5&count=none")
        else:
            response = await client.post(f"{API}/tasks", json={"title": "Through thick and thin"})
        took = seen.stalls.seconds(started)
        seen.slowest_seconds = max(seen.slowest_seconds, took)
        seen.statuses[response.status_code] += 1
        if response.status_code < 300:
            # A request sent before it was over may have been answered by chance.
            seen.first_success_at = seen.first_success_at or time.monotonic()
        elif (
            response.status_code != 503
            or response.headers["Content-Type"] != "application/problem+json"
            or response.headers["Retry-After"] != "1"
        ):
            seen.wrong.append(f"{response.status_code} {response.headers} {response.text}")
        await asyncio.sleep(0.05)


async def _watch_liveness(client: httpx.AsyncClient, seen: Seen, until: asyncio.Event) -> None:
    while not until.is_set():
        started = time.monotonic()
        response = await client.get("/livez")
        took = seen.stalls.seconds(started)
        if response.status_code != 200 or took > 1:
            seen.wrong.append(f"/livez: {response.status_code} after {took:.1f} s")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def under_load(place: Place) -> AsyncIterator[Seen]:
    """Have many clients read and write while the block runs, and the probe of liveness looked at."""
    seen, done = Seen(Stalls(place.server.pid)), asyncio.Event()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(seen.stalls)
        # One each: the connections of a shared one are not handed out in turn.
        client, prober, *others = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=place.server.url, timeout=_PATIENCE_SECONDS, verify=False)
            )
            for _ in range(CLIENTS + 2)
        ]
        name = f"outage_{random.getrandbits(32)}"
        account = {"username": name, "email": f"{name}@example.com", "password": "through thick and thin"}
        assert (await client.post(f"{API}/users", json=account)).status_code == 201
        token = (await client.post(f"{API}/token", data=account)).json()["access_token"]
        async with asyncio.TaskGroup() as group:
            group.create_task(_watch_liveness(prober, seen, done))
            for other in others:
                other.headers["Authorization"] = f"Bearer {token}"
                group.create_task(_use(other, seen, done))
            await asyncio.sleep(0.5)
            yield seen
            done.set()
    print(f"slowest answer {seen.slowest_seconds:.2f} s")
    assert seen.wrong == []
    assert seen.slowest_seconds < 5


async def until_ready(place: Place, seen: Seen, *, ready: bool, seconds: float) -> None:
    """Wait until `/readyz` says so, which has to be within so many seconds."""
    begun = time.monotonic()
    async with (
        asyncio.timeout(_PATIENCE_SECONDS),
        httpx.AsyncClient(base_url=place.server.url, timeout=_PATIENCE_SECONDS, verify=False) as client,
    ):
        while (await client.get("/readyz")).is_success != ready:  # noqa: ASYNC110  # this is what a balancer does
            await asyncio.sleep(0.1)
    assert seen.stalls.seconds(begun) < seconds


async def assert_healed(seen: Seen, place: Place) -> None:
    """Check that requests succeed within two seconds from now, and none is refused any more a few seconds later."""
    seen.forget_successes()
    now = time.monotonic()
    await until_ready(place, seen, ready=True, seconds=3)
    while seen.first_success_at is None and seen.stalls.seconds(now) < 4:  # noqa: ASYNC110  # noted by others
        await asyncio.sleep(0.02)
    assert seen.first_success_at is not None
    took = seen.stalls.seconds(now, seen.first_success_at)
    print(f"first success after {took:.2f} s")
    assert took < 2
    for _ in range(5):
        seen.statuses.clear()
        await asyncio.sleep(1)
        if set(seen.statuses) == {200, 201}:
            return
    raise AssertionError(f"still refused: {seen.statuses}")


@pytest.mark.takes_long
async def test_a_database_that_goes_silent(place: Place) -> None:
    async with under_load(place) as seen:
        place.postgres.enter("frozen")
        try:
            await until_ready(place, seen, ready=False, seconds=5)
            await asyncio.sleep(5)
            seen.forget_successes()
            await asyncio.sleep(2)
            assert set(seen.statuses) == {503}
        finally:
            place.postgres.enter("up")
        await assert_healed(seen, place)


async def test_a_database_that_goes_away(place: Place) -> None:
    async with under_load(place) as seen:
        await asyncio.to_thread(place.postgres.enter, "down")
        await until_ready(place, seen, ready=False, seconds=5)
        seen.forget_successes()
        await asyncio.sleep(2)
        assert set(seen.statuses) == {503}
        await asyncio.to_thread(place.postgres.enter, "up")
        await assert_healed(seen, place)


async def test_a_table_that_is_locked_until_the_pool_is_exhausted(place: Place) -> None:
    async with under_load(place) as seen:
        connection = await asyncpg.connect(place.dsn)
        async with connection.transaction():
            await connection.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(15):
                while seen.statuses[503] <= CLIENTS:  # noqa: ASYNC110  # a count, not an event
                    await asyncio.sleep(0.1)
            # Other things go on, and so does the balancer's probe.
            await until_ready(place, seen, ready=True, seconds=1)
        await connection.close()
        await assert_healed(seen, place)


async def test_a_stop_while_the_database_is_silent(place: Place, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": place.postgres.service_url, "SECRET_KEY": SECRET}
    server = LiveServer(environment, tmp_path / "log")
    server.start()
    place.postgres.enter("frozen")
    try:
        async with Stalls(server.pid) as stalls:
            started = time.monotonic()
            assert await asyncio.to_thread(server.stop, seconds=60) == 0
            assert stalls.seconds(started) < 10
    finally:
        place.postgres.enter("up")

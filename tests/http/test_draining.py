"""What happens between SIGTERM and the end: others learn of it first, open requests are finished, then it stops."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import SECRET, Person
from tests.support.credentials import API, bearer
from tests.support.live_server import LiveServer
from tests.support.rolling import restart_in_turn
from tests.support.sessions import open_session
from tests.support.stalls import Stalls

Start = Callable[..., LiveServer]
# Long enough for all that is done meanwhile, on a slow machine.
DRAIN_SECONDS = 5


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start a service that drains."""
    servers: list[LiveServer] = []

    def make(workers: int, *, drain_seconds: float) -> LiveServer:
        environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "DRAIN_SECONDS": str(drain_seconds)}
        server = LiveServer(environment, tmp_path / "log", workers=workers)
        servers.append(server)
        server.start()
        # It is ready as soon as one worker is.
        deadline = time.monotonic() + 30
        while server.log.read_text().count("Application startup complete") < workers:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return server

    yield make
    for server in servers:
        server.kill()


async def is_draining(url: str) -> bool:
    """Ask over a connection of its own, which any worker may take."""
    async with httpx.AsyncClient(base_url=url, verify=False) as client:
        response = await client.get("/readyz")
    if response.status_code == 200:
        return False
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "1"
    assert response.json()["detail"] == "Not ready: draining."
    # One that was let in just before the signal may be told so and yet keep its connection.
    return bool(response.headers.get("Connection") == "close")


async def until_draining(url: str) -> None:
    """Wait until every worker says so: ten answers in a row."""
    async with asyncio.timeout(20):
        while not all([await is_draining(url) for _ in range(10)]):
            pass


async def ended(server: LiveServer) -> bool:
    return await asyncio.to_thread(server.wait, 30) == 0


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.fixture
async def connection() -> AsyncIterator[Callable[[LiveServer], httpx.AsyncClient]]:
    """Open clients, each with a connection that it keeps."""
    clients: list[httpx.AsyncClient] = []

    def make(server: LiveServer) -> httpx.AsyncClient:
        clients.append(httpx.AsyncClient(base_url=server.url, verify=False))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_serves_on_while_it_drains_and_then_ends(
    start: Start, connection: Callable[[LiveServer], httpx.AsyncClient], alice: Person, workers: int
) -> None:
    server = start(workers, drain_seconds=DRAIN_SECONDS)
    kept = connection(server)
    kept.headers.update(bearer(alice.token))
    assert "Connection" not in (await kept.get("/livez")).headers
    asked = time.monotonic()
    server.send_signal(signal.SIGTERM)
    await until_draining(server.url)
    # One who knows nothing of it is served all the same, old connection or new, and asked to leave.
    for client in (kept, connection(server)):
        answer = await client.get(f"{API}/tasks", headers=bearer(alice.token))
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert (await client.get("/livez")).status_code == 200
    refused = await kept.get("/nothing", headers={"Origin": "http://localhost:3000"})
    assert (refused.status_code, refused.headers["Connection"]) == (404, "close")
    assert time.monotonic() - asked < DRAIN_SECONDS
    async with Stalls(server.pid) as stalls:
        assert await ended(server)
        assert time.monotonic() - asked >= DRAIN_SECONDS
        assert stalls.seconds(asked) < DRAIN_SECONDS + 2
    with pytest.raises(httpx.ConnectError):
        await kept.get("/livez")
    assert server.log.read_text().count('"event": "draining"') == workers
    assert "Traceback" not in server.log.read_text()


async def test_a_request_that_is_open_at_the_end_is_finished(start: Start, alice: Person) -> None:
    server = start(2, drain_seconds=0.5)
    body = json.dumps({"title": "Sent slowly"}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = (
        f"POST {API}/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[:5])
    await writer.drain()
    server.send_signal(signal.SIGTERM)
    # When the workers take no connections any more, their parent must not hold them in a queue either.
    async with asyncio.timeout(10):
        while True:
            try:
                _, probe = await asyncio.open_connection("127.0.0.1", server.port)
            except ConnectionRefusedError:
                break
            probe.close()
            await asyncio.sleep(0.05)
    assert server.is_running
    writer.write(body[5:])
    assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
    await reader.read()
    writer.close()
    assert await ended(server)


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
async def test_a_second_signal_ends_the_drain(start: Start, number: signal.Signals, workers: int) -> None:
    server = start(workers, drain_seconds=60)
    server.send_signal(signal.SIGTERM)
    # The same stop, arriving twice, as from a supervisor that signals all processes of a service.
    await asyncio.sleep(0.7)
    server.send_signal(signal.SIGTERM)
    await asyncio.sleep(2.5)
    await until_draining(server.url)
    assert await is_draining(server.url)
    async with Stalls(server.pid) as stalls:
        asked = time.monotonic()
        server.send_signal(number)
        assert await ended(server)
        assert stalls.seconds(asked) < 3


async def test_a_hangup_puts_new_workers_in_the_place_of_the_old(start: Start, alice: Person) -> None:
    server = start(2, drain_seconds=0)
    old = server.worker_pids
    assert len(old) == 2
    server.send_signal(signal.SIGHUP)
    async with asyncio.timeout(20), httpx.AsyncClient(base_url=server.url, verify=False) as client:
        while not set(server.worker_pids).isdisjoint(old) or len(server.worker_pids) < 2:
            # One after the other, so there is always somebody.
            answer = await client.get(f"{API}/tasks", headers={**bearer(alice.token), "Connection": "close"})
            assert answer.status_code == 200
            await asyncio.sleep(0.05)
    # Forked, like the old ones: what all need is not imported again.
    assert not any("spawn_main" in command_line(pid) for pid in server.worker_pids)
    # They know their signals too.
    assert await asyncio.to_thread(server.stop) == 0
    assert "Traceback" not in server.log.read_text()


async def test_without_a_drain_it_ends_at_once(start: Start) -> None:
    server = start(1, drain_seconds=0)
    async with Stalls(server.pid) as stalls:
        asked = time.monotonic()
        assert await asyncio.to_thread(server.stop) == 0
        assert stalls.seconds(asked) < 2
    assert "draining" not in server.log.read_text()


async def test_restarts_in_turn_fail_no_request(
    alice: Person, database: Database, database_url: str, tmp_path: Path
) -> None:
    outcome = await restart_in_turn(database_url, alice.token, tmp_path, restarts=2, pause_seconds=0.1)
    assert outcome.failures == []
    assert outcome.restarts == 2
    assert outcome.statuses.total() > 100
    async with open_session(database) as reader:
        assert set((await reader.execute(text("SELECT id FROM tasks"))).scalars()) == outcome.created

"""A client that does not read costs nobody anything, and is cut; over sockets, as only there it matters."""

import asyncio
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import SECRET, Person
from tests.support.credentials import bearer
from tests.support.live_server import LiveServer
from tests.support.streams import OnSocket

LASTING = {"taskmanager.stream.feed.LONGEST_SECONDS": 3_600.0}
# Soon, instead of after 20 seconds.
SOON = {"taskmanager.stream.upkeep._MOST_WRITE_SECONDS": 4.0}


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[LiveServer]:
    """A process of its own."""
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET}
    server = LiveServer(environment, tmp_path / "log", constants={**LASTING, **SOON})
    server.start()
    yield server
    server.kill()


def stopped_reader(server: LiveServer, person: Person) -> socket.socket:
    """Open a stream, and read nothing of it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    reader.connect((urlsplit(server.url).hostname, server.port))
    reader.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\n\r\n".encode())
    return reader


def is_cut(reader: socket.socket) -> bool:
    """Return whether the server has cut the connection, whatever has not been read of it."""
    poll = select.poll()
    poll.register(reader, select.POLLERR | select.POLLHUP)
    return bool(poll.poll(0))


async def write_much(person: Person, times: int, size: int) -> None:
    """Make events of 8 KB, so many each time."""
    text = "\N{HERB}" * 2_000
    for _ in range(times):
        await person.post("/tasks/bulk", {"tasks": [{"title": "Large", "description": text}] * size})


async def test_a_stopped_reader_is_cut(server: LiveServer, alice: Person) -> None:
    listener = OnSocket()
    async with listener.open(server.url, bearer(alice.token)):
        await listener.named("ready")
        with stopped_reader(server, alice) as reader:
            assert await asyncio.to_thread(reader.recv, 15) == b"HTTP/1.1 200 OK"
            async with asyncio.timeout(40):
                # More than the system takes for it, but never more at once than may be queued.
                for written in range(10, 801, 10):
                    await write_much(alice, 1, 10)
                    while len(listener.events) < written:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                while not is_cut(reader):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    # The other one has missed nothing.
    ids = [event["id"] for event in listener.events]
    assert ids == sorted(set(ids))
    assert len(ids) == 800


async def test_a_stopped_reader_does_not_hold_up_a_stop(server: LiveServer, alice: Person) -> None:
    with stopped_reader(server, alice):
        await write_much(alice, 4, 100)
        started = time.monotonic()
        await asyncio.to_thread(server.stop)
        assert time.monotonic() - started < 5

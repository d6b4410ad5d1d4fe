"""What streams cost: thousands that are idle, and a thousand that hear of each commit.

`pytest -s tests/long/test_streams.py` on a quiet machine; STREAMS_IDLE (10000) and STREAMS_BUSY (1000) choose fewer.
Figures are printed.
"""

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import SECRET, Person, SignUp
from tests.long.test_long_polls import read, resources
from tests.support.live_server import LiveServer
from tests.support.raw_clients import percentile

IDLE = int(os.environ.get("STREAMS_IDLE", "10000"))
BUSY = int(os.environ.get("STREAMS_BUSY", "1000"))
SECONDS = int(os.environ.get("STREAMS_SECONDS", "20"))
PEOPLE = 20
LASTING = {"taskmanager.stream.feed.LONGEST_SECONDS": 36_000.0}
_AT_ONCE = 50


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process open as many files as it may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Ear(asyncio.Protocol):
    """A client that notes when an event came, and costs next to nothing otherwise."""

    def __init__(self, person: Person) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.heard: list[float] = []
        self.blocks = 0
        self.over = asyncio.Event()
        self._person = person

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        head = f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._person.token}\r\n\r\n"
        transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        """Note what came."""
        self.blocks += data.count(b"\n\n")
        if b"event: ready" in data and not self.ready.done():
            self.ready.set_result(None)
        self.heard += [time.perf_counter()] * data.count(b"event: task.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.over.set()
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("refused"))


async def open_ears(url: str, people: list[Person], count: int) -> list[Ear]:
    """Open streams, and return them once all are ready."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    loop = asyncio.get_running_loop()
    ears: list[Ear] = []
    while len(ears) < count:
        part = [Ear(people[(len(ears) + n) % len(people)]) for n in range(min(_AT_ONCE, count - len(ears)))]
        for ear in part:
            await loop.create_connection(lambda ear=ear: ear, address.hostname, address.port)  # type: ignore[misc]
        await asyncio.gather(*(ear.ready for ear in part))
        ears += part
    return ears


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[LiveServer]:
    """One process, on this worker's database."""
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "MAX_STREAMS_PER_USER": "10000"}
    server = LiveServer(environment, tmp_path / "log", constants=LASTING)
    server.start()
    yield server
    server.kill()


async def read_elsewhere(url: str, person: Person, seconds: float) -> list[float]:
    """Read in a process of its own, which the streams of this one do not hold up."""
    person = replace(person, client=None)  # type: ignore[arg-type]  # it cannot be sent to another process
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, _read, url, person, seconds)


def _read(url: str, person: Person, seconds: float) -> list[float]:
    return asyncio.run(read(url, person, seconds))


async def test_idle_streams(sign_up: SignUp, server: LiveServer) -> None:
    people = [await sign_up(f"person{n}") for n in range(PEOPLE)]
    with many_files():
        memory, _ = resources(server.pid)
        started = time.perf_counter()
        ears = await open_ears(server.url, people, IDLE)
        opened = time.perf_counter() - started
        full, before = resources(server.pid)
        await asyncio.sleep(SECONDS)
        full, after = resources(server.pid)
        beside = await read_elsewhere(server.url, people[0], 5)
        stopping = time.perf_counter()
        await asyncio.to_thread(server.stop)
        stopped = time.perf_counter() - stopping
        await asyncio.gather(*(ear.over.wait() for ear in ears))
    each = (full - memory) * 1024 / IDLE
    print(
        f"\n{IDLE} idle streams: {each:.1f} KiB each, {(after - before) / SECONDS * 100:.1f} % of a core; opened in "
        f"{opened:.1f} s; p99 of GET /tasks beside them {percentile(beside, 99):.1f} ms; the stop took {stopped:.2f} s"
    )
    assert each <= 50
    assert all(ear.blocks > 3 for ear in ears) or SECONDS < 16


async def test_a_commit_reaches_many(sign_up: SignUp, server: LiveServer) -> None:
    people = [await sign_up(f"person{n}") for n in range(PEOPLE)]
    project = await people[0].new_project("Shared")
    for person in people[1:]:
        await people[0].post(f"/projects/{project}/members", {"username": person.username, "role": "editor"})
    times: list[float] = []
    with many_files():
        ears = await open_ears(server.url, people, BUSY)
        alone = await read_elsewhere(server.url, people[0], SECONDS)
        reading = asyncio.create_task(read_elsewhere(server.url, people[0], SECONDS))
        deadline = time.perf_counter() + SECONDS
        rounds = 0
        while time.perf_counter() < deadline:
            for ear in ears:
                ear.heard.clear()
            await people[rounds % PEOPLE].new_task(project)
            committed = time.perf_counter()
            rounds += 1
            async with asyncio.timeout(10):
                while not all(ear.heard for ear in ears):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            times += [ear.heard[0] - committed for ear in ears]
            await asyncio.sleep(0.2)
        beside = await reading
        stopping = time.perf_counter()
        await asyncio.to_thread(server.stop)
        stopped = time.perf_counter() - stopping
        await asyncio.gather(*(ear.over.wait() for ear in ears))
    of_readers = [percentile(some, part) for some in (alone, beside) for part in (50, 99)]
    print(
        f"\n{rounds} commits to {BUSY} streams: {percentile(times, 50):.0f} ms in the middle, "
        f"p99 {percentile(times, 99):.0f} ms; GET /tasks beside quiet ones and beside these, median and p99: "
        f"{', '.join(f'{one:.1f}' for one in of_readers)} ms; "
        f"the stop took {stopped:.2f} s"
    )
    assert percentile(times, 99) < 250
    assert stopped < 2

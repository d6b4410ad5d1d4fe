"""A thousand clients wait for changes at one process: what they cost, and what they cost others.

Takes two minutes and a quiet machine: `pytest -s tests/long/test_long_polls.py`. Figures are printed.
"""

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.conftest import SECRET, Person, SignUp
from tests.support.credentials import API
from tests.support.live_server import LiveServer
from tests.support.mirrors import Mirror
from tests.support.raw_clients import Connection, percentile

PEOPLE = 50
POLLS_OF_EACH = 20
SECONDS = 10
READERS = 4


def resources(pid: int) -> tuple[float, float]:
    """Return a process's resident memory in MiB, and its seconds of CPU."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asking(person: Person, path: str) -> bytes:
    """Return a GET request."""
    return f"GET {API}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\n\r\n".encode()


async def poll(connection: Connection, person: Person, cursor: str, answered: list[float]) -> None:
    """Wait until there is a change, again and again, and note when it came."""
    while True:
        await connection.send(asking(person, f"/changes?wait=30&since={cursor}"))
        answered.append(time.perf_counter())


async def read(url: str, person: Person, seconds: float) -> list[float]:
    """Read a list again and again, and return how long each time took."""
    times: list[float] = []

    async def one() -> None:
        connection = Connection(url)
        await connection.open()
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            assert await connection.send(asking(person, "/tasks")) == 200
            times.append(time.perf_counter() - begun)
            await asyncio.sleep(0.01)
        await connection.close()

    await asyncio.gather(*(one() for _ in range(READERS)))
    return times


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> LiveServer:
    """One process, on this worker's database."""
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "MAX_STREAMS_PER_USER": "1000"}
    return LiveServer(environment, tmp_path / "log")


async def test_a_thousand_wait(sign_up: SignUp, server: LiveServer) -> None:
    people = [await sign_up(f"person{n}") for n in range(PEOPLE)]
    cursors = {}
    for person in people:
        mirror = Mirror(person)
        await mirror.catch_up()
        cursors[person.id] = mirror.cursor or ""
    server.start()
    polls: list[asyncio.Task[None]] = []
    connections: list[Connection] = []
    try:
        alone = await read(server.url, people[0], SECONDS)
        memory, _ = resources(server.pid)
        answered: list[float] = []
        for person in people:
            for _ in range(POLLS_OF_EACH):
                connection = Connection(server.url)
                await connection.open()
                connections.append(connection)
                polls.append(asyncio.create_task(poll(connection, person, cursors[person.id], answered)))
        await asyncio.sleep(3)
        waiting_memory, before = resources(server.pid)
        await asyncio.sleep(SECONDS)
        _, after = resources(server.pid)
        beside = await read(server.url, people[0], SECONDS)
        started = time.perf_counter()
        answered.clear()
        await people[1].new_task(title="News")
        committed = time.perf_counter() - started
        while len(answered) < POLLS_OF_EACH:  # noqa: ASYNC110  # each is another task
            await asyncio.sleep(0.001)
        heard = max(answered[:POLLS_OF_EACH]) - started
    finally:
        for task in polls:
            task.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
        await asyncio.gather(*(connection.close() for connection in connections), return_exceptions=True)
        stopping = time.perf_counter()
        server.stop()
        stopped = time.perf_counter() - stopping
    print(
        f"\n{len(polls)} waiting: {(waiting_memory - memory) * 1024 / len(polls):.0f} KiB each,"
        f" {(after - before) / SECONDS * 100:.1f} % of a core while nothing happens;"
        f"\np99 of GET /tasks {percentile(alone, 99):.1f} ms alone, {percentile(beside, 99):.1f} ms beside them;"
        f"\nthe last of {POLLS_OF_EACH} heard of a commit {(heard - committed) * 1000:.0f} ms after it; "
        f"the stop took {stopped:.2f} s"
    )
    assert (waiting_memory - memory) * 1024 / len(polls) < 100
    assert heard - committed < 0.5

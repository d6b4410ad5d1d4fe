"""The service while whoever reads its log stands still: standard output and standard error are one full pipe."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from taskmanager.telemetry.log_writer import LAST_SECONDS
from tests.conftest import METRICS_TOKEN, SECRET
from tests.support.live_server import LiveServer

# Ended by the signal itself, or after it.
_ENDED_BY_SIGTERM = {0, -signal.SIGTERM}
# What a line may have at most, nearly.
_LONG = "x" * 3_000
_REQUESTS_AT_ONCE = 50


class Reader:
    """Reads the log of a server when it is asked to, and not before."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.text = b""

    def read(self) -> bytes:
        """Return all that has come so far."""
        try:
            while piece := os.read(self._descriptor, 65_536):
                self.text += piece
        except BlockingIOError:
            pass
        return self.text

    async def read_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)
                self.read()

    def lines(self) -> list[dict[str, Any]]:
        """Return what has been read; each line is whole."""
        return [json.loads(line) for line in self.text.decode().splitlines()]

    def missing(self) -> int:
        """Return how many lines are missing, by those that stand there for them."""
        return sum(int(lines) for lines in re.findall(rb'{"lines": (\d+), "event": "log lines dropped"', self.text))

    def close(self) -> None:
        os.close(self._descriptor)


class Service:
    """A running server and the reader of its log, both ends of one pipe."""

    def __init__(self, server: LiveServer, reader: Reader) -> None:
        self.server = server
        self.reader = reader
        self.asked = 0
        self.scraped = 0

    async def ask(self, count: int) -> None:
        """Send this many numbered requests with long paths over one connection, and read the answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        with closing(writer):
            for at in range(0, count, _REQUESTS_AT_ONCE):
                at_once = min(_REQUESTS_AT_ONCE, count - at)
                for _ in range(at_once):
                    writer.write(f"GET /nope/{self.asked}/{_LONG} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    self.asked += 1
                for _ in range(at_once):
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                    assert head.startswith(b"HTTP/1.1 404 ")
                    length = re.search(rb"content-length: (\d+)", head)
                    assert length is not None
                    await reader.readexactly(int(length[1]))
        await writer.wait_closed()

    async def dropped(self) -> int:
        """Return what the metrics say."""
        bearer = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        async with httpx.AsyncClient(base_url=self.server.url, headers=bearer, verify=False) as client:
            page = (await client.get("/metrics")).text
        self.scraped += 1
        found = re.search(r"^taskmanager_log_lines_dropped_total (\S+)$", page, re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    async def fill(self) -> None:
        """Send requests until their lines fit nowhere any more."""
        async with asyncio.timeout(60):
            await self.ask(500)
            while await self.dropped() == 0:
                await self.ask(500)


@asynccontextmanager
async def serving(database_url: str, folder: Path, workers: int = 1) -> AsyncIterator[Service]:
    reader = Reader(folder / "log")
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "METRICS_TOKEN": METRICS_TOKEN}
    server = LiveServer(environment, folder / "log", workers=workers)
    try:
        await asyncio.to_thread(server.start)
        await reader.read_until(lambda: reader.text.count(b"Application startup complete") == workers)
        yield Service(server, reader)
    finally:
        reader.close()  # first, so that nothing can wait for it
        server.kill()


def resident_bytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def test_requests_go_on_and_what_is_missing_is_told(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, tmp_path) as service:
        server, reader = service.server, service.reader
        await service.fill()
        memory = resident_bytes(server.pid)
        await service.ask(3_000)
        assert resident_bytes(server.pid) - memory < 3 * 1024 * 1024  # of lines alone there were 9 MiB
        lost = await service.dropped()
        assert lost > 3_000

        await reader.read_until(lambda: reader.missing() >= lost)
        await service.ask(1)
        last = b'"/nope/%d/' % (service.asked - 1)
        await reader.read_until(lambda: last in reader.text and reader.text.endswith(b"\n"))
        numbers, scrapes, gap = [-1], 0, False
        for line in reader.lines():
            if line["event"] == "log lines dropped":
                gap = True
                assert line.keys() == {"lines", "event", "level", "logger", "timestamp"}
            elif line.get("path") == "/metrics":
                scrapes += 1
            elif line.get("path", "").startswith("/nope/"):
                number = int(line["path"].split("/")[2])
                assert number == numbers[-1] + 1 or (gap and number > numbers[-1])
                numbers.append(number)
                gap = False
        assert len(numbers) - 1 + scrapes + reader.missing() == service.asked + service.scraped
        assert await service.dropped() == reader.missing()
        assert await asyncio.to_thread(server.stop) in _ENDED_BY_SIGTERM


@pytest.mark.parametrize("workers", [1, 2])
async def test_probes_the_api_and_the_end_do_not_wait(
    database_url: str, database: Database, tmp_path: Path, workers: int
) -> None:
    async with serving(database_url, tmp_path, workers) as service:
        await service.fill()
        # A connection of its own for each, which any worker may take.
        began = time.monotonic()
        for number in range(10):
            async with httpx.AsyncClient(base_url=service.server.url, verify=False, timeout=3) as client:
                assert (await client.get("/livez")).status_code == 200
                assert (await client.get("/readyz")).status_code == 200
                person = {
                    "username": f"person{number}",
                    "email": f"{number}@example.com",
                    "password": "a long password",
                }
                assert (await client.post("/api/v1/users", json=person)).status_code == 201
        assert time.monotonic() - began < 20

        began = time.monotonic()
        code = await asyncio.to_thread(service.server.stop, signal.SIGTERM, 15)
        assert code in _ENDED_BY_SIGTERM
        assert time.monotonic() - began < LAST_SECONDS + 5


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_last_lines_of_a_reader_that_reads_are_all_there(
    database_url: str, tmp_path: Path, workers: int
) -> None:
    async with serving(database_url, tmp_path, workers) as service:
        await service.ask(10)
        service.server.send_signal(signal.SIGTERM)
        stopped = asyncio.create_task(asyncio.to_thread(service.server.wait))
        await service.reader.read_until(stopped.done)
        assert await stopped in _ENDED_BY_SIGTERM
        events = [line["event"] for line in service.reader.lines()]
        assert events.count("Application shutdown complete.") == workers
        assert len([event for event in events if event.startswith("Finished server process")]) == workers
        paths = [line["path"] for line in service.reader.lines() if line["event"] == "request"]
        assert [path for path in paths if "nope" in path] == [f"/nope/{number}/{_LONG}" for number in range(10)]

"""The numbers of several workers are added up on one page."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import METRICS_TOKEN, SECRET, make_settings
from tests.support.live_server import LiveServer
from tests.support.metrics_pages import BEARER, Samples, samples_in, value


async def _request(url: str, path: str, **options: Any) -> httpx.Response:
    # Over a connection of its own, so that any of the processes may answer.
    async with httpx.AsyncClient(base_url=url, verify=False) as client:
        return await client.get(path, **options)


async def _scraped(url: str) -> Samples:
    return samples_in((await _request(url, "/metrics", headers=BEARER)).text)


async def _until(url: str, name: str, wanted: float, **labels: str) -> Samples:
    async with asyncio.timeout(20):
        while True:
            try:
                samples = await _scraped(url)
                if value(samples, name, **labels) == wanted:
                    return samples
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


async def test_several_processes_are_counted_as_one(database_url: str, tmp_path: Path) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "METRICS_TOKEN": METRICS_TOKEN}
    environment |= {"DATABASE_POOL_SIZE": "3", "TMPDIR": str(temporary)}
    server = LiveServer(environment, tmp_path / "log", workers=2)
    server.start()
    try:
        (folder,) = temporary.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        await _until(server.url, "database_pool_size", 6)
        answers = await asyncio.gather(*(_request(server.url, "/api/v1/tasks") for _ in range(40)))
        assert {answer.status_code for answer in answers} == {401}
        refused = {"method": "GET", "route": "/api/v1/tasks", "status": "401"}
        # The other process may tell a second later.
        await _until(server.url, "http_requests_total", 40, **refused)
        assert len({file.name for file in folder.glob("histogram_*.db")}) == 2

        victim = server.worker_pids[0]
        os.kill(victim, signal.SIGKILL)
        # One is left, whose metrics are those of both but for what the dead one was doing; then another comes.
        samples = await _until(server.url, "database_pool_size", 3)
        assert value(samples, "http_requests_total", **refused) == 40
        assert not list(folder.glob(f"gauge_live*_{victim}.db"))
        samples = await _until(server.url, "database_pool_size", 6)
        assert value(samples, "http_requests_total", **refused) == 40
    finally:
        code = server.stop()
    assert code == 0
    assert list(temporary.iterdir()) == []
    # What several processes write to one log stays whole.
    for line in server.log.read_text().splitlines():
        assert line.startswith("{"), line
        assert line.endswith("}"), line


async def test_a_folder_that_the_operator_names_is_used_and_left(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "to" / "come"
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "METRICS_TOKEN": METRICS_TOKEN}
    server = LiveServer({**environment, "PROMETHEUS_MULTIPROC_DIR": str(folder)}, tmp_path / "log")
    server.start()
    try:
        samples = await _until(server.url, "database_pool_size", make_settings().database_pool_size)
        assert value(samples, "http_requests_in_flight") == 1
        for name in ("counter", "histogram", "gauge_livesum"):
            (folder / f"{name}_4194305.db").touch()  # as a process that starts leaves them for a moment
        assert value(await _scraped(server.url), "http_requests_in_flight") == 1
    finally:
        server.stop()
    assert list(folder.glob("counter_*.db"))
    # It does nothing any more, so it has no gauges.
    assert not list(folder.glob("gauge_live*.db"))

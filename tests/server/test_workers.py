"""The serving processes are killed one by one, in each state of the database, and the service is what it was."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from tests.conftest import SECRET
from tests.support.live_server import LiveServer
from tests.support.outages import FragilePostgres, fragile_postgres
from tests.support.ports import free_port
from tests.support.processes import is_alive, is_free
from tests.support.server import execute_on

STATES = ("up", "down", "frozen")
Start = Callable[..., LiveServer]
_PATIENCE_SECONDS = 40


@pytest.fixture(scope="module")
def postgres() -> Iterator[FragilePostgres]:
    with fragile_postgres() as server:
        yield server


@pytest.fixture
def start(postgres: FragilePostgres, tmp_path: Path) -> Iterator[Start]:
    """Start a service of so many workers, on a database that is well again after the test."""
    servers: list[LiveServer] = []

    def make(
        workers: int, *, ready: bool = True, constants: Mapping[str, Any] | None = None, **settings: str
    ) -> LiveServer:
        environment = {"DATABASE_URL": postgres.url, "SECRET_KEY": SECRET, **settings}
        log = tmp_path / f"log{len(servers)}"
        server = LiveServer(environment, log, workers=workers, constants=constants)
        servers.append(server)
        if ready:
            server.start()
            until(lambda: server.log.read_text().count("Application startup complete") == workers)
        else:
            server.launch()
        return server

    yield make
    postgres.enter("up")
    for server in servers:
        server.kill()


def until(condition: Callable[[], object], seconds: float = _PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def get(server: LiveServer, path: str) -> httpx.Response:
    """Ask over a connection of its own, which any worker may take."""
    return httpx.get(f"{server.url}{path}", timeout=10, verify=False)


def register(server: LiveServer) -> int:
    """Make a request that needs the database, and return the status of the answer."""
    name = f"somebody_{uuid.uuid4().hex[:12]}"
    account = {"username": name, "email": f"{name}@example.com", "password": "a long password"}
    return httpx.post(f"{server.url}/api/v1/users", json=account, timeout=10, verify=False).status_code


def lines(server: LiveServer, event: str) -> list[dict[str, Any]]:
    """Return the lines of the log that tell of an event."""
    written = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in written if line["event"] == event]


def assert_serves(server: LiveServer) -> None:
    """Check that whichever worker takes a connection answers from the database."""
    until(lambda: all(get(server, "/readyz").status_code == 200 for _ in range(10)))
    assert [register(server) for _ in range(6)] == [201] * 6


def assert_unavailable(server: LiveServer) -> None:
    """Check that all workers live, and say that they have no database."""
    # What `/readyz` says may be a second old.
    until(lambda: all(get(server, "/readyz").status_code == 503 for _ in range(10)), 10)
    for _ in range(6):
        assert get(server, "/livez").status_code == 200
        assert get(server, "/readyz").json()["detail"].startswith("Not ready: ")
    assert register(server) == 503


@pytest.mark.takes_long
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("victims", [1, 2])
def test_workers_that_are_killed_are_replaced(
    start: Start, postgres: FragilePostgres, victims: int, state: str
) -> None:
    patience = {"taskmanager.health.readiness._PATIENCE_SECONDS": 0.5}
    server = start(2, constants=patience, DATABASE_CONNECT_TIMEOUT_SECONDS="1.5")
    before = server.worker_pids
    assert len(before) == 2
    postgres.enter(state)
    for pid in before[:victims]:
        os.kill(pid, signal.SIGKILL)
    until(lambda: server.log.read_text().count("Application startup complete") == 2 + victims)
    now = server.worker_pids
    assert len(now) == 2
    assert set(before[victims:]) < set(now) or victims == 2
    deaths = lines(server, "worker ended unasked")
    assert {(line["pid"], line["signal"], line["level"]) for line in deaths} == {
        (pid, "SIGKILL", "error") for pid in before[:victims]
    }
    assert {line["pid"] for line in lines(server, "worker started")} == {*before, *now}
    if state == "up":
        assert_serves(server)
    else:
        assert_unavailable(server)
        postgres.enter("up")
        assert_serves(server)
    assert server.worker_pids == now
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("state", STATES)
def test_a_killed_parent_takes_its_workers_along(start: Start, postgres: FragilePostgres, state: str) -> None:
    server = start(2, DRAIN_SECONDS="30")
    workers = server.worker_pids
    postgres.enter(state)
    killed_at = time.monotonic()
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    # There is no drain: whatever starts next needs the port.
    until(lambda: not any(is_alive(pid) for pid in workers))
    assert time.monotonic() - killed_at < 10
    assert {line["pid"] for line in lines(server, "parent ended, stopping")} == set(workers)
    assert is_free(server.port)
    postgres.enter("up")
    server.start()
    assert_serves(server)


@pytest.mark.parametrize("state", STATES)
def test_a_single_process_that_is_killed_frees_its_port(start: Start, postgres: FragilePostgres, state: str) -> None:
    server = start(1)
    postgres.enter(state)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert is_free(server.port)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_that_was_asked_for_is_exit_code_0(
    start: Start, postgres: FragilePostgres, workers: int, state: str, number: signal.Signals
) -> None:
    server = start(workers)
    postgres.enter(state)
    assert server.stop(number) == 0
    assert is_free(server.port)
    assert len(lines(server, "worker stopped")) == (workers if workers > 1 else 0)
    assert not lines(server, "worker ended unasked")


def test_a_worker_that_hangs_is_killed_and_replaced(start: Start) -> None:
    server = start(2, constants={"taskmanager.server.workers._HUNG_SECONDS": 2.0})
    hung, other = server.worker_pids
    os.kill(hung, signal.SIGSTOP)
    until(lambda: lines(server, "worker ended unasked"), 20)
    assert [line["pid"] for line in lines(server, "worker hangs, killing it")] == [hung]
    until(lambda: len(server.worker_pids) == 2)
    assert other in server.worker_pids
    assert_serves(server)
    assert server.stop() == 0


def test_a_worker_starts_on_a_schema_that_no_longer_fits(start: Start, postgres: FragilePostgres) -> None:
    server = start(2)
    execute_on(postgres.url, "ALTER SCHEMA public RENAME TO away", "CREATE SCHEMA public")
    try:
        for pid in server.worker_pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: server.log.read_text().count("Application startup complete") == 4)
        assert get(server, "/livez").status_code == 200
        assert "run `taskmanager migrate`" in get(server, "/readyz").json()["detail"]
    finally:
        execute_on(postgres.url, "DROP SCHEMA public", "ALTER SCHEMA away RENAME TO public")
    assert_serves(server)
    assert server.stop() == 0


def test_workers_that_die_at_their_start_are_tried_again_more_and_more_seldom(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    shortest = 0.05
    pause = {"taskmanager.server.workers._SHORTEST_PAUSE_SECONDS": shortest}
    server = start(2, constants=pause, PROMETHEUS_MULTIPROC_DIR=str(folder))
    killed, healthy = server.worker_pids
    shutil.rmtree(folder)
    folder.write_text("no folder, so that no application can be made")
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(lines(server, "worker ended unasked")) >= 5)
    deaths = lines(server, "worker ended unasked")
    assert (deaths[0]["signal"], {line["exit_code"] for line in deaths[1:]}) == ("SIGKILL", {1})
    times = [datetime.fromisoformat(line["timestamp"]) for line in deaths]
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert [pause >= shortest * 2**number for number, pause in enumerate(pauses[:4])] == [True] * 4
    # Nor does a rolling replacement go on when the first new worker does not come.
    server.send_signal(signal.SIGHUP)
    until(lambda: len(lines(server, "worker ended unasked")) >= 6)
    assert is_alive(healthy)
    assert get(server, "/readyz").status_code == 200
    folder.unlink()
    until(lambda: len(server.worker_pids) == 2 and server.log.read_text().count("Application startup complete") == 3)
    assert healthy in server.worker_pids
    assert_serves(server)
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_of_which_no_worker_starts_ends_with_an_error(
    start: Start, postgres: FragilePostgres, tmp_path: Path, workers: int
) -> None:
    folder = tmp_path / "metrics"
    postgres.enter("down")
    server = start(workers, ready=False, PROMETHEUS_MULTIPROC_DIR=str(folder))
    until(lambda: server.log.exists() and lines(server, "waiting for the database"))
    folder.rmdir()
    folder.write_text("no folder any more, so that no application can be made")
    postgres.enter("up")
    assert server.wait(_PATIENCE_SECONDS) == (2 if workers > 1 else 1)
    assert is_free(server.port)


@pytest.mark.parametrize("state", ["down", "frozen"])
def test_the_first_start_waits_for_the_database(start: Start, postgres: FragilePostgres, state: str) -> None:
    postgres.enter(state)
    server = start(2, ready=False, DATABASE_CONNECT_TIMEOUT_SECONDS="1.5")
    until(lambda: server.log.exists() and lines(server, "waiting for the database"))
    postgres.enter("up")
    until(lambda: server.log.read_text().count("Application startup complete") == 2)
    assert_serves(server)
    assert len(lines(server, "waiting for the database")) == 1
    assert server.stop() == 0


@pytest.mark.parametrize("state", ["down", "frozen"])
def test_the_first_start_waits_no_longer_than_it_is_to(start: Start, postgres: FragilePostgres, state: str) -> None:
    postgres.enter(state)
    server = start(2, ready=False, DATABASE_WAIT_SECONDS="2", DATABASE_CONNECT_TIMEOUT_SECONDS="1")
    began = time.monotonic()
    assert server.wait(_PATIENCE_SECONDS) == 2
    assert time.monotonic() - began < 10
    waiting, refusal = server.log.read_text().splitlines()
    assert json.loads(waiting)["event"] == "waiting for the database"
    assert refusal.startswith("taskmanager: the database cannot be reached: ")
    assert is_free(server.port)


def test_the_first_start_ends_when_asked_to(start: Start, postgres: FragilePostgres) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        postgres.enter("down")
        server = start(1, ready=False)
        until(lambda: server.log.exists() and lines(server, "waiting for the database"))  # noqa: B023  # run here
        assert server.stop(number) == 0
        assert len(server.log.read_text().splitlines()) == 1


@pytest.mark.parametrize("changed", [{"password": "wrong"}, {"database": "missing"}, {"username": "missing"}])
def test_what_does_not_pass_is_refused_at_once(
    start: Start, postgres: FragilePostgres, changed: dict[str, str]
) -> None:
    url = make_url(postgres.url).set(**changed).render_as_string(hide_password=False)  # type: ignore[arg-type]
    server = start(1, ready=False, DATABASE_URL=url)
    began = time.monotonic()
    assert server.wait(_PATIENCE_SECONDS) == 2
    assert time.monotonic() - began < 15
    (refusal,) = server.log.read_text().splitlines()
    assert refusal.startswith("taskmanager: ")


def test_a_killed_reloader_takes_its_child_along(postgres: FragilePostgres, tmp_path: Path) -> None:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), "DATABASE_URL": postgres.url, "DATA_DIR": "data"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "taskmanager", "dev", "--reload"],
            env={**environment, "HOME": "/"},
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez", verify=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers)
    finally:
        process.kill()
        process.wait(10)
    until(lambda: is_free(port))

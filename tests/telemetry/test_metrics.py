"""What Prometheus is told: by whom, about what, and by several processes as one."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.database.database import SHARED_CONNECTIONS, Database
from taskmanager.main import create_app
from taskmanager.telemetry.metrics import Metrics
from tests.conftest import METRICS_TOKEN, SECRET, Person, make_settings
from tests.support.applications import started
from tests.support.live_server import LiveServer

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
BEARER = {"Authorization": f"Bearer {METRICS_TOKEN}"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_in(page: str) -> Samples:
    """Return the values of an exposition by name and labels."""
    return {
        (sample.name.removeprefix("taskmanager_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def scrape(client: httpx.AsyncClient) -> Samples:
    """Read the metrics."""
    response = await client.get("/metrics", headers=BEARER)
    assert response.status_code == 200, response.text
    return samples_in(response.text)


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return a value, 0 if it is not there yet."""
    return samples.get((name, frozenset(labels.items())), 0)


@pytest.fixture
async def observed(database_url: str, database: Database) -> AsyncIterator[FastAPI]:
    """An application of its own, whose numbers nobody else changes."""
    settings = make_settings(
        database_url=database_url, metrics_token=METRICS_TOKEN, database_pool_size=2, database_pool_wait_seconds=0.2
    )
    app = create_app(settings)
    async with started(app):
        yield app


@pytest.fixture
async def observer(observed: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that application."""
    transport = httpx.ASGITransport(app=observed, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class TestWhoMayRead:
    """Nobody but the holder of the token."""

    @pytest.mark.parametrize(
        "header",
        [b"", b"Bearer", b"Bearer ", b"Bearer x", b"Basic " + METRICS_TOKEN.encode(), b"Bearer \xfc\xff", None],
    )
    async def test_without_the_token_it_is_401(self, client: httpx.AsyncClient, header: bytes | None) -> None:
        headers = {} if header is None else {b"Authorization": header}
        response = await client.get("/metrics", headers=headers)
        assert response.status_code == 401
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert "taskmanager_" not in response.text

    async def test_without_the_setting_there_are_none(self, database_url: str) -> None:
        async with started(create_app(make_settings(database_url=database_url))) as client:
            for headers in ({}, BEARER):
                assert (await client.get("/metrics", headers=headers)).status_code == 404

    async def test_with_the_token_it_is_prometheus_text(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/metrics", headers=BEARER)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"

    def test_the_description_of_the_api_is_silent(self, app: FastAPI) -> None:
        assert "/metrics" not in app.openapi()["paths"]


async def test_the_database_is_not_asked(client: httpx.AsyncClient, query_recorder: list[str]) -> None:
    assert (await client.get("/metrics", headers=BEARER)).status_code == 200
    assert query_recorder == []


class TestRequests:
    """Requests are counted by method, route and status, and never by what a client makes up."""

    async def test_each_is_counted_under_the_template_of_its_route(
        self, observer: httpx.AsyncClient, alice: Person
    ) -> None:
        headers = {"Authorization": f"Bearer {alice.token}"}
        for number in (1, 2, 3):
            await observer.get(f"/api/v1/tasks/{number}", headers=headers)
        await observer.post("/api/v1/tasks", headers=headers, json={"title": "New"})
        await observer.get("/livez")
        await observer.head("/livez")
        samples = await scrape(observer)
        task = {"method": "GET", "route": "/api/v1/tasks/{task_id}"}
        assert value(samples, "http_requests_total", **task, status="404") == 3
        assert value(samples, "http_request_duration_seconds_count", **task) == 3
        assert value(samples, "http_request_duration_seconds_bucket", **task, le="+Inf") == 3
        assert 0 < value(samples, "http_request_duration_seconds_sum", **task) < 10
        created = {"method": "POST", "route": "/api/v1/tasks", "status": "201"}
        assert value(samples, "http_requests_total", **created) == 1
        for method in ("GET", "HEAD"):
            assert value(samples, "http_requests_total", method=method, route="/livez", status="200") == 1

    async def test_what_no_route_takes_makes_no_series_of_its_own(self, observer: httpx.AsyncClient) -> None:
        for number in range(5):
            await observer.get(f"/nowhere/{number}")
            await observer.request(f"METHOD{number}", f"/api/v1/tasks/{number}")
        samples = await scrape(observer)
        assert value(samples, "http_requests_total", method="GET", route="unmatched", status="404") == 5
        counted = {labels for name, labels in samples if name == "http_requests_total"}
        assert {dict(labels)["method"] for labels in counted} == {"GET", "OTHER"}
        # A route that takes the path with another method is named by its template.
        assert {dict(labels)["route"] for labels in counted} == {"unmatched", "/api/v1/tasks/{task_id}"}
        assert sum(value(samples, "http_requests_total", **dict(labels)) for labels in counted) == 10

    async def test_those_under_way_are_counted_while_they_are(
        self, observer: httpx.AsyncClient, observed: FastAPI
    ) -> None:
        held = asyncio.Event()

        async def wait() -> None:
            await held.wait()

        observed.add_api_route("/wait", wait, include_in_schema=False)
        waiting = [asyncio.create_task(observer.get("/wait")) for _ in range(3)]
        await asyncio.sleep(0.05)
        # The one that asks is under way itself.
        assert value(await scrape(observer), "http_requests_in_flight") == 4
        held.set()
        await asyncio.gather(*waiting)
        assert value(await scrape(observer), "http_requests_in_flight") == 1

    async def test_one_whose_client_is_gone_is_no_longer_under_way(
        self, observer: httpx.AsyncClient, observed: FastAPI
    ) -> None:
        async def wait() -> None:
            await asyncio.sleep(60)

        observed.add_api_route("/wait", wait, include_in_schema=False)
        waiting = asyncio.create_task(observer.get("/wait"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        samples = await scrape(observer)
        assert value(samples, "http_requests_in_flight") == 1
        assert value(samples, "http_requests_total", method="GET", route="/wait", status="0") == 1

    @pytest.mark.parametrize("path", ["/api/v1/tasks", "/api/v1/projects", "/api/v1/token"])
    async def test_one_who_went_away_while_sending_is_no_failure_of_ours(
        self, observer: httpx.AsyncClient, observed: FastAPI, alice: Person, path: str
    ) -> None:
        form = path.endswith("/token")
        body = b"username=alice" if form else b'{"title": "x", "name": "x"}'
        kind = b"application/x-www-form-urlencoded" if form else b"application/json"
        parts = iter([{"type": "http.request", "body": body, "more_body": True}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(parts, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"test"),
                (b"content-type", kind),
                (b"content-length", b"%d" % (len(body) + 1)),
                (b"authorization", f"Bearer {alice.token}".encode()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }
        await observed(scope, receive, send)
        assert sent == []
        samples = await scrape(observer)
        counted = {dict(labels)["status"] for name, labels in samples if name == "http_requests_total"}
        assert counted == {"0"}
        assert (await alice.get("/tasks")).json()["total"] == 0


class TestDatabase:
    """The pool and the statements."""

    async def test_statements_and_their_time_are_counted(self, observer: httpx.AsyncClient, observed: FastAPI) -> None:
        before = await scrape(observer)
        database: Database = observed.state.database
        async with database.reader() as reader:
            await reader.execute(text("SELECT pg_sleep(0.1)"))
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
        after = await scrape(observer)
        assert value(after, "database_statements_total") - value(before, "database_statements_total") == 3
        name = "database_statement_seconds_total"
        assert 0.1 <= value(after, name) - value(before, name) < 1

    async def test_statements_that_requests_share_are_counted_once(
        self, observer: httpx.AsyncClient, observed: FastAPI, alice: Person
    ) -> None:
        task = await alice.new_task()
        before = await scrape(observer)
        headers = {"Authorization": f"Bearer {alice.token}"}
        answers = await asyncio.gather(
            *(observer.get(f"/api/v1/tasks/{task['id']}", headers=headers) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {200}
        for answer in answers:
            assert "db;dur=0.00" not in answer.headers["Server-Timing"]
        after = await scrape(observer)

        def growth(name: str) -> float:
            return value(after, name) - value(before, name)

        # Each is a part of one only, which checks its login and reads.
        assert growth("shared_statement_requests_total") == 20
        assert 1 <= growth("shared_statements_total") < 20
        assert growth("database_statements_total") >= growth("shared_statements_total")
        assert growth("database_statement_seconds_total") > 0

    async def test_the_pool_is_seen_at_work(
        self, observer: httpx.AsyncClient, observed: FastAPI, alice: Person
    ) -> None:
        idle = await scrape(observer)
        assert [value(idle, f"database_pool_{name}") for name in ("size", "in_use", "waiting")] == [2, 0, 0]
        database: Database = observed.state.database
        async with database.reader() as one, database.reader() as other:
            for session in (one, other):
                await session.execute(text("SELECT 1"))
            headers = {"Authorization": f"Bearer {alice.token}"}
            writing = observer.post("/api/v1/projects", headers=headers, json={"name": "New"})
            refused = asyncio.create_task(writing)
            await asyncio.sleep(0.05)
            busy = await scrape(observer)
            assert [value(busy, f"database_pool_{name}") for name in ("size", "in_use", "waiting")] == [2, 2, 1]
            assert (await refused).status_code == 503
        samples = await scrape(observer)
        assert value(samples, "unavailable_total", cause="pool_timeout") == 1
        assert value(samples, "database_pool_in_use") == 0

    async def test_a_statement_that_took_too_long_is_a_cause_of_its_own(self, database_url: str) -> None:
        settings = make_settings(
            database_url=database_url, metrics_token=METRICS_TOKEN, database_statement_timeout_ms=100
        )
        app = create_app(settings)

        async def sleep() -> None:
            async with app.state.database.reader() as reader:
                await reader.execute(text("SELECT pg_sleep(10)"))

        app.add_api_route("/sleep", sleep, include_in_schema=False)
        async with started(app) as client:
            assert (await client.get("/sleep")).status_code == 503
            samples = await scrape(client)
        assert value(samples, "unavailable_total", cause="statement_timeout") == 1


class TestCausesInSharedStatements:
    """The commonest requests tell as exactly as the others what was out of reach."""

    @staticmethod
    async def refused(client: httpx.AsyncClient, person: Person) -> Samples:
        answer = await client.get("/api/v1/tasks/1", headers={"Authorization": f"Bearer {person.token}"})
        assert answer.status_code == 503
        samples = await scrape(client)
        route = "/api/v1/tasks/{task_id}"
        assert value(samples, "http_requests_total", method="GET", route=route, status="503") == 1
        return samples

    @staticmethod
    def app(database_url: str) -> FastAPI:
        return create_app(
            make_settings(
                database_url=database_url,
                metrics_token=METRICS_TOKEN,
                database_statement_timeout_ms=100,
                database_pool_wait_seconds=0.1,
            )
        )

    async def test_a_statement_that_took_too_long(self, database_url: str, alice: Person, database: Database) -> None:
        app = self.app(database_url)
        async with started(app) as client, database.transaction() as session:
            await session.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
            assert value(await self.refused(client, alice), "unavailable_total", cause="statement_timeout") == 1

    async def test_a_turn_that_did_not_come(self, database_url: str, alice: Person) -> None:
        app = self.app(database_url)
        async with started(app) as client, AsyncExitStack() as turns:
            for _ in range(SHARED_CONNECTIONS):
                await app.state.shared_connections.take_turn()
                turns.callback(app.state.shared_connections.give_turn_back)
            assert value(await self.refused(client, alice), "unavailable_total", cause="pool_timeout") == 1


async def test_logins_that_wait_are_counted(observer: httpx.AsyncClient, observed: FastAPI) -> None:
    hasher: PasswordHasher = observed.state.password_hasher
    done = asyncio.Event()

    async def log_in() -> None:
        await hasher.enter()
        async with hasher.turn():
            await done.wait()

    logins = [asyncio.create_task(log_in()) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert value(await scrape(observer), "password_hashes_pending") == 5
    done.set()
    await asyncio.gather(*logins)
    assert value(await scrape(observer), "password_hashes_pending") == 0


async def test_watched_values_are_read_when_they_are_asked_for() -> None:
    metrics = Metrics()
    state = {"level": 0.0, "total": 0.0}
    metrics.watch_gauge("level", "A level.", lambda: state["level"])
    metrics.watch_counter("things", "Things.", lambda: state["total"])
    for level, total in ((3.0, 5.0), (1.0, 5.0), (2.0, 9.5)):
        state.update(level=level, total=total)
        samples = samples_in((await metrics.render()).decode())
        assert (value(samples, "level"), value(samples, "things_total")) == (level, total)


async def test_the_table_in_the_documentation_names_what_is_exported(client: httpx.AsyncClient) -> None:
    written = re.search(r"<!-- metrics -->\n(.*?)<!-- /metrics -->", OPERATIONS.read_text(), re.DOTALL)
    assert written is not None
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", written[1], re.MULTILINE)
    page = (await client.get("/metrics", headers=BEARER)).text
    exported = re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE)
    assert sorted((name, kind) for name, kind, _ in documented) == sorted(exported)
    labels: dict[str, set[str]] = {}
    for name, found in samples_in(page):
        base = re.sub("_(bucket|count|sum)$", "", name)
        labels.setdefault(base, set()).update(key for key, _ in found if key != "le")
    for name, _, named in documented:
        told = set(re.findall(r"`(\w+)`", named))
        assert labels.get(name.removeprefix("taskmanager_"), told) == told, name


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
    finally:
        server.stop()
    assert list(folder.glob("counter_*.db"))
    # It does nothing any more, so it has no gauges.
    assert not list(folder.glob("gauge_live*.db"))

"""What Prometheus is told: by whom, about what, and by several processes as one."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.main import create_app
from taskmanager.telemetry.metrics import Metrics
from tests.conftest import METRICS_TOKEN, Person, make_settings
from tests.support.applications import started
from tests.support.metrics_pages import BEARER, samples_in, scrape, value

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


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

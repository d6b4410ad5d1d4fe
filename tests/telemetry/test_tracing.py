"""OpenTelemetry: nothing unless it is asked for, spans of every request if it is."""

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.telemetry.logs import log_request
from tests.conftest import SECRET, Person, make_settings
from tests.support.applications import started
from tests.support.live_server import LiveServer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Where the spans go."""
    return InMemorySpanExporter()


@pytest.fixture
async def traced(
    database_url: str, database: Database, exporter: InMemorySpanExporter
) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """An application whose spans are kept, and a client of it."""
    app = create_app(make_settings(database_url=database_url))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # Not the global one, which could not be taken back.
    app._telemetry["tracer_provider"] = provider
    async with started(app) as client:
        yield app, client


async def test_a_request_is_a_span_of_its_caller_s_trace(
    traced: tuple[FastAPI, httpx.AsyncClient], exporter: InMemorySpanExporter, alice: Person
) -> None:
    _, client = traced
    headers = {"Authorization": f"Bearer {alice.token}", **TRACEPARENT}
    assert (await client.get("/api/v1/tasks/999999", headers=headers)).status_code == 404
    spans = {span.name: span for span in exporter.get_finished_spans()}
    span = spans["GET /api/v1/tasks/{task_id}"]
    assert span.attributes is not None
    assert span.attributes["http.route"] == "/api/v1/tasks/{task_id}"
    assert span.attributes["http.response.status_code"] == 404
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    # A compiled handler is all that happens; what FastAPI reads has spans inside.
    assert set(spans) == {"GET /api/v1/tasks/{task_id}"}
    exporter.clear()
    await client.get("/api/v1/tasks/999999", headers={**headers, "If-Match": "*"})
    assert {"GET /api/v1/tasks/{task_id}", "fastapi.endpoint"} <= {span.name for span in exporter.get_finished_spans()}


async def test_the_log_names_the_span(
    traced: tuple[FastAPI, httpx.AsyncClient], exporter: InMemorySpanExporter
) -> None:
    _, client = traced
    stream = io.BytesIO()
    log_request.write = stream.write
    try:
        await client.get("/", headers=TRACEPARENT)
        await client.get("/")
        log_request.flush()
    finally:
        log_request.write = None
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    found = [span.context for span in exporter.get_finished_spans() if span.name == "GET /"]
    assert len(found) == 2
    for line, context in zip(lines, found, strict=True):
        assert context is not None
        assert line["trace_id"] == f"{context.trace_id:032x}"
        assert line["span_id"] == f"{context.span_id:016x}"
    assert [line.get("parent_id") for line in lines] == [PARENT, None]
    assert lines[0]["trace_id"] == TRACE


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/api/v1/projects", "/api/v1/projects", 200),  # a compiled handler
        ("POST", "/api/v1/tasks", "/api/v1/tasks", 201),  # a shortcut
        ("GET", "/docs", "/docs", 200),
        ("GET", "/docs/assets/favicon.svg", "/docs/assets/{name}", 200),
        ("POST", "/api/v1/projects", "/api/v1/projects", 422),
    ],
)
async def test_whoever_answers_the_span_is_named_by_the_route(
    traced: tuple[FastAPI, httpx.AsyncClient],
    exporter: InMemorySpanExporter,
    alice: Person,
    method: str,
    path: str,
    route: str,
    status: int,
) -> None:
    _, client = traced
    headers = {"Authorization": f"Bearer {alice.token}"}
    body = {"title": "New"} if method == "POST" else None
    assert (await client.request(method, path, json=body, headers=headers)).status_code == status
    (span,) = [span for span in exporter.get_finished_spans() if span.parent is None]
    assert span.name == f"{method} {route}"
    assert (span.attributes or {})["http.route"] == route


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics"])
async def test_probes_make_no_spans(
    traced: tuple[FastAPI, httpx.AsyncClient], exporter: InMemorySpanExporter, path: str
) -> None:
    _, client = traced
    await client.get(path)
    assert exporter.get_finished_spans() == ()


def test_nothing_of_it_is_imported_when_it_is_off() -> None:
    script = """
import asyncio, sys
from taskmanager.main import create_app
from taskmanager.settings import Settings

app = create_app(Settings(secret_key="x" * 32, database_url="postgresql://nowhere/none", _env_file=None))

async def start():
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))
    async def receive():
        return next(messages)
    async def send(message):
        print(message["type"])
    app.router.lifespan_context = lambda app: Started()
    await app({"type": "lifespan", "state": {}}, receive, send)

class Started:
    async def __aenter__(self):
        return None
    async def __aexit__(self, *_):
        return None

asyncio.run(start())
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "FASTAPI_"))}
    for endpoint, imported in ({}, False), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True):
        result = subprocess.run(
            [sys.executable, "-c", script],
            env={**clean, **endpoint, "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        started_up, shut_down, names = result.stdout.splitlines()
        assert (started_up, shut_down) == ("lifespan.startup.complete", "lifespan.shutdown.complete")
        assert (names != "[]") is imported, names


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector that keeps what it is sent: its address, and the bodies."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


async def test_spans_reach_a_collector(
    collector: tuple[str, list[bytes]], database_url: str, database: Database, tmp_path: Path
) -> None:
    endpoint, bodies = collector
    environment = {
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    server = LiveServer(environment, tmp_path / "log")
    await asyncio.to_thread(server.start)
    try:
        async with httpx.AsyncClient(base_url=server.url, verify=False) as client:
            assert (await client.get("/api/v1/tasks", headers=TRACEPARENT)).status_code == 401
    finally:
        await asyncio.to_thread(server.stop)
    spans = {}
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {item.key: item.value.string_value for item in resource.resource.attributes}
            assert names["service.name"] == "taskmanager"
            spans.update({span.name: span for scope in resource.scope_spans for span in scope.spans})
    assert spans["GET /api/v1/tasks"].trace_id.hex() == TRACE
    assert not [name for name in spans if "readyz" in name]
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("path") == "/api/v1/tasks"]
    assert (line["trace_id"], line["span_id"]) == (TRACE, spans["GET /api/v1/tasks"].span_id.hex())

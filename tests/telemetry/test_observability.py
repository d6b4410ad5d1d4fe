"""The log: one line for each event, which says whose it is and cannot be forged."""

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from taskmanager.telemetry.logs import AccessLog, LogHandler, log_request
from taskmanager.telemetry.request_context import CURRENT_REQUEST, RequestContext, current_timings
from tests.conftest import Person, client_for

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
FIELDS = {
    "method", "path", "route", "status", "milliseconds", "client", "user_id",
    "event", "request_id", "level", "logger", "timestamp",
}  # fmt: skip


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    """What the access log writes in production."""
    stream = io.BytesIO()
    log_request.write = stream.write
    yield stream
    log_request.write = None


def lines_of(log: io.BytesIO) -> list[dict[str, Any]]:
    """Read the lines, each of which is one JSON object in ASCII."""
    log_request.flush()
    text = log.getvalue().decode("ascii")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


async def ask(app: FastAPI, path: str, *, method: str = "GET", **scope: Any) -> None:
    """Send a request as a server would, with a path that no client library would let through."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None:
        pass

    given: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [],
        "client": None,
    }
    await app({**given, **scope}, receive, send)


class TestAccessLine:
    """One line for each request."""

    async def test_it_says_what_happened(self, log: io.BytesIO, alice: Person) -> None:
        task = await alice.new_task()
        response = await alice.get(f"/tasks/{task['id']}")
        _, line = lines_of(log)
        assert line.keys() == FIELDS
        assert line["method"] == "GET"
        assert line["path"] == f"/api/v1/tasks/{task['id']}"
        assert line["route"] == "/api/v1/tasks/{task_id}"
        assert line["status"] == 200
        assert 0 < line["milliseconds"] < 5_000
        assert line["client"] == "127.0.0.1"
        assert line["user_id"] == alice.id
        assert line["event"] == "request"
        assert line["request_id"] == response.headers["X-Request-ID"]
        assert (line["level"], line["logger"]) == ("info", "taskmanager.access")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])

    async def test_what_is_not_known_is_null(self, log: io.BytesIO, app: FastAPI) -> None:
        await ask(app, "/nope")
        (line,) = lines_of(log)
        assert line.keys() == FIELDS
        assert [line[name] for name in ("route", "client", "user_id")] == [None, None, None]
        assert line["status"] == 404

    @pytest.mark.parametrize(
        "path",
        [
            '/x\n{"event": "forged"}',
            '/x", "status": 200, "y": "',
            "/x\r\n\x00\x1b[2J\x85\u2028\u2029",
            "/\ud800ü😀\\",
            "/" + "\U0001f600" * 2_000,
        ],
        ids=["line", "field", "control", "unicode", "long"],
    )
    async def test_no_path_ends_a_line_or_begins_a_field(self, log: io.BytesIO, app: FastAPI, path: str) -> None:
        await ask(app, path, client=('1"\n', 1), headers=[(b"x-request-id", b'a", "status": 1'), (b"x", b"\n")])
        (line,) = lines_of(log)
        assert line.keys() - {"path_length"} == FIELDS
        assert line["status"] == 404
        assert path.startswith(line["path"])
        assert line["path"] == path or (len(line["path"]), line["path_length"]) == (200, len(path))

    async def test_a_line_always_reaches_a_pipe_in_one_piece(self, log: io.BytesIO, app: FastAPI) -> None:
        await ask(app, "/" + "\U0001f600" * 30_000, method="\U0001f600" * 30_000)
        (line,) = lines_of(log)
        assert len(log.getvalue()) < 4_096
        assert line["path_length"] == 30_001

    async def test_the_lines_of_one_turn_of_the_event_loop_are_handed_over_at_once(self, app: FastAPI) -> None:
        turns: list[bytes] = []
        log_request.write = turns.append
        try:
            await asyncio.gather(*(ask(app, f"/nope/{number}") for number in range(100)))
            log_request.flush()
        finally:
            log_request.write = None
        assert len(turns) < 50
        assert all(turn.endswith(b"\n") for turn in turns)
        paths = [json.loads(line)["path"] for line in b"".join(turns).splitlines()]
        assert sorted(paths) == sorted(f"/nope/{number}" for number in range(100))

    async def test_it_is_readable_when_that_is_asked_for(self, client: httpx.AsyncClient) -> None:
        with capture_logs() as entries:
            await client.get("/nope")
        (entry,) = entries
        assert (entry["event"], entry["path"], entry["status"]) == ("request", "/nope", 404)

    def test_times_never_run_backwards_or_lack_a_digit(self) -> None:
        log = AccessLog()
        times = [log._timestamp() for _ in range(10_000)]
        assert times == sorted(times)
        assert {len(text) for text in times} == {27}


class TestTrace:
    """The caller's place in a distributed trace (W3C Trace Context)."""

    async def test_the_lines_of_a_request_name_its_trace(self, log: io.BytesIO, client: httpx.AsyncClient) -> None:
        await client.get("/health", headers={"traceparent": TRACEPARENT})
        (line,) = lines_of(log)
        assert line.keys() == FIELDS | {"trace_id", "parent_id"}
        assert (line["trace_id"], line["parent_id"]) == (TRACE, SPAN)

    @pytest.mark.parametrize(
        "given", [TRACEPARENT, f"00-{TRACE}-{SPAN}-00", f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-more-to-come"]
    )
    def test_valid_ones_are_taken(self, given: str) -> None:
        request = RequestContext([(b"traceparent", given.encode())])
        assert (request.trace_id, request.parent_id) == (TRACE, SPAN)

    @pytest.mark.parametrize(
        "given",
        [
            "",
            TRACEPARENT.upper(),
            f" {TRACEPARENT}",
            f"{TRACEPARENT}\n",
            f"{TRACEPARENT}-more",
            f"01-{TRACE}-{SPAN}-01more",
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE}-{SPAN}-1",
            f"00-{TRACE[1:]}-{SPAN}-01",
            f"00-{TRACE}-{SPAN}",
            f'00-{TRACE[:-2]}"\n-{SPAN}-01',
            "ü",
        ],
    )
    def test_any_other_is_ignored(self, given: str) -> None:
        request = RequestContext([(b"traceparent", given.encode())])
        assert (request.trace_id, request.parent_id) == (None, None)

    def test_two_contradict_each_other(self) -> None:
        headers = [(b"traceparent", TRACEPARENT.encode())] * 2
        assert RequestContext(headers).trace_id is None


def test_every_line_of_a_request_names_it() -> None:
    script = """
import logging, structlog
from taskmanager.telemetry.logs import configure_logging
from taskmanager.telemetry.request_context import CURRENT_REQUEST, RequestContext

configure_logging(readable=False)
logging.getLogger("uvicorn.error").info("outside")
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")  # told by http_protocol, with an id
headers = [(b"x-request-id", b"the-id"), (b"traceparent", b"TRACEPARENT")]
token = CURRENT_REQUEST.set(RequestContext(headers))
structlog.stdlib.get_logger("taskmanager.error").warning("ours")
logging.getLogger("asyncio").warning("theirs")
CURRENT_REQUEST.reset(token)
structlog.stdlib.get_logger("taskmanager.error").warning("outside again")
""".replace("TRACEPARENT", TRACEPARENT)
    result = subprocess.run(
        [sys.executable, "-c", script], env=dict(os.environ), capture_output=True, text=True, timeout=60, check=True
    )
    before, ours, theirs, after = (json.loads(line) for line in result.stdout.splitlines())
    for line in (ours, theirs):
        assert (line["request_id"], line["trace_id"], line["parent_id"]) == ("the-id", TRACE, SPAN)
    for line in (before, after):
        assert line.keys() == {"event", "level", "logger", "timestamp"}
    assert [line["event"] for line in (before, ours, theirs, after)] == ["outside", "ours", "theirs", "outside again"]


async def test_nothing_is_left_of_a_request_after_it(app: FastAPI) -> None:
    async with client_for(app) as client:
        await client.get("/health")
    assert CURRENT_REQUEST.get() is None
    assert current_timings() is None


def test_the_log_of_the_tests_is_not_configured() -> None:
    # The fixture above relies on it.
    assert log_request.write is None
    assert not [handler for handler in logging.getLogger().handlers if type(handler) is LogHandler]

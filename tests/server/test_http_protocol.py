"""What goes over the wire is what uvicorn would send."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from taskmanager.server.uvicorn_protocol import MOST_HEADER_BYTES, CorkedHttpProtocol, CorkedTransport, LeanCycle

PLAIN = [(b"content-type", b"application/json"), (b"etag", b'"1"'), (b"content-length", b"2")]


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, _name: str) -> None:
        return None

    def resume_reading(self) -> None:
        return


def cycle_of(kind: type[RequestResponseCycle], wire: Wire, *, method: str, keep_alive: bool) -> RequestResponseCycle:
    logger = logging.getLogger("test")
    return kind(
        scope=cast("Any", {"type": "http", "method": method}),
        transport=cast("Any", wire),
        flow=FlowControl(cast("Any", wire)),
        logger=logger,
        access_logger=logger,
        access_log=False,
        default_headers=[(b"date", b"Fri, 27 Nov 2026 12:00:00 GMT")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )


async def answer(kind: type[RequestResponseCycle], head: dict[str, Any], body: bytes, **options: Any) -> Any:
    """Return what a kind of cycle makes of an answer: the bytes and whether it closes, or the error."""
    wire = Wire()
    cycle = cycle_of(kind, wire, **options)
    try:
        await cycle.send(cast("Any", {"type": "http.response.start", **head}))
        await cycle.send({"type": "http.response.body", "body": body, "more_body": False})
    except (RuntimeError, ValueError) as error:
        return type(error), str(error)
    return wire.written, wire.closed, cycle.response_complete


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, PLAIN, b"{}"),
        (201, [*PLAIN, (b"location", b"/api/v1/tasks/1")], b"{}"),
        (200, [*PLAIN, (b"connection", b"close")], b"{}"),
        (200, [*PLAIN, (b"connection", b"keep-alive")], b"{}"),
        (200, [(b"content-type", b"text/plain")], b"in chunks"),
        (200, [(b"transfer-encoding", b"chunked")], b"in chunks"),
        (204, [], b""),
        (304, [(b"etag", b'"1"')], b""),
        (200, PLAIN, b"longer than announced"),
        (200, [*PLAIN[:-1], (b"content-length", b"3")], b"{}"),
        (200, [*PLAIN, (b"X-Upper-Case", b"1")], b"{}"),
        (200, [*PLAIN, (b"x-tab", b"a\tb")], b"{}"),
        (200, [*PLAIN, (b"x-latin", "é".encode("latin-1"))], b"{}"),
        (200, [*PLAIN, (b"x-split", b"a\r\nset-cookie: b")], b"{}"),
        (200, [*PLAIN, (b"x-nul", b"a\0b")], b"{}"),
        (200, [*PLAIN, (b"x-delete", b"a\x7fb")], b"{}"),
        (200, [*PLAIN, (b"x split", b"a")], b"{}"),
        (200, [*PLAIN, (b"x:split", b"a")], b"{}"),
        (200, [*PLAIN[:-1], (b"content-length", b"x")], b"{}"),
        (200, [*PLAIN[:-1], (b"content-length", b"-1")], b"{}"),
        (200, [list(header) for header in PLAIN], b"{}"),
        (200, [], b"{}"),
    ],
)
async def test_an_answer_is_the_same_as_uvicorns(
    status: int, headers: list[Any], body: bytes, method: str, keep_alive: bool
) -> None:
    head = {"status": status, "headers": headers}
    expected = await answer(RequestResponseCycle, head, body, method=method, keep_alive=keep_alive)
    assert await answer(LeanCycle, head, body, method=method, keep_alive=keep_alive) == expected


async def test_nothing_is_written_to_one_who_has_gone() -> None:
    wire = Wire()
    cycle = cycle_of(LeanCycle, wire, method="GET", keep_alive=True)
    cycle.disconnected = True
    await cycle.send(cast("Any", {"type": "http.response.start", "status": 200, "headers": PLAIN}))
    assert wire.writes == 0


async def test_an_answer_is_one_write() -> None:
    wire = Wire()
    transport = CorkedTransport(cast("Any", wire), asyncio.get_running_loop())
    cycle = cycle_of(LeanCycle, cast("Wire", transport), method="GET", keep_alive=True)
    await cycle.send(cast("Any", {"type": "http.response.start", "status": 200, "headers": PLAIN}))
    await cycle.send({"type": "http.response.body", "body": b"{}", "more_body": False})
    assert wire.writes == 0
    await asyncio.sleep(0)
    assert (wire.writes, wire.written[-6:]) == (1, b"\r\n\r\n{}")
    transport.write(b"x" * 100_000)
    assert wire.writes == 2  # so much is not held back
    transport.write(b"last")
    transport.close()
    assert (wire.written[-4:], wire.closed) == (b"last", True)


class TestWhenAnAnswerIsWritten:
    """A lone one when it is made, others in the next turn of the event loop."""

    @pytest.mark.parametrize(("in_flight", "writes"), [(1, 1), (2, 0)], ids=["lone", "with others"])
    @pytest.mark.parametrize(
        ("status", "headers", "body"), [(200, PLAIN, b"{}"), (304, [(b"etag", b'"1"')], b"")], ids=["200", "304"]
    )
    async def test_it_is_one_write(
        self, status: int, headers: list[Any], body: bytes, in_flight: int, writes: int
    ) -> None:
        wire, seen = Wire(), list[int]()
        answered = asyncio.Event()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            if in_flight == 2:
                protocol.tasks.add(asyncio.create_task(answered.wait()))  # type: ignore[arg-type]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})
            seen.append(wire.writes)
            answered.set()

        config = uvicorn.Config(app, http=CorkedHttpProtocol, lifespan="off", log_config=None)
        config.load()
        protocol = CorkedHttpProtocol(config, ServerState(), {})
        protocol.connection_made(cast("Any", wire))
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await answered.wait()
        await asyncio.sleep(0)
        assert (seen, wire.writes) == ([writes], 1)
        assert wire.written.startswith(b"HTTP/1.1 %d " % status)
        assert wire.written.endswith(b"\r\n\r\n" + body)
        protocol.connection_lost(None)


class Connection:
    """A client of a server with an application that answers each path with its time to wait, in seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, seconds: float = 0.0) -> bytes:
        self.writer.write(f"GET /{seconds} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert await self.reader.readexactly(2) == b"{}"
        return head

    async def is_closed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) == b""
        except TimeoutError:
            return False


@pytest.fixture
async def connection(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    """A connection to a server that closes idle ones after 0.4 seconds, and refused ones after 0.5."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.sleep(float(scope["path"][1:]))
        await send({"type": "http.response.start", "status": 200, "headers": [*PLAIN, (b"x-path", scope["raw_path"])]})
        await send({"type": "http.response.body", "body": b"{}"})

    monkeypatch.setattr("taskmanager.server.uvicorn_protocol._LINGER_SECONDS", 0.5)
    config = uvicorn.Config(app, http=CorkedHttpProtocol, lifespan="off", log_config=None, timeout_keep_alive=1)
    config.timeout_keep_alive = 0.4  # type: ignore[assignment]  # whole seconds would be a long test
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CorkedHttpProtocol(config, state, {}), "127.0.0.1")
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield Connection(reader, writer)
    writer.close()
    server.close()
    assert not state.tasks


async def test_a_connection_is_closed_once_it_has_been_idle_for_long(connection: Connection) -> None:
    for _ in range(4):
        assert (await connection.ask()).startswith(b"HTTP/1.1 200 OK\r\n")
        await asyncio.sleep(0.2)  # twice as long in all as it may be idle
    started = time.monotonic()
    assert await connection.is_closed_within(5)
    assert time.monotonic() - started > 0.15


async def test_a_connection_with_a_request_is_not_idle(connection: Connection) -> None:
    await connection.ask()
    await connection.ask(1.0)
    assert not await connection.is_closed_within(0.2)
    assert await connection.is_closed_within(5)


async def test_requests_that_come_together_are_answered_in_turn(connection: Connection) -> None:
    for seconds in (0.2, 0.1, 0.0):
        connection.writer.write(f"GET /{seconds} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for path in (b"/0.2", b"/0.1", b"/0.0"):
        answer = await asyncio.wait_for(connection.reader.readuntil(b"{}"), 5)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"x-path: " + path in answer


async def test_what_is_not_http_is_refused_by_a_problem_document(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    connection.writer.write(b"GET / HTTP/9 nonsense\r\n\r\n")
    with capture_logs() as logged:
        async with asyncio.timeout(5):
            head, _, body = (await connection.reader.read()).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 400 Bad Request"
    assert headers["content-type"] == "application/problem+json"
    assert (headers["connection"], headers["content-length"]) == ("close", str(len(body)))
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == ("/docs/problems#malformed-request", 400)
    assert problem["request_id"] == headers["x-request-id"]
    assert [line["request_id"] for line in logged] == [headers["x-request-id"]]
    assert caplog.messages == ["Invalid HTTP request received."]  # uvicorn's own words, which the log leaves out


LONG = MOST_HEADER_BYTES + 1
_TOO_LONG = {
    "one header": b"GET /0 HTTP/1.1\r\nHost: x\r\nOrigin: " + b"o" * LONG + b"\r\n\r\n",
    "many headers": b"GET /0 HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * (LONG // 6 + 1) + b"\r\n",
    "a name": b"GET /0 HTTP/1.1\r\nHost: x\r\n" + b"n" * LONG + b": b\r\n\r\n",
    "the path": b"GET /" + b"0" * LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "the query": b"GET /0?" + b"q" * LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unfinished header": b"GET /0 HTTP/1.1\r\nHost: x\r\nOrigin: " + b"o" * 8_000_000,
    "an unfinished path": b"GET /" + b"0" * 8_000_000,
    "before a body": b"POST /0 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX: " + b"x" * LONG + b"\r\n\r\nhello",
}


@pytest.mark.parametrize("name", _TOO_LONG)
async def test_a_head_that_is_too_long_is_refused(connection: Connection, name: str) -> None:
    connection.writer.write(_TOO_LONG[name])
    async with asyncio.timeout(5):
        head, _, body = (await connection.reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"connection: close" in head
    assert json.loads(body)["type"] == "/docs/problems#headers-too-large"


async def test_a_head_of_exactly_the_bound_passes(connection: Connection) -> None:
    lines = b"Host: x\r\nX: "
    used = len("/0.0") + len("Host: x\r\n") + len("X: \r\n")
    connection.writer.write(b"GET /0.0 HTTP/1.1\r\n" + lines + b"x" * (MOST_HEADER_BYTES - used) + b"\r\n\r\n")
    assert (await connection.reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200 OK")


async def test_a_long_body_does_not_count_as_a_head(connection: Connection) -> None:
    body = b"b" * (3 * MOST_HEADER_BYTES)
    request = b"POST /0.0 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for _ in range(3):
        connection.writer.write(request + body)
    for _ in range(3):
        answer = await asyncio.wait_for(connection.reader.readuntil(b"{}"), 5)
        assert answer.startswith(b"HTTP/1.1 200 OK")

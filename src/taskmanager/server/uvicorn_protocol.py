"""uvicorn's HTTP protocol, with one system call and one check of the headers for each answer instead of many."""

import asyncio
import string
from functools import lru_cache
from typing import Any, Final, NamedTuple

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from taskmanager.http.connections import TRANSPORT
from taskmanager.http.problems import Answer, problem_response
from taskmanager.telemetry.request_context import RequestContext

_MOST_HELD_BYTES: Final = 65_536
# A token and a field value (RFC 9110, sections 5.6.2 and 5.5).
_NAME_BYTES: Final = (string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~").encode()
_VALUE_BYTES: Final = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
# These decide what happens to the connection, so uvicorn handles them.
_CONNECTION_HEADERS: Final = frozenset({b"connection", b"transfer-encoding"})
_CLOSE: Final = b"connection: close\r\n"
_WITHOUT_CONTENT: Final = frozenset({204, 304})
# Of the request line and all header lines together, in bytes.
MOST_HEADER_BYTES: Final = 65_536
# How long, and how many bytes of, what a refused client still sends is read: closed before that, the connection would
# be reset, and the client might never see the answer.
_LINGER_SECONDS: Final = 2.0
_MOST_REFUSED_BYTES: Final = 16_777_216
_NOT_HTTP: Final = "Invalid HTTP request received."


class CorkedTransport:
    """A transport that holds back what is written until the event loop's next iteration, then writes it in one call.

    uvicorn writes the head of an answer and its body separately; two system calls would cost more than most other work
    for an answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Write in the next iteration of the event loop, or immediately if more than 64 KiB are held back."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _MOST_HELD_BYTES:
            self.flush()

    def close(self) -> None:
        """Write what is held back, then close."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Write what is held back."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Form(NamedTuple):
    """The header lines of an answer with their values left open, and which of these is the length of its content."""

    lines: bytes
    length: int | None


@lru_cache(maxsize=1_000)
def _form(names: tuple[bytes, ...], *, has_content: bool) -> _Form | None:
    """Return the form for these headers, or None for an answer that is not plain."""
    if not _CONNECTION_HEADERS.isdisjoint(names) or (has_content and b"content-length" not in names):
        return None
    if b"".join(names).translate(None, _NAME_BYTES):
        return None
    lines = b"".join(b"%b: %%b\r\n" % name.replace(b"%", b"%%") for name in names)
    return _Form(lines, names.index(b"content-length") if b"content-length" in names else None)


class LeanCycle(RequestResponseCycle):
    """One request and its answer; the headers of a plain answer are checked and written all together.

    uvicorn checks each name and each value separately, which takes a sixth of the time of a look-up of a task.
    """

    async def send(self, message: Any) -> None:
        """Send a part of the answer; uvicorn sends everything but the head of a plain answer."""
        head = self._head(message) if message["type"] == "http.response.start" else None
        if head is None:
            await super().send(message)
            return
        self.response_started = True
        self.waiting_for_100_continue = False
        self.transport.write(head)

    def _head(self, message: Any) -> bytes | None:
        headers = message.get("headers")
        if not headers or self.response_started or self.disconnected or self.flow.write_paused or self.access_log:
            return None
        names, values = zip(*self.default_headers, *headers, strict=True)
        form = _form(names, has_content=message["status"] not in _WITHOUT_CONTENT)
        if form is None or b"".join(values).translate(None, _VALUE_BYTES):
            return None
        if form.length is not None:
            length = values[form.length]
            if not length.isdigit():
                return None
            self.chunked_encoding = False
            self.expected_content_length = int(length)
        lines = form.lines % values
        return b"%b%b%b\r\n" % (STATUS_LINE[message["status"]], lines, b"" if self.keep_alive else _CLOSE)


class CorkedHttpProtocol(HttpToolsProtocol):
    """The protocol of one connection, which has one timer for as long as it lasts where uvicorn has one per request."""

    _corked: CorkedTransport
    _idle_since: float | None = None
    # Counts a head's pieces from the second one on, because the first one may hold other requests too.
    _in_head = False
    _piece_bytes = 0
    _first_bytes = 0
    _later_bytes = 0
    _is_refused = False
    _refused_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        self._corked = CorkedTransport(transport, self.loop)
        super().connection_made(self._corked)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()

    def data_received(self, data: bytes) -> None:
        """Read what has come, as long as no head gets longer than it may be."""
        if self._is_refused:
            self._refused_bytes += len(data)
            if self._refused_bytes > _MOST_REFUSED_BYTES:
                self.transport.abort()
            return
        self._piece_bytes = len(data)
        if self._in_head:
            self._later_bytes += len(data)
            if self._later_bytes > MOST_HEADER_BYTES:
                self._refuse_head()
                return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._read_without_offer(memoryview(data), stop.args[0])
        except httptools.HttpParserError:
            self._refuse_bytes()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = True
        self._first_bytes = self._piece_bytes
        self._later_bytes = 0

    def on_headers_complete(self) -> None:
        """Hand the request to the application.

        Raises:
            ValueError: Its head is longer than it may be; the parser turns this into a refusal.
        """
        self._in_head = False
        # The pieces may hold more than the head, so the head is measured only if they are long.
        if self._first_bytes + self._later_bytes > MOST_HEADER_BYTES:
            lines = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if len(self.url) + lines > MOST_HEADER_BYTES:
                self._refuse_head()
                raise ValueError("the head is too long")
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Begin with the next request, or wait for it for as long as an idle connection may stay open."""
        self.server_state.total_requests += 1
        # Answers made together are written together, so that the requests that follow share statements again. A lone
        # answer is written immediately.
        if len(self.tasks) == 1:
            self._corked.flush()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for long enough; else look again when it could be."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the timer is set again when the answer is complete
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_again_in(left)
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem document, and close the connection."""
        if not self._is_refused:
            self._refuse(Answer("malformed-request", msg), event="not HTTP")
            self.transport.close()

    def _refuse_bytes(self) -> None:
        self.logger.warning(_NOT_HTTP)  # as uvicorn does
        self.send_400_response(_NOT_HTTP)

    def _refuse_head(self) -> None:
        detail = f"The request line and the headers may have {MOST_HEADER_BYTES} bytes together."
        self._refuse(Answer("headers-too-large", detail), event="headers too large")
        self._is_refused = True
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _refuse(self, answer: Answer, *, event: str) -> None:
        request_id = RequestContext(()).request_id
        structlog.stdlib.get_logger("taskmanager.error").warning(event, request_id=request_id, client=self.client)
        response = problem_response(answer, {"state": {"request_id": request_id}})
        headers = (*self.server_state.default_headers, *response.raw_headers, (b"x-request-id", request_id.encode()))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"%b%b%b\r\n%b" % (STATUS_LINE[answer.status], lines, _CLOSE, bytes(response.body)))

    def _read_without_offer(self, data: memoryview, offset: int) -> None:
        """Read a request that offers another protocol as if it did not (RFC 9110, section 7.8), then what follows it.

        At the offset, behind its head, the parser has stopped as if the connection were another protocol's now.
        """
        while True:
            if self.parser.get_method() == b"CONNECT":
                # No offer, and answered like every unknown method; only the server behind a tunnel knows what follows.
                self.cycle.keep_alive = False
                self._is_refused = True
                return
            head = self._head_without_offer()
            data = data[offset:]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            try:
                self.parser.feed_data(head)
                if data:
                    self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                offset = stop.args[0]
            except httptools.HttpParserError:
                self._refuse_bytes()
                return
            else:
                return

    def _head_without_offer(self) -> bytes:
        # Without Upgrade, what Connection says of it means nothing.
        version = self.parser.get_http_version().encode()
        lines = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, lines)

    def _should_upgrade(self) -> bool:
        # uvicorn leaves such a request to another protocol, here to `_read_without_offer`.
        return self.parser.get_method() != b"CONNECT"

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        # New data ends the idle time; the timer keeps running.
        self._idle_since = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # uvicorn names the class of its cycles nowhere else.
        cycle.__class__ = LeanCycle
        cycle.scope[TRANSPORT] = self._corked  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

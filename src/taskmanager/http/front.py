"""Does everything that is done around each request, in one layer of pure ASGI.

A request gets an id, its times, a place among those in flight, and an answer: from its compiled handler if it is plain,
else from FastAPI. Then the headers that every answer has, a line in the log and its place in the metrics.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskmanager.errors import ContentTooLargeError, OverloadedError
from taskmanager.http.binding import MEANINGFUL_HEADERS, BoundRoute, NotPlainError, PlainRequest
from taskmanager.http.connections import IS_HEAD
from taskmanager.http.cors import HeaderPairs
from taskmanager.http.dispatch import FOUND, Endpoint, RouteTable
from taskmanager.http.failures import error_response
from taskmanager.http.retries import retry_lost
from taskmanager.http.surroundings import Surroundings
from taskmanager.telemetry.logs import log_request
from taskmanager.telemetry.request_context import CURRENT_REQUEST, RequestContext
from taskmanager.telemetry.tracing import join_span, name_span

# Probes and metrics are answered even when the process is overloaded.
_ALWAYS_ADMITTED: Final = frozenset({"/", "/health", "/livez", "/readyz", "/metrics"})
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_CONTENT_SECURITY_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Front:
    """Handles every request of an application.

    `bound` has the compiled handler of each endpoint that has one, `inner` answers all other requests. What is not
    HTTP goes to `app`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        inner: ASGIApp,
        table: RouteTable,
        around: Surroundings,
        bound: Mapping[Endpoint, BoundRoute],
    ) -> None:
        self.app = app
        self.inner = inner
        self.table = table
        self.around = around
        self.bound = bound
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or whatever else a server sends."""
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        else:
            await self.app(scope, receive, send)


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_body_bytes",
        "_cors_headers",
        "_counts",
        "_endpoint",
        "_front",
        "_has_left",
        "_head",
        "_origin",
        "_receive",
        "_received",
        "_request",
        "_scope",
        "_send",
        "_started",
        "_state",
        "_status",
        "_template",
        "_values",
    )

    def __init__(self, front: Front, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = time.perf_counter()
        self._front = front
        self._scope = scope
        self._receive = receive
        self._received: list[Message] = []
        self._send = send
        self._status = 0
        self._body_bytes = 0
        self._counts = False
        self._has_left = False
        self._origin: bytes | None = None
        self._cors_headers: HeaderPairs | None = None
        self._endpoint: Endpoint | None = None
        self._template: str | None = None
        self._values: list[str] = []
        self._head = scope["method"] == "HEAD"
        self._request = request = RequestContext(scope["headers"])
        request.leave, request.until_gone = self._leave, self._until_gone
        join_span(scope, request)
        self._state = state = scope.setdefault("state", {})
        state["request_id"] = request.request_id
        state["timings"] = request.timings

    async def run(self) -> None:
        """Answer the request."""
        front = self._front
        metrics = front.around.metrics
        metrics.in_flight += 1
        token = CURRENT_REQUEST.set(self._request)
        try:
            response = await self._answer()
            if response is not None:
                status, headers = response.status_code, response.raw_headers
                await self.send({"type": "http.response.start", "status": status, "headers": headers})
                await self.send({"type": "http.response.body", "body": response.body})
        finally:
            seconds = time.perf_counter() - self._started
            if not self._has_left:
                metrics.in_flight -= 1
            scope, duration = self._scope, None if self._has_left else seconds
            metrics.record_request(scope["method"], self._template, self._status, duration)
            log_request(
                self._request,
                method=scope["method"],
                path=scope["path"],
                route=self._template,
                status=self._status,
                seconds=seconds,
                client=front.around.client_address(scope),
                user_id=self._state.get("user_id"),
            )
            CURRENT_REQUEST.reset(token)

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = self._headers(message.get("headers", ()))
        elif self._head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    async def _answer(self) -> Response | None:
        """Return the answer, or None if FastAPI has sent it."""
        front, scope = self._front, self._scope
        try:
            method = "GET" if self._head else scope["method"]
            self._endpoint, self._template, self._values = front.table.find(method, scope)
            headers = self._read_headers()
            self._enter()
            if method == "OPTIONS" and self._is_preflight():
                self._cors_headers = ()  # the answer has its own
                return front.around.cors.preflight(scope, front.around.path_prefix(scope))
            for admit in front.around.admissions:
                await admit(scope)
            if (answer := await self._ask_handler(headers)) is not None:
                return answer
            await self._ask_fastapi(method)
        except ClientDisconnect:
            return None  # the client is gone
        except Exception as error:
            response = error_response(error, scope, front.around.metrics, front.around.path_prefix(scope))
            if self._status:
                raise
            return response
        finally:
            if self._counts:
                front.in_flight -= 1
        return None

    def _enter(self) -> None:
        front = self._front
        if front.in_flight >= front.around.max_in_flight and self._scope["path"] not in _ALWAYS_ADMITTED:
            raise OverloadedError("requests")
        front.in_flight += 1
        self._counts = True

    def _leave(self) -> None:
        if self._counts and not self._has_left:
            self._has_left, self._counts = True, False
            self._front.in_flight -= 1
            self._front.around.metrics.in_flight -= 1

    async def _until_gone(self) -> None:
        while (await self._receive_kept())["type"] != "http.disconnect":
            pass

    def _read_headers(self) -> dict[bytes, bytes] | None:
        """Return the meaningful headers, or None if one of them is repeated.

        Raises:
            ContentTooLargeError: More bytes are announced than a body may have.
        """
        found: dict[bytes, bytes] | None = {}
        for name, value in self._scope["headers"]:
            if name == b"origin":
                self._origin = value if self._origin is None else self._origin
            elif name in MEANINGFUL_HEADERS:
                if name == b"content-length" and value.isdigit():
                    # A length of very many digits is too large; it need not be read as a number.
                    limit = self._front.around.max_body_bytes
                    if len(value) > 18 or int(value) > limit:
                        raise ContentTooLargeError(limit)
                    if value == b"0":
                        continue  # the same as no body
                if found is not None:
                    found = None if name in found else {**found, name: value} if found else {name: value}
        return found

    async def _ask_handler(self, headers: dict[bytes, bytes] | None) -> Response | None:
        """Return the answer of the compiled handler, or None if FastAPI has to read the request."""
        endpoint = self._endpoint
        bound = None if endpoint is None or headers is None else self._front.bound.get(endpoint)
        if endpoint is None or bound is None or headers is None:
            return None
        self._scope["route"] = endpoint.route
        try:
            return await bound.answer(PlainRequest(self._scope, headers, self._values, self._read_body))
        except NotPlainError:
            return None

    def _is_preflight(self) -> bool:
        return self._origin is not None and any(
            name == b"access-control-request-method" for name, _ in self._scope["headers"]
        )

    async def _ask_fastapi(self, method: str) -> None:
        """Have FastAPI answer, again if its transaction lost against others; a read can lose too, against a migration.

        The body that has been received is kept, to be read again.
        """
        found = self._endpoint, self._values

        async def ask() -> None:
            state = dict(self._state)
            inner = {**self._scope, "method": method, "state": state, FOUND: found, IS_HEAD: self._head}
            replayed = iter(list(self._received))

            async def receive() -> Message:
                return next(replayed, None) or await self._receive_kept()

            async def send(message: Message) -> None:
                # The headers of the answer depend on what the first try found out about the caller.
                self._state.update(inner["state"])
                await self.send(message)

            try:
                await self._front.inner(inner, receive, send)
            finally:
                self._state.update(inner["state"])

        await retry_lost(ask, may_retry=lambda: not self._status)

    async def _receive_kept(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body_bytes += len(message.get("body", b""))
            if self._body_bytes > self._front.around.max_body_bytes:
                raise ContentTooLargeError(self._front.around.max_body_bytes)
        self._received.append(message)
        return message

    async def _read_body(self) -> bytes:
        body: bytes = b""
        while (message := await self._receive_kept())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                return body
        raise ClientDisconnect

    def _headers(self, given: Any) -> list[tuple[bytes, bytes]]:
        # A new list: the one that was given may be kept for other answers.
        headers = [*given]
        names = {name for name, _ in headers}
        around, request = self._front.around, self._request
        name_span(self._scope, self._template)
        if b"location" in names and (prefix := around.path_prefix(self._scope)):
            # The only place that knows of prefixes, for new answers and for those kept from another time.
            headers = [(name, prefix.encode() + value if name == b"location" else value) for name, value in headers]
        headers += around.cors.headers(self._origin) if self._cors_headers is None else self._cors_headers
        seconds = time.perf_counter() - self._started
        headers.append((b"x-request-id", request.request_id.encode()))
        headers.append((b"x-process-time", b"%.3f" % seconds))
        headers.append((b"server-timing", request.timings.header(seconds)))
        headers += _SECURITY_HEADERS
        if (decision := self._state.get("rate_limit")) is not None:
            headers += decision.headers
        if b"cache-control" not in names:
            headers.append(_NO_STORE)
        if b"content-security-policy" not in names:
            headers.append(_CONTENT_SECURITY_POLICY)
        if around.drain.started:
            headers = [header for header in headers if header[0] != b"connection"]
            headers.append((b"connection", b"close"))
        return headers

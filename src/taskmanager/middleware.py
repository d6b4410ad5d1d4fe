"""Everything that happens around each request, as pure ASGI middleware."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskmanager.database.database import sqlstate_of
from taskmanager.draining import Drain
from taskmanager.errors import ContentTooLargeError, OverloadedError
from taskmanager.metrics import Metrics
from taskmanager.observability import log_request
from taskmanager.problems import Answer, answer_to, problem_response, unavailable_cause
from taskmanager.request_context import CURRENT_REQUEST, RequestContext, RequestTimings
from taskmanager.short_key_cache import cache_short_keys
from taskmanager.tracing import join_span, name_span

# Serialisation failure, deadlock.
_LOST_TO_OTHERS = frozenset({"40001", "40P01"})
# Who watches an overloaded process has to see it.
_ALWAYS_ADMITTED = frozenset({"/", "/health", "/livez", "/readyz", "/metrics"})
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_CONTENT_SECURITY_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class RequestContextMiddleware:
    """Give each request an id, its times, security headers, one line in the log and its place in the metrics."""

    def __init__(
        self,
        app: ASGIApp,
        route_template: Callable[[Scope], str | None],
        client_address: Callable[[Scope], str | None],
        metrics: Metrics,
    ) -> None:
        self.app = app
        self.route_template = route_template
        self.client_address = client_address
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request = RequestContext(scope["headers"])
        join_span(scope, request)
        state = scope.setdefault("state", {})
        state["request_id"] = request.request_id
        state["timings"] = timings = request.timings
        status = 0

        def send_with_headers(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                name_span(scope, self.route_template(scope))
                # A new list: the one that was given may be kept for other answers.
                message["headers"] = headers = [*message.get("headers", ())]
                names = {name for name, _ in headers}
                seconds = time.perf_counter() - started
                headers.append((b"x-request-id", request.request_id.encode()))
                headers.append((b"x-process-time", b"%.3f" % seconds))
                headers.append((b"server-timing", _server_timing(timings, seconds)))
                headers += _SECURITY_HEADERS
                if "rate_limit" in state:
                    headers += state["rate_limit"].headers
                if b"cache-control" not in names:
                    headers.append(_NO_STORE)
                if b"content-security-policy" not in names:
                    headers.append(_CONTENT_SECURITY_POLICY)
            return send(message)

        self.metrics.in_flight += 1
        token = CURRENT_REQUEST.set(request)
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.in_flight -= 1
            route = self.route_template(scope)
            self.metrics.record_request(scope["method"], route, status, seconds)
            log_request(
                request,
                method=scope["method"],
                path=scope["path"],
                route=route,
                status=status,
                seconds=seconds,
                client=self.client_address(scope),
                user_id=state.get("user_id"),
            )
            CURRENT_REQUEST.reset(token)


def _server_timing(timings: RequestTimings, seconds: float) -> bytes:
    # Server Timing (W3C), in milliseconds; `app` is what neither waited for a connection nor for the database.
    pool, database = timings.pool * 1000, timings.database * 1000
    app = max(seconds * 1000 - pool - database, 0.0)
    return b"pool;dur=%.2f, db;dur=%.2f, app;dur=%.2f" % (pool, database, app)


class ProblemCORSMiddleware(CORSMiddleware):
    """CORS whose refusal of a preflight is a problem document like every other error."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        super().__init__(app, **options)
        self._answer_headers = cache_short_keys(256)(self._new_answer_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                response = self.preflight_response(request_headers=headers)
                if response.status_code != 200:
                    response = self._refusal(response, scope)
                await response(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Send a message, with the headers of `answer_headers` if it is the first."""
        if message["type"] == "http.response.start":
            origin = request_headers.get("origin")
            headers = self.answer_headers(None if origin is None else origin.encode("latin-1"))
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    def answer_headers(self, origin: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        """Return what an answer to a page of an origin must have, so that a browser lets the page read it."""
        return self._answer_headers(origin)

    def _new_answer_headers(self, origin: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        headers = MutableHeaders(self.simple_headers if origin is not None else None)
        if origin is not None and self.is_allowed_origin(name := origin.decode("latin-1")):
            if not self.allow_all_origins:
                self.allow_explicit_origin(headers, name)
        else:
            headers["Vary"] = "Origin"
        return tuple(headers.raw)

    @staticmethod
    def _refusal(response: Response, scope: Scope) -> Response:
        problem = problem_response(Answer(400, "cors-refused", bytes(response.body).decode()), scope)
        kept = {key: value for key, value in response.headers.items() if not key.startswith("content-")}
        problem.headers.update(kept)
        return problem


async def refuse(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Refuse a request, whatever it is.

    Raises:
        OverloadedError: Always.
    """
    raise OverloadedError("requests")


class AdmissionMiddleware:
    """Give more requests at once than the process may hold to `refusal`, and close connections while it drains."""

    def __init__(self, app: ASGIApp, *, refusal: ASGIApp, drain: Drain, max_in_flight: int) -> None:
        self.app = app
        self.refusal = refusal
        self.drain = drain
        self.max_in_flight = max_in_flight
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.drain.started:
            send = self._closing(send)
        if self.in_flight >= self.max_in_flight and scope["path"] not in _ALWAYS_ADMITTED:
            await self.refusal(scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1

    @staticmethod
    def _closing(send: Send) -> Send:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return send_and_close


class ErrorBoundaryMiddleware:
    """Turn every exception that leaves the application into a problem document."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            response = error_response(error, scope, self.metrics)
            if started:
                raise
            await response(scope, receive, send)


def error_response(error: Exception, scope: Scope, metrics: Metrics) -> Response:
    """Return the answer to an exception, which is logged and counted if the service is at fault."""
    answer = answer_to(error)
    if answer.status == 503:
        metrics.record_unavailable(unavailable_cause(error))
    if answer.status >= 500:
        log = structlog.stdlib.get_logger("taskmanager.error")
        if answer.status == 500:
            log.error("unexpected error", path=scope["path"], exc_info=error)
        else:
            log.warning("unavailable", path=scope["path"], cause=f"{type(error).__name__}: {error}"[:500])
    return problem_response(answer, scope)


class ConflictRetryMiddleware:
    """Run a request again whose transaction lost against others (deadlock, serialisation failure).

    PostgreSQL has rolled it back as a whole, so nothing is done twice; the body is kept to be read again. A read can
    lose too, against a migration that wants the tables that it reads.
    """

    def __init__(self, app: ASGIApp, tries: int = 3) -> None:
        self.app = app
        self.tries = tries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            sqlalchemy.exc.DBAPIError: It lost every time.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received: list[Message] = []
        started = False

        for attempt in range(1, self.tries + 1):
            inner = {**scope, "state": dict(scope.get("state", {}))}
            replayed = iter(list(received))

            async def receive_again(replayed: Iterator[Message] = replayed) -> Message:
                if (message := next(replayed, None)) is not None:
                    return message
                received.append(message := await receive())
                return message

            async def watch(message: Message, inner: Scope = inner) -> None:
                nonlocal started
                started = True
                # What goes out through the outer middleware may tell of it.
                scope["route"] = inner.get("route")
                scope.setdefault("state", {}).update(inner["state"])
                await send(message)

            try:
                await self.app(inner, receive_again, watch)
            except DBAPIError as error:
                if started or attempt == self.tries or sqlstate_of(error) not in _LOST_TO_OTHERS:
                    raise
                await asyncio.sleep(random.uniform(0.005, 0.02) * 4**attempt)  # noqa: S311  # no secret
            else:
                return
            finally:
                scope["route"] = inner.get("route")
                scope.setdefault("state", {}).update(inner["state"])


class BodyLimitMiddleware:
    """Refuse a body that is too large: at once when its length is announced, else while it streams in."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self.app = app
        self.limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            ContentTooLargeError: More bytes were announced, or came, than the limit.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            # A length of very many digits is too large to be worth reading as a number.
            if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > self.limit_bytes):
                raise ContentTooLargeError(self.limit_bytes)
        total = 0

        async def receive_counted() -> Message:
            nonlocal total
            message = await receive()
            if message["type"] == "http.request":
                total += len(message.get("body", b""))
                if total > self.limit_bytes:
                    raise ContentTooLargeError(self.limit_bytes)
            return message

        await self.app(scope, receive_counted, send)


class HeadMiddleware:
    """Answer HEAD as GET without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        inner = {**scope, "method": "GET"}
        await self.app(inner, receive, send_without_body)
        scope["route"] = inner.get("route")

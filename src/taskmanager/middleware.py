"""Everything that happens around each request, as pure ASGI middleware."""

import asyncio
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskmanager.database import sqlstate_of
from taskmanager.errors import ContentTooLargeError
from taskmanager.problems import Answer, answer_to, problem_response

# Serialisation failure, deadlock.
_LOST_TO_OTHERS = frozenset({"40001", "40P01"})
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = structlog.stdlib.get_logger("taskmanager.access")


def _given_request_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            return text if _REQUEST_ID.fullmatch(text) else None
    return None


class RequestContextMiddleware:
    """Give each request an id, a time, security headers and one line in the log."""

    def __init__(
        self,
        app: ASGIApp,
        route_template: Callable[[Scope], str | None],
        client_address: Callable[[Scope], str | None],
    ) -> None:
        self.app = app
        self.route_template = route_template
        self.client_address = client_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _given_request_id(scope) or uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Process-Time"] = f"{time.perf_counter() - started:.3f}"
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["X-Frame-Options"] = "DENY"
                if "rate_limit" in scope["state"]:
                    headers.raw.extend(scope["state"]["rate_limit"].headers)
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                route=self.route_template(scope),
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
                client=self.client_address(scope),
                user_id=scope["state"].get("user_id"),
            )
            structlog.contextvars.unbind_contextvars("request_id")


class ProblemCORSMiddleware(CORSMiddleware):
    """CORS whose refusal of a preflight is a problem document like every other error."""

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

    @staticmethod
    def _refusal(response: Response, scope: Scope) -> Response:
        problem = problem_response(Answer(400, "cors-refused", bytes(response.body).decode()), scope)
        kept = {key: value for key, value in response.headers.items() if not key.startswith("content-")}
        problem.headers.update(kept)
        return problem


class ErrorBoundaryMiddleware:
    """Turn every exception that leaves the application into a problem document."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

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
        except Exception as error:
            answer = answer_to(error)
            if answer.status >= 500:
                log = structlog.stdlib.get_logger("taskmanager.error")
                if answer.status == 500:
                    log.exception("unexpected error", path=scope["path"])
                else:
                    log.warning("unavailable", path=scope["path"], cause=f"{type(error).__name__}: {error}"[:500])
            if started:
                raise
            await problem_response(answer, scope)(scope, receive, send)


class ConflictRetryMiddleware:
    """Run a request again whose transaction lost against others (deadlock, serialisation failure).

    PostgreSQL has rolled it back as a whole, so nothing is done twice; the body is kept to be read again.
    """

    def __init__(self, app: ASGIApp, tries: int = 3) -> None:
        self.app = app
        self.tries = tries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            sqlalchemy.exc.DBAPIError: It lost every time.
        """
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
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

            async def watch(message: Message, state: dict[str, Any] = inner["state"]) -> None:
                nonlocal started
                started = True
                # What goes out through the outer middleware may tell of it.
                scope.setdefault("state", {}).update(state)
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

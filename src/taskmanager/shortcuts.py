"""Answers the commonest requests before FastAPI is asked: the same answers, at a fraction of the cost.

A shortcut only ever answers a request that it understands wholly and that succeeds, or that the database was not there
for. Anything else, a header that it does not know, a value that is not valid, a task that is not there, goes on to the
ordinary route as if nothing had been tried. That one alone decides about a request's own errors, so there is one place
that tells what a request means.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskmanager.rate_limits.limiter import Decision, Key, RateLimiter
from taskmanager.telemetry.request_context import RequestTimings

HeaderPairs = list[tuple[bytes, bytes]]
_Caller = TypeVar("_Caller")
_LENGTH = b"content-length"
# What may change the meaning of a request. One with any of these that its shortcut does not know is an ordinary one.
_MEANINGFUL_HEADERS = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        b"origin",
        b"transfer-encoding",
        b"x-api-key",
    }
)


@dataclass(slots=True)
class ShortcutRequest(Generic[_Caller]):
    """A request, as a shortcut sees it: its meaningful headers, who says to have sent it, and its body."""

    scope: Scope
    headers: Mapping[bytes, bytes]
    caller: _Caller
    receive: Receive

    @property
    def timings(self) -> RequestTimings:
        """Where the time goes; the shortcut adds what it waited for."""
        timings: RequestTimings = self.scope["state"]["timings"]
        return timings

    async def body(self) -> bytes | None:
        """Return the whole body, or None if the client goes away before it is there."""
        body = b""
        while (message := await self.receive())["type"] == "http.request":
            body += cast("bytes", message.get("body", b""))
            if not message.get("more_body", False):
                return body
        return None


@dataclass(slots=True)
class ShortcutAnswer:
    """A successful answer, whose body is a JSON document."""

    body: bytes
    headers: HeaderPairs
    status: int = 200


@dataclass(frozen=True, slots=True)
class Shortcut(Generic[_Caller]):
    """A way to answer requests, of which only some headers are understood, and the route that it stands for."""

    answer: Callable[[ShortcutRequest[_Caller]], Awaitable[ShortcutAnswer | None]]
    known_headers: frozenset[bytes]
    route: Any


class ShortcutMiddleware(Generic[_Caller]):
    """Gives a request to its shortcut first, and to the application if that gives no answer.

    `find` returns the shortcut for the method and the path of a request, `identify` reads its credential and returns
    the caller with their id.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        find: Callable[[Scope], Shortcut[_Caller] | None],
        identify: Callable[[bytes], tuple[int, _Caller] | None],
        limiter: RateLimiter,
        max_body_bytes: int,
    ) -> None:
        self.app = app
        self._find = find
        self._identify = identify
        self._limiter = limiter
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        shortcut = self._find(scope) if scope["type"] == "http" else None
        headers = _meaningful(scope["headers"]) if shortcut is not None else None
        if shortcut is None or headers is None or not shortcut.known_headers.issuperset(headers):
            await self.app(scope, receive, send)
            return
        identified = self._identify(headers.get(b"authorization", b""))
        if identified is None or not self._is_short(headers):
            await self.app(scope, receive, send)
            return
        user_id, caller = identified
        state = scope["state"]
        key: Key = ("user", user_id)
        decision = self._limiter.try_take(key) or await self._limiter.take(key)
        received: list[Message] = []

        async def receive_and_keep() -> Message:
            message = await receive()
            received.append(message)
            return message

        state["rate_limit"] = decision
        answer = None
        if decision.admitted:
            # What is answered here, be it that the database is gone, is logged and counted as the route's.
            scope["route"] = shortcut.route
            state["user_id"] = user_id
            answer = await shortcut.answer(ShortcutRequest(scope, headers, caller, receive_and_keep))
        if answer is None:
            self._forget(key, decision, scope)
            await self.app(scope, _replay(received, receive), send)
            return
        answer.headers.append((b"content-type", b"application/json"))
        answer.headers.append((_LENGTH, b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _is_short(self, headers: Mapping[bytes, bytes]) -> bool:
        length = headers.get(_LENGTH, b"0")
        return length.isdigit() and len(length) < 10 and int(length) <= self._max_body_bytes

    def _forget(self, key: Key, decision: Decision, scope: Scope) -> None:
        # The ordinary route takes its own permit, once it knows that the caller is who they say.
        del scope["state"]["rate_limit"]
        if decision.admitted:
            del scope["route"], scope["state"]["user_id"]
            self._limiter.put_back(key, decision)


def _meaningful(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _MEANINGFUL_HEADERS:
            if name in found:
                return None  # which of the two counts is for the ordinary route to say
            found[name] = value
    return found


def _replay(received: Iterable[Message], receive: Receive) -> Receive:
    messages = iter(received)

    async def receive_again() -> Message:
        for message in messages:
            return message
        return await receive()

    return receive_again

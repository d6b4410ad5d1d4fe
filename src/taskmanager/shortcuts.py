"""Answers the commonest requests before FastAPI is asked: the same answers, at a fraction of the cost.

A shortcut only ever answers a request that it understands wholly and that succeeds. Anything else, a header that it
does not know, a value that is not valid, a task that is not there, goes on to the ordinary route as if nothing had been
tried. That one alone decides about errors, so there is one place that tells what a request means.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HeaderPairs = list[tuple[bytes, bytes]]
# What may change the meaning of a request. One with any of these that its shortcut does not know is an ordinary one.
_MEANINGFUL_HEADERS = frozenset(
    {b"authorization", b"x-api-key", b"content-type", b"if-match", b"if-none-match", b"idempotency-key"}
)


@dataclass(slots=True)
class ShortcutRequest:
    """A request, as a shortcut sees it: the ids in its path, its meaningful headers, its body."""

    scope: Scope
    headers: Mapping[bytes, bytes]
    receive: Receive

    async def body(self) -> bytes:
        """Return the whole body."""
        message = await self.receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body", False):
            message = await self.receive()
            body += message.get("body", b"")
        return body


@dataclass(slots=True)
class ShortcutAnswer:
    """A successful answer, whose body is a JSON document."""

    body: bytes
    headers: HeaderPairs
    status: int = 200


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A way to answer requests, of which only some headers are understood, and the route that it stands for."""

    answer: Callable[[ShortcutRequest], Awaitable[ShortcutAnswer | None]]
    known_headers: frozenset[bytes]
    route: Any


class ShortcutMiddleware:
    """Gives a request to its shortcut first, and to the application if that gives no answer."""

    def __init__(self, app: ASGIApp, find: Callable[[Scope], Shortcut | None]) -> None:
        self.app = app
        self.find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        shortcut = self.find(scope) if scope["type"] == "http" else None
        headers = _meaningful(scope["headers"]) if shortcut is not None else None
        if shortcut is None or headers is None or not shortcut.known_headers.issuperset(headers):
            await self.app(scope, receive, send)
            return
        received: list[Message] = []

        async def receive_and_keep() -> Message:
            message = await receive()
            received.append(message)
            return message

        answer = await shortcut.answer(ShortcutRequest(scope, headers, receive_and_keep))
        if answer is None:
            await self.app(scope, _replay(received, receive), send)
            return
        scope["route"] = shortcut.route
        answer.headers.append((b"content-type", b"application/json"))
        answer.headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})


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

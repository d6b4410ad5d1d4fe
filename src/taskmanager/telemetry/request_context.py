"""The context of a request from its start: its id, its trace, and where its time goes."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Final

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# Version 00 has these four fields and no more; a later one may append some, but is never ff. No id is all zeros.
_TRACEPARENT: Final = re.compile(
    rb"(?:(00)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?(1)|(?:-.*)?)"
)


class RequestTimings:
    """Where the time of one request went, in seconds; the code that waits for it adds to it.

    `pool` is the time until a connection was there, `database` the time in statements and commits. They are
    `scope["state"]["timings"]`; `Database` finds them by `current_timings()`. Work that one task does for several
    requests should run with `CURRENT_REQUEST` set to None, and give each of them its share.
    """

    __slots__ = ("database", "pool")

    def __init__(self) -> None:
        self.pool = 0.0
        self.database = 0.0

    def header(self, seconds: float) -> bytes:
        """Return the value of Server-Timing (W3C), in milliseconds, of a request that took so many seconds.

        `app` is what neither waited for a connection nor for the database.
        """
        pool, database = self.pool * 1000, self.database * 1000
        app = max(seconds * 1000 - pool - database, 0.0)
        return b"pool;dur=%.2f, db;dur=%.2f, app;dur=%.2f" % (pool, database, app)


class RequestContext:
    """A request's id, its place in a distributed trace (W3C Trace Context) if the caller sent one, and its timings.

    `trace_id` and `parent_id` are the caller's, `span_id` is that of our own span when spans are made. `leave` takes
    the request from those in flight, once it waits for something that may take long; `until_gone` returns when its
    client has gone away.
    """

    __slots__ = ("leave", "parent_id", "request_id", "span_id", "timings", "trace_id", "until_gone")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Read the headers of an ASGI scope; a request id or a trace that is not well-formed counts as not given."""
        given_id = traceparent = None
        for name, value in headers:
            if name == b"x-request-id":
                given_id = value if given_id is None else given_id
            elif name == b"traceparent":
                # If one is sent twice, neither is used.
                traceparent = value if traceparent is None else b""
        if given_id is not None and _REQUEST_ID.fullmatch(given_id):
            self.request_id = given_id.decode("ascii")
        else:
            self.request_id = f"{random.getrandbits(128):032x}"
        self.trace_id: str | None = None
        self.parent_id: str | None = None
        self.span_id: str | None = None
        if traceparent and (match := _TRACEPARENT.fullmatch(traceparent)):
            self.trace_id, self.parent_id = match[2].decode(), match[3].decode()
        self.timings = RequestTimings()
        self.leave: Callable[[], None] = _stay
        self.until_gone: Callable[[], Awaitable[None]] = _never


def _stay() -> None:
    """Do nothing: the request is not one of a server."""


async def _never() -> None:
    """Wait for ever: there is no client that could go away."""
    await asyncio.Event().wait()


CURRENT_REQUEST: Final[ContextVar[RequestContext | None]] = ContextVar("CURRENT_REQUEST", default=None)


def current_timings() -> RequestTimings | None:
    """Return the timings of the request that is being handled, or None outside of any."""
    request = CURRENT_REQUEST.get()
    return None if request is None else request.timings


async def until_client_is_gone() -> None:
    """Return when the client of the current request has gone away."""
    request = CURRENT_REQUEST.get()
    await (_never() if request is None else request.until_gone())


def leave_requests_in_flight() -> None:
    """Take the current request from those that are in flight and whose duration is recorded: it waits for something."""
    if (request := CURRENT_REQUEST.get()) is not None:
        request.leave()

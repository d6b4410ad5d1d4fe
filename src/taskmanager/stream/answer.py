"""The answer that is a stream: pure ASGI, with everything that can fail before its first byte."""

import asyncio

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taskmanager.accounts.callers import Caller
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.errors import TaskManagerError
from taskmanager.http.connections import IS_HEAD, abort
from taskmanager.stream.feed import StreamFeed
from taskmanager.stream.rights import Filters
from taskmanager.stream.streams import GONE, StalledClientError, Stream
from taskmanager.telemetry.request_context import leave_requests_in_flight

_GONE_SECONDS = 1.0


class EventStream(Response):
    """The events behind a cursor, or from now on, for as long as the client reads."""

    media_type = "text/event-stream"

    def __init__(self, feed: StreamFeed, caller: Caller, filters: Filters, cursor: str | None) -> None:
        # nginx holds no part of it back.
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._caller = caller
        self._filters = filters
        self._cursor = cursor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            TaskManagerError: The stream is refused; nothing has been sent.
        """
        with self._feed.enter(self._caller, self._filters) as stream:
            await self._feed.open(stream, self._cursor)
            leave_requests_in_flight()
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope.get(IS_HEAD):
                await send({"type": "http.response.body", "body": b""})
                return
            watching = asyncio.create_task(_watch(stream, receive))
            try:
                await self._talk(stream, send)
            except StalledClientError:
                stream.end(GONE)
                abort(scope)
                await asyncio.wait([watching], timeout=_GONE_SECONDS)
            finally:
                watching.cancel()

    async def _talk(self, stream: Stream, send: Send) -> None:
        async def write(frames: bytes) -> None:
            await send({"type": "http.response.body", "body": frames, "more_body": True})

        async def finish(frames: bytes) -> None:
            await send({"type": "http.response.body", "body": frames, "more_body": False})

        last = b""
        try:
            last = await self._feed.run(stream, write)
        except (*DATABASE_ERRORS, TaskManagerError) as error:
            # The client comes back behind what it has got.
            log = structlog.stdlib.get_logger("taskmanager.stream")
            log.warning("stream ends", cause=f"{type(error).__name__}: {error}"[:300])
        if stream.ending != GONE:
            await stream.write(finish, last)


async def _watch(stream: Stream, receive: Receive) -> None:
    """End the stream when its client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end(GONE)

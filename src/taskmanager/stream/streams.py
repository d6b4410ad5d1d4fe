"""A stream: what waits to be sent to one client, and why it ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from taskmanager.accounts.callers import Caller
from taskmanager.following.positions import START
from taskmanager.stream.log_events import LogEvent
from taskmanager.stream.rights import Filters, Rights

MOST_QUEUED_EVENTS: Final = 256
MOST_QUEUED_BYTES: Final = 262_144
DRAIN, SLOW, REVOKED, MAX_AGE, GONE = "drain", "slow", "revoked", "max_age", "gone"


class StalledClientError(Exception):
    """The client has not read for so long that its connection is cut."""


class Stream:
    """The queue of one client, at a `position` in the log; it holds neither a connection nor a timer.

    `ending` says why it is to end, `reset` why the client has to load everything anew. It `is_live` while what happens
    is put into its queue. `has_moved` says that it has got an event lately.
    """

    __slots__ = (
        "_limit",
        "_queue",
        "_queued_bytes",
        "_woken",
        "_writing_since",
        "caller",
        "ending",
        "ends_at",
        "filters",
        "has_moved",
        "is_live",
        "phase",
        "position",
        "reset",
        "rights",
    )

    def __init__(self, caller: Caller, filters: Filters, ends_at: float, phase: int) -> None:
        self.caller = caller
        self.filters = filters
        self.ends_at = ends_at
        self.phase = phase
        self.position = START
        self.rights = Rights(filters, (), (), (0, 0))
        self.is_live = False
        self.has_moved = False
        self.ending: str | None = None
        self.reset: str | None = None
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._woken = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._writing_since = 0.0

    def push(self, frame: bytes) -> None:
        """Put a frame into the queue; a client that reads too slowly for that has to come back."""
        if self.ending is not None or self.reset is not None:
            return
        queued = self._queued_bytes + len(frame)
        if self._queue and (len(self._queue) >= MOST_QUEUED_EVENTS or queued > MOST_QUEUED_BYTES):
            self.end(SLOW)
            return
        self._queue.append(frame)
        self._queued_bytes = queued
        self._woken.set()

    def admit(self, event: LogEvent) -> bool:
        """Move on to an event, and return whether it is sent."""
        self.position = event.position
        return self.rights.admit(event)

    def end(self, reason: str) -> None:
        """Have the stream end; of several reasons the first counts, unless the client is gone."""
        if self.ending is None or reason == GONE:
            self.ending = reason
        if reason in {SLOW, REVOKED, GONE}:
            # Behind these nothing may be sent, or can be.
            self._drop()
        self._woken.set()

    def restart(self, reason: str) -> None:
        """Have the client load everything anew, and begin again."""
        self.reset = reason
        self.is_live = False
        self._drop()
        self._woken.set()

    async def next_frames(self) -> bytes:
        """Return what is to be sent next, as soon as there is something; nothing if the stream ends or begins again."""
        while not self._queue and self.ending is None and self.reset is None:
            self._woken.clear()
            await self._woken.wait()
        frames = b"".join(self._queue)
        self._drop()
        return frames

    async def write(self, send: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
        """Send something.

        Raises:
            StalledClientError: The client has not read for too long, as `give_up_writing` found.
        """
        self._writing_since = time.monotonic()
        try:
            async with asyncio.timeout(None) as self._limit:
                await send(data)
        except TimeoutError:
            raise StalledClientError from None
        finally:
            self._limit = None

    def give_up_writing(self, since: float) -> None:
        """End a write that has begun before a time (of `time.monotonic`)."""
        if self._limit is not None and self._writing_since < since and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())

    def _drop(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

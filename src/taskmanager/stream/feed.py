"""Opens streams, and leads each through its life: what it has missed, then what happens, then its end."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from taskmanager.accounts.callers import Caller
from taskmanager.errors import (
    CursorExpiredError,
    DatabaseUnavailableError,
    NotFoundError,
    NotReadyError,
    RateLimitedError,
    StreamsUnsupportedError,
)
from taskmanager.following.epochs import Epochs
from taskmanager.following.followers import Followers
from taskmanager.following.tailer import Tailer
from taskmanager.stream.broker import Broker
from taskmanager.stream.frames import READY, control_frame, join_frames, place_frame, read_events, retry_frame
from taskmanager.stream.repository import EventReader
from taskmanager.stream.rights import Filters
from taskmanager.stream.streams import DRAIN, GONE, MAX_AGE, Stream

# After this a stream ends, and its client opens another with the credential of then.
LONGEST_SECONDS = 3_600.0
_SHORTEST_PART: Final = 0.9
_MISSED_AT_ONCE: Final = 200
_FEWEST_RETRY_MS, _MOST_RETRY_MS = 1_000, 5_000
_RETRY_AFTER_SECONDS: Final = 5
_DRAIN_WRITE_SECONDS: Final = 1.0
_TRIES: Final = 20
_TRY_SECONDS: Final = 0.1
Write = Callable[[bytes], Awaitable[None]]


class StreamFeed:
    """The streams of one application, at most `limit_per_user` of each user.

    `is_supported` says whether answers reach clients while they are made. `longest_seconds` is how long a stream lasts.
    """

    def __init__(
        self, reader: EventReader, broker: Broker, epochs: Epochs, followers: Followers, tailer: Tailer, per_user: int
    ) -> None:
        self.is_supported = True
        self.longest_seconds = LONGEST_SECONDS
        self.entities = reader.entities
        self.limit_per_user = per_user
        self._reader = reader
        self._broker = broker
        self._epochs = epochs
        self._followers = followers
        self._tailer = tailer
        self._is_closed = False
        self._numbers = count()

    @contextmanager
    def enter(self, caller: Caller, filters: Filters) -> Iterator[Stream]:
        """Yield a new stream, which is one of those of the process for the block.

        Raises:
            StreamsUnsupportedError: Answers do not reach clients before they are complete.
            NotReadyError: The process stops.
            RateLimitedError: The user has as many streams as may be.
            OverloadedError: The process has as many as may be.
        """
        if not self.is_supported:
            raise StreamsUnsupportedError
        if self._is_closed:
            raise NotReadyError("the process stops")
        if self._broker.count_of(caller.user_id) >= self.limit_per_user:
            raise RateLimitedError("open streams", _RETRY_AFTER_SECONDS)
        lasts = self.longest_seconds * random.uniform(_SHORTEST_PART, 1)  # noqa: S311  # spreads their ends
        stream = Stream(caller, filters, time.monotonic() + lasts, next(self._numbers))
        with self._followers.hold(), self._broker.keep(stream):
            yield stream

    async def open(self, stream: Stream, cursor: str | None) -> None:
        """Give a stream its position, behind a cursor or at the end of the log, and its rights.

        Raises:
            NotFoundError: A project that is asked for is none that the caller sees.
            InvalidCursorError: The cursor was bent.
            CursorExpiredError: It leads nowhere any more.
            DatabaseUnavailableError: The log cannot be followed now.
        """
        visible = await self._open(stream, cursor)
        wanted = stream.filters.project_ids
        if wanted is not None and not wanted <= visible:
            raise NotFoundError("project")

    async def _open(self, stream: Stream, cursor: str | None) -> frozenset[int]:
        await self._check(cursor)
        self._tailer.notice_commit()
        for _ in range(_TRIES):
            epoch, end = await self._broker.find_beginning()
            try:
                given = None if cursor is None else epoch.read(cursor)
                opening = await self._reader.open(epoch, given or end, stream.filters, is_cursor=given is not None)
                break
            except CursorExpiredError as error:
                if error.reason != "epoch":
                    raise
                # Another epoch has started. If the cursor is of that one, the tailer is about to learn of it.
                await self._check(cursor)
                await asyncio.sleep(_TRY_SECONDS)
        else:
            raise DatabaseUnavailableError("the epoch of the log changes")
        stream.rights = opening.rights
        stream.position = given or end
        stream.reset = None
        if opening.has_missed_too_much:
            stream.restart("too_many")
        return opening.visible

    async def _check(self, cursor: str | None) -> None:
        """Make sure that a cursor is of the epoch that is the last known one."""
        if cursor is not None:
            (await self._epochs.of_cursor(cursor)).read(cursor)

    async def run(self, stream: Stream, write: Write) -> bytes:
        """Send everything from the stream's position on until it ends; return the last frame.

        Raises:
            StalledClientError: The client does not read.
            DatabaseUnavailableError: The log cannot be followed now.
            asyncpg.PostgresError: The server refused a read.
            OSError: The server cannot be reached.
        """
        try:
            await self._run(stream, write)
        finally:
            self._broker.endings[stream.ending or GONE] += 1
        return control_frame("bye", stream.ending or GONE)

    async def _run(self, stream: Stream, write: Write) -> None:
        retry_ms = random.randint(_FEWEST_RETRY_MS, _MOST_RETRY_MS)  # noqa: S311  # spreads their return
        await stream.write(write, retry_frame(retry_ms))
        if self.longest_seconds <= 0:
            stream.end(MAX_AGE)
        while stream.ending is None:
            if stream.reset is not None:
                await stream.write(write, control_frame("reset", stream.reset))
                await self._open(stream, None)
            await self._catch_up(stream, write)
            if stream.is_live:
                # In this order, so that pages read the place from the event: a place alone calls no handler.
                await stream.write(write, self._place(stream) + READY)
            while stream.is_live and (frames := await stream.next_frames()):
                await stream.write(write, frames)
            self._broker.detach(stream)

    def close(self) -> None:
        """End all streams, and open no more, because the process stops."""
        self._is_closed = True
        for stream in self._broker.streams:
            stream.end(DRAIN)
        if self._broker.streams:
            asyncio.get_running_loop().call_later(_DRAIN_WRITE_SECONDS, self._give_up_writing)

    async def _catch_up(self, stream: Stream, write: Write) -> None:
        """Send what the stream has missed, then attach it to what happens."""
        while stream.ending is None and stream.reset is None:
            events = self._broker.ring.after(stream.position, _MISSED_AT_ONCE)
            position = None
            if events is None:
                epoch = self._broker.epoch
                assert epoch is not None  # it was opened
                try:
                    missed = await self._reader.read_missed(epoch, stream.position, stream.filters, _MISSED_AT_ONCE)
                except CursorExpiredError as error:
                    stream.restart(error.reason)
                    return
                events, position = read_events(epoch, missed.rows, is_shared=False), missed.position
            elif not events:
                self._broker.attach(stream)
                return
            frames = [event.frame for event in events if stream.admit(event)]
            if position is not None:
                stream.position = position
            self._broker.frames += len(frames)
            for piece in join_frames(frames):
                await stream.write(write, piece)

    def _place(self, stream: Stream) -> bytes:
        assert self._broker.epoch is not None  # it was opened
        return place_frame(self._broker.epoch.write(stream.position))

    def _give_up_writing(self) -> None:
        for stream in list(self._broker.streams):
            stream.give_up_writing(time.monotonic())

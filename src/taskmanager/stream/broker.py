"""Gives the events of the log to the streams of this process, and keeps the last ones for those who come back."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import asyncpg

from taskmanager.errors import DatabaseUnavailableError
from taskmanager.following.positions import START, Epoch, Position
from taskmanager.stream.frames import place_frame, read_events
from taskmanager.stream.log_events import LogEvent, position_of
from taskmanager.stream.ring import Ring
from taskmanager.stream.streams import Stream

_BEGIN_SECONDS: Final = 1.0
# Between two turns of the event loop: a request takes four of them, and to write to a stream takes some 50 us.
_MOST_AT_ONCE: Final = 25
_MOST_BYTES_AT_ONCE: Final = 65_536


class Broker:
    """The audience of the tailer: all streams of this process, by the projects that they may send.

    `position` is the end of what has been read, `turn` is held while events are given out. `frames` and `endings` are
    counted.
    """

    def __init__(self) -> None:
        self.streams = set[Stream]()
        self.ring = Ring()
        self.epoch: Epoch | None = None
        self.position = START
        self.turn = asyncio.Lock()
        self.occupied = asyncio.Event()
        self.frames = 0
        self.endings = Counter[str]()
        self._begun = asyncio.Event()
        self._of_project = defaultdict[int, set[Stream]](set)
        self._of_user = defaultdict[int, set[Stream]](set)

    @property
    def is_present(self) -> bool:
        """Whether there is any stream."""
        return bool(self.streams)

    def count_of(self, user_id: int) -> int:
        """Return how many streams a user has."""
        return len(self._of_user.get(user_id, ()))

    @contextmanager
    def keep(self, stream: Stream) -> Iterator[None]:
        """Keep a stream for the block; it gets nothing before it is attached."""
        user_id = stream.caller.user_id
        self.streams.add(stream)
        self._of_user[user_id].add(stream)
        self.occupied.set()
        try:
            yield
        finally:
            self.detach(stream)
            self.streams.discard(stream)
            self._of_user[user_id].discard(stream)
            if not self._of_user[user_id]:
                del self._of_user[user_id]
            if not self.streams:
                # Nothing is read for an audience of nobody, so what was read is not followed by what will be.
                self.occupied.clear()
                self._begun.clear()
                self.ring.begin(self.position)

    async def find_beginning(self) -> tuple[Epoch, Position]:
        """Return the epoch, and the position behind which everything will be given out.

        Raises:
            DatabaseUnavailableError: The log cannot be followed now.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEGIN_SECONDS):
                await self._begun.wait()
        if not self._begun.is_set() or self.epoch is None:
            raise DatabaseUnavailableError("the event log cannot be followed")
        return self.epoch, self.position

    def begin(self, epoch: Epoch, position: Position) -> None:
        """Learn from where on events will be given; unless that is where they ended, the streams begin again."""
        if self._begun.is_set() and (epoch, position) == (self.epoch, self.position):
            return
        self.ring.begin(position)
        self.epoch, self.position = epoch, position
        if self._begun.is_set():
            for stream in list(self.streams):
                self.detach(stream)
                stream.restart("epoch")
        self._begun.set()

    async def take(self, events: Sequence[asyncpg.Record]) -> None:
        """Give the next events of the log to the streams that may send them, in their order."""
        async with self.turn:
            if not self._begun.is_set() or self.epoch is None:
                return
            found = read_events(self.epoch, events, is_shared=True)
            self.ring.extend(found)
            self.position = position_of(events[-1])
            streams = frame_bytes = 0
            for event in found:
                frame_bytes += len(event.frame)
                for stream in self._concerned(event):
                    self._give(stream, event)
                    streams += 1
                    if streams >= _MOST_AT_ONCE or frame_bytes >= _MOST_BYTES_AT_ONCE:
                        streams = frame_bytes = 0
                        await asyncio.sleep(0)

    def attach(self, stream: Stream) -> None:
        """Give a stream what happens from now on; it has all that the ring has."""
        stream.position = max(stream.position, self.position)
        stream.is_live = True
        for project_id in stream.rights.projects:
            self._of_project[project_id].add(stream)

    def detach(self, stream: Stream) -> None:
        """Give a stream nothing any more."""
        stream.is_live = False
        for project_id in stream.rights.projects:
            self._leave(stream, project_id)

    async def move_on(self, streams: Iterable[Stream]) -> None:
        """Send the present position to those of the streams that have got no event since they were looked at last."""
        async with self.turn:  # everything before the position has been given out
            if self.epoch is None:
                return
            frame = place_frame(self.epoch.write(self.position))
            for number, stream in enumerate(streams, 1):
                if stream.is_live and not stream.has_moved:
                    stream.push(frame)
                stream.has_moved = False
                if number % _MOST_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _concerned(self, event: LogEvent) -> list[Stream]:
        found = [*self._of_project.get(event.project_id, ())]
        for user_id in (event.member_id, event.founder_id):
            if user_id is not None:
                found += [stream for stream in self._of_user.get(user_id, ()) if stream not in found]
        return found

    def _give(self, stream: Stream, event: LogEvent) -> None:
        if not stream.is_live or event.position <= stream.position:
            return
        project_id = event.project_id
        is_sent = stream.admit(event)
        if project_id in stream.rights.projects:
            self._of_project[project_id].add(stream)
        else:
            self._leave(stream, project_id)
        if is_sent:
            self.frames += 1
            stream.has_moved = True
            stream.push(event.frame)

    def _leave(self, stream: Stream, project_id: int) -> None:
        if (streams := self._of_project.get(project_id)) is not None:
            streams.discard(stream)
            if not streams:
                del self._of_project[project_id]

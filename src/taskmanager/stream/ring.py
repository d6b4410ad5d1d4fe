"""The last events of the log that this process has read, for those who come back after a moment."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from taskmanager.following.positions import START, Position
from taskmanager.stream.log_events import LogEvent

MOST_EVENTS: Final = 10_000
MOST_BYTES: Final = 16_777_216
_position: Final = attrgetter("position")


class Ring:
    """Keeps events in their order, `most_events` or `most_bytes` of frames; it has all of them behind `start`."""

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self.start = START
        self.bytes = 0
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: list[LogEvent] = []
        # Those before this place are gone; the list is shortened now and then.
        self._first = 0

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self._events) - self._first

    def begin(self, position: Position) -> None:
        """Forget everything, and keep what comes behind a position."""
        self.start = position
        self.bytes = 0
        self._events = []
        self._first = 0

    def extend(self, events: Iterable[LogEvent]) -> None:
        """Keep the events that follow, and let the oldest go for which there is no room."""
        for event in events:
            self._events.append(event)
            self.bytes += len(event.frame)
        while len(self) > self._most_events or self.bytes > self._most_bytes:
            oldest = self._events[self._first]
            self.start = oldest.position
            self.bytes -= len(oldest.frame)
            self._first += 1
        if self._first > len(self):
            del self._events[: self._first]
            self._first = 0

    def after(self, position: Position, limit: int) -> Sequence[LogEvent] | None:
        """Return the events behind a position, at most `limit`; None if some of them are gone."""
        if position < self.start:
            return None
        place = bisect_right(self._events, position, lo=self._first, key=_position)
        return self._events[place : place + limit]

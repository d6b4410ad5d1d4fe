"""Time as a service should be judged by it: without what a busy machine made the test and the service wait."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

_INTERVAL_SECONDS = 0.02
# Less is how busy a machine is under load, and the service's own doing.
_STALL_SECONDS = 0.1


class Stalls:
    """Notes, while its block runs, how late this loop's sleeps end, and how long a process waits for a processor.

    A service that hangs is not excused: it waits for something else than a processor, and this loop goes on meanwhile.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._due = time.monotonic()
        self._stalled_seconds = 0.0
        self._queued_seconds: float | None = None
        self._noted: list[tuple[float, float]] = []

    async def __aenter__(self) -> Self:
        self._note()
        self._watch = asyncio.create_task(self._keep_noting())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()
        with suppress(asyncio.CancelledError):
            await self._watch

    def seconds(self, begun: float, ended: float | None = None) -> float:
        """Return how long it was from one `time.monotonic()` to another, or to now, without the stalls between."""
        self._note()
        ended = time.monotonic() if ended is None else ended
        before = next((stalled for at, stalled in reversed(self._noted) if at <= begun), 0.0)
        after = next((stalled for at, stalled in self._noted if at >= ended), self._noted[-1][1])
        return ended - begun - (after - before)

    async def _keep_noting(self) -> None:
        while True:
            self._due = time.monotonic() + _INTERVAL_SECONDS
            await asyncio.sleep(_INTERVAL_SECONDS)
            self._note()

    def _note(self) -> None:
        now = time.monotonic()
        late = max(0.0, now - self._due)
        self._due = max(self._due, now)
        stalled = max(late, self._newly_queued())  # both tell of the same moments
        if stalled >= _STALL_SECONDS:
            self._stalled_seconds += stalled
        self._noted.append((now, self._stalled_seconds))

    def _newly_queued(self) -> float:
        # Of an ended process nothing is told any more.
        if self._pid is not None:
            with suppress(OSError):
                queued = int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[1]) / 1e9
                before, self._queued_seconds = self._queued_seconds, queued
                return 0.0 if before is None else queued - before
        return 0.0

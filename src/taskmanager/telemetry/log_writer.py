"""Writes the log's lines in a thread, so that no request ever waits for them.

A reader that stands still fills the pipe of standard output, and a process that writes there blocks. So a thread
writes, from a bounded queue. Standard output cannot be made non-blocking: the shell and others share its open file.
"""

import atexit
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

# Up to this length a write reaches a pipe in one piece, even if others write to it (POSIX, PIPE_BUF on Linux).
WHOLE_BYTES: Final = 4_096
# The queue holds the lines of about 5,000 requests, and the thread as many again: 4 MiB at most.
QUEUE_BYTES: Final = 2 * 1024 * 1024
# Waking a thread costs more than writing a line, so lines that follow each other are collected for this long.
_PAUSE_SECONDS: Final = 0.01
# How much longer the end of a process may take when the reader stands still.
LAST_SECONDS: Final = 1.0


class LogWriter:
    """Writes lines to a descriptor in their order; `dropped` counts those that did not fit or could not be written.

    Its thread starts with the first line of a process. A fork begins with an empty queue: its parent writes what the
    parent has taken.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._describe_gap: Callable[[int], bytes] = lambda _: b""
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.close)

    def _begin(self) -> None:
        self.dropped = 0
        # Reentrant, for a finaliser or a signal's handler that logs in the middle of `write`.
        self._changed = threading.Condition(threading.RLock())
        self._waiting = bytearray()
        self._overflowing = False
        self._gap = 0
        self._has_thread = False
        self._is_idle = False
        self._is_urgent = False
        self._closing_until: float | None = None

    def open(self, descriptor: int, describe_gap: Callable[[int], bytes]) -> None:
        """Write to this descriptor; `describe_gap` returns the line that stands where so many others are missing."""
        self._descriptor = descriptor
        self._describe_gap = describe_gap

    def write(self, lines: bytes) -> None:
        """Take whole lines, the last with its line break, to be written soon; after `close`, wait for that."""
        with self._changed:
            # After a line that does not fit, all others are dropped until the thread takes the queue: one gap.
            if self._overflowing or len(self._waiting) + len(lines) > QUEUE_BYTES:
                self._overflowing = True
                self.dropped += lines.count(b"\n")
                self._gap += lines.count(b"\n")
            else:
                self._waiting += lines
            if not self._has_thread:
                self._has_thread = True  # first, for a finaliser that logs in between
                try:
                    threading.Thread(target=self._run, name="log", daemon=True).start()
                except RuntimeError:  # the system has no thread left; the next line tries again
                    self._has_thread = False
            if self._is_idle:
                self._is_idle = False
                self._changed.notify_all()
        if self._closing_until is not None:
            self.flush(self._closing_until - time.monotonic())

    def flush(self, seconds: float = LAST_SECONDS) -> None:
        """Wait until all lines are written, for so many seconds at most."""
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_idle or not self._has_thread, seconds)
            self._is_urgent = False

    def close(self) -> None:
        """Wait until all lines are written, for one second at most; later lines get the rest of that second."""
        self._closing_until = time.monotonic() + LAST_SECONDS
        self.flush()

    def _run(self) -> None:
        try:
            while True:
                self._write_waiting()
        finally:
            self._has_thread = False

    def _write_waiting(self) -> None:
        with self._changed:
            while not (self._waiting or self._overflowing):
                self._is_idle = True
                self._changed.notify_all()
                self._changed.wait()
            self._is_idle = False
            lines, self._waiting = self._waiting, bytearray()
            gap, self._gap = self._gap, 0
            self._overflowing = False
        lost = sum(piece.count(b"\n") for piece in _pieces(lines) if not self._put(piece))
        is_gap_reported = gap == 0 or self._put(self._describe_gap(gap))
        with self._changed:
            self.dropped += lost
            self._gap += lost if is_gap_reported else lost + gap
            self._changed.wait_for(lambda: self._is_urgent, _PAUSE_SECONDS)

    def _put(self, piece: bytes | bytearray) -> bool:
        left = memoryview(piece)
        try:
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:  # another process has made standard output non-blocking
                    select.select([], [self._descriptor], [])
        except OSError:  # it is closed, or the disk is full: no reason to fail
            return False
        return True


def _pieces(lines: bytearray) -> Iterator[bytearray]:
    # A line that is longer than a piece goes alone.
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + WHOLE_BYTES) + 1 or lines.find(b"\n", start) + 1
        yield lines[start:end]
        start = end

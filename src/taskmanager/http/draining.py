"""The time between SIGTERM and the stop, in which load balancers learn to send requests elsewhere."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import structlog

# One stop may reach a worker twice: by a signal to the whole group, and from its parent half a second later.
_SAME_STOP_SECONDS = 2.0


class Drain:
    """Goes on serving for some seconds after SIGTERM; `started` says that this time has begun.

    `on_start` is called before the server stops, after SIGINT and without any such time too: a server waits for the
    requests that are under way, and those that wait for something have to end.
    """

    def __init__(self, seconds: float) -> None:
        self.started = False
        self.on_start: list[Callable[[], None]] = []
        self._seconds = seconds
        self._started_at = 0.0

    @contextmanager
    def before_exit(self) -> Iterator[None]:
        """While the block runs, let SIGTERM reach the server's own handler only when the drain is over.

        The server closes its sockets as soon as its handler has run. A later SIGTERM, or SIGINT, ends the drain early.
        Nothing happens where no server handles SIGTERM, or outside the main thread.
        """
        stop, interrupt = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(stop):
            yield
            return
        loop = asyncio.get_running_loop()

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            if not self.started:
                self.started = True
                self._started_at = now
                loop.call_soon_threadsafe(self._start, loop, stop)
            elif now - self._started_at >= _SAME_STOP_SECONDS:
                stop(number, frame)

        def on_sigint(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._announce)
            if callable(interrupt):
                interrupt(number, frame)

        signal.signal(signal.SIGTERM, on_sigterm)
        signal.signal(signal.SIGINT, on_sigint)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, interrupt)

    def _start(self, loop: asyncio.AbstractEventLoop, stop: Callable[[int, FrameType | None], Any]) -> None:
        self._announce()
        if self._seconds == 0:
            stop(signal.SIGTERM, None)
            return
        structlog.stdlib.get_logger("taskmanager.drain").info("draining", seconds=self._seconds)
        loop.call_later(self._seconds, stop, signal.SIGTERM, None)

    def _announce(self) -> None:
        for tell in self.on_start:
            tell()

"""The time between SIGTERM and the stop, in which load balancers learn to send requests elsewhere."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

# One stop may reach a worker twice: by a signal to the whole group, and from its parent half a second later.
_SAME_STOP_SECONDS = 2.0


class Drain:
    """Goes on serving for some seconds after SIGTERM; `started` says that this time has begun."""

    def __init__(self, seconds: float) -> None:
        self.started = False
        self._seconds = seconds
        self._started_at = 0.0

    @contextmanager
    def before_exit(self, on_start: Callable[[], None] = lambda: None) -> Iterator[None]:
        """While the block runs, let SIGTERM reach the server's own handler only when the drain is over.

        `on_start` is called when the drain begins.

        The server closes its sockets as soon as its handler has run. A later SIGTERM, or SIGINT, which is left alone,
        ends the drain early. Nothing happens where no server handles SIGTERM, or outside the main thread.
        """
        stop = signal.getsignal(signal.SIGTERM)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if self._seconds == 0 or not in_main_thread or not callable(stop):
            yield
            return
        loop = asyncio.get_running_loop()

        def start() -> None:
            structlog.stdlib.get_logger("taskmanager.drain").info("draining", seconds=self._seconds)
            on_start()
            loop.call_later(self._seconds, stop, signal.SIGTERM, None)

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            if not self.started:
                self.started = True
                self._started_at = now
                loop.call_soon_threadsafe(start)
            elif now - self._started_at >= _SAME_STOP_SECONDS:
                stop(number, frame)

        signal.signal(signal.SIGTERM, on_sigterm)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, stop)

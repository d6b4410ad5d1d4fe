"""Opens database connections, which may take longer than a request may wait for one."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any

import asyncpg

_Opening = asyncio.Task["asyncpg.Connection[asyncpg.Record]"]
_Connect = Callable[..., Coroutine[Any, Any, "asyncpg.Connection[asyncpg.Record]"]]
# A connection that no caller has taken by then is closed, because it may be lost without any sign of it.
_KEEP_SECONDS = 10.0


class ConnectionOpener:
    """Opens the connections of one pool; a caller waits at most `wait_seconds` (None: as long as `connect` does).

    Opening goes on in the background, and the next caller gets that connection or goes on waiting for it. So the pool's
    connections, open or being opened, are never more than its size.
    """

    def __init__(self, connect: _Connect, wait_seconds: float | None) -> None:
        self._connect = connect
        self._wait_seconds = wait_seconds
        self._left = deque[_Opening]()

    async def __call__(self, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a new connection; the options are those of `asyncpg.connect`.

        Raises:
            asyncpg.PostgresError: The server refused the connection.
            OSError: The server cannot be reached, or not in time (TimeoutError).
        """
        opening = self._take_left() or self._open(options)
        try:
            done, _ = await asyncio.wait([opening], timeout=self._wait_seconds)
        except asyncio.CancelledError:
            self._left.append(opening)
            raise
        if not done:
            self._left.append(opening)
            raise TimeoutError("a new connection takes longer than a request may wait for it")
        return opening.result()

    async def close(self) -> None:
        """Close the connections that no caller has taken."""
        left, self._left = self._left, deque()
        for opening in left:
            opening.cancel()
        for result in await asyncio.gather(*left, return_exceptions=True):
            if isinstance(result, asyncpg.Connection):
                result.terminate()

    def _take_left(self) -> _Opening | None:
        while self._left:
            opening = self._left.popleft()
            if not opening.done() or not opening.result().is_closed():
                return opening
        return None

    def _open(self, options: dict[str, Any]) -> _Opening:
        # A task and a context of its own, so that a cancelled request does not cancel it.
        opening = asyncio.get_running_loop().create_task(self._connect(**options), context=Context())
        opening.add_done_callback(self._on_end)
        return opening

    def _on_end(self, opening: _Opening) -> None:
        if opening.cancelled() or opening.exception() is not None:
            with suppress(ValueError):
                self._left.remove(opening)
        else:
            opening.get_loop().call_later(_KEEP_SECONDS, self._close_left, opening)

    def _close_left(self, opening: _Opening) -> None:
        if opening in self._left:
            self._left.remove(opening)
            opening.result().terminate()

"""Opens what must not be left half open when the request that waits for it is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
# The event loop itself keeps no task alive.
_background = set[asyncio.Task[Any]]()


async def open_completely(opening: Coroutine[Any, Any, _T], close: Callable[[_T], Awaitable[None]]) -> _T:
    """Return what the coroutine opens.

    If the caller is cancelled, opening goes on in the background, and what was opened is closed. Otherwise a connection
    whose types SQLAlchemy is just setting up would be lost without being closed.
    """
    task = asyncio.get_running_loop().create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        closing = asyncio.get_running_loop().create_task(_close(task, close))
        _background.add(closing)
        closing.add_done_callback(_background.discard)
        raise


async def _close(task: asyncio.Task[_T], close: Callable[[_T], Awaitable[None]]) -> None:
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        await close(task.result())

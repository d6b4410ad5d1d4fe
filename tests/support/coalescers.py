"""Requests to a coalescer, and what it ran."""

import asyncio
from collections.abc import Callable, Sequence

from taskmanager.database.database import SharedConnection
from taskmanager.database.sharing import Coalescer


class Statements:
    """What a coalescer ran: the items of each statement; the first waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def run(self, _: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        """Double each item, but leave negative ones alone."""
        self.batches.append(list(items))
        await self.go_on.wait()
        return [None if item < 0 else 2 * item for item in items]


def ask(coalescer: Coalescer[int, int], item: int) -> asyncio.Task[int | None]:
    """Submit an item; the task returns its answer."""

    async def answer() -> int | None:
        return await coalescer.enqueue(item).answer

    return asyncio.create_task(answer())


async def echo(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
    """Answer each item with itself."""
    return items


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

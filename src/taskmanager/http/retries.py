"""Repeats work whose transaction lost against others."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError

from taskmanager.database.driver_errors import sqlstate_of

_T = TypeVar("_T")
# Serialisation failure, deadlock.
_LOST_TO_OTHERS: Final = frozenset({"40001", "40P01"})
_TRIES: Final = 3


async def retry_lost(work: Callable[[], Awaitable[_T]], *, may_retry: Callable[[], bool] = lambda: True) -> _T:
    """Return the result of `work`, tried up to three times if PostgreSQL rolls it back in favour of others.

    It has then been rolled back as a whole, so nothing is done twice.
    """
    for attempt in range(1, _TRIES):
        try:
            return await work()
        except (DBAPIError, asyncpg.PostgresError) as error:
            if sqlstate_of(error) not in _LOST_TO_OTHERS or not may_retry():
                raise
        await asyncio.sleep(random.uniform(0.005, 0.02) * 4**attempt)  # noqa: S311  # no secret
    return await work()

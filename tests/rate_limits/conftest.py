"""Fixtures of the tests in this folder."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskmanager.database.database import Database
from taskmanager.rate_limits.limiter import RateLimiter
from tests.conftest import make_settings
from tests.support.limiters import KINDS, NewLimiter


@pytest.fixture
async def new_limiter(database: Database, database_url: str) -> AsyncIterator[NewLimiter]:
    """Make limiters of one database, each as in a process of its own: `new_limiter(user=100)`."""
    limiters: list[RateLimiter] = []

    def make(url: str = database_url, **options: Any) -> RateLimiter:
        limits = {f"rate_limit_{k}_per_minute": options.pop(k) for k in list(options) if k in KINDS}
        limiters.append(RateLimiter(make_settings(database_url=url, **limits), **options))
        return limiters[-1]

    yield make
    for limiter in limiters:
        await limiter.dispose()

"""What the tests of several files in tests/rate_limits share: limiters."""

import asyncio
import time
from collections.abc import Callable

from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.rate_limits.policies import Decision, Key

ALICE: Key = ("user", 1)


ADDRESS: Key = ("anonymous", "192.0.2.1")


LOGIN: Key = ("login", "alice 192.0.2.1")


LOGINS: Key = ("login-address", "192.0.2.1")


NewLimiter = Callable[..., RateLimiter]


KINDS = {"user", "anonymous", "login", "login_address"}


class Clock:
    """The clock of a process, that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


async def decide(limiter: RateLimiter, key: Key) -> Decision:
    """Do what a request does."""
    return limiter.try_take(key) or await limiter.take(key)


async def admitted(limiter: RateLimiter, key: Key, requests: int) -> int:
    """Make requests one after the other and return how many were admitted."""
    return sum([(await decide(limiter, key)).admitted for _ in range(requests)])


async def settled(limiter: RateLimiter) -> None:
    """Wait until a limiter has done all that it was asked for."""
    if limiter._source._asking is not None:
        await asyncio.wait([limiter._source._asking])

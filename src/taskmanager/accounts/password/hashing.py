"""Password hashes: argon2id in a small pool of threads, so that logins cannot starve other requests."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

from taskmanager.accounts.password.rules import MAX_CHARACTERS, normal_password
from taskmanager.errors import OverloadedError

_T = TypeVar("_T")
# OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
_ARGON2 = Argon2(time_cost=2, memory_cost=19_456, parallelism=1)
# For accounts that are nobody's: cracked in no time.
_CHEAP_ARGON2 = Argon2(time_cost=1, memory_cost=8, parallelism=1)
_HASHING_NICENESS = 10


def _yield_to_requests() -> None:
    # On Linux a thread has a priority of its own: hashing takes what the event loop leaves of the cores.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + _HASHING_NICENESS)


class Verdict(NamedTuple):
    """Whether a password matches, and whether its hash should be made anew."""

    matches: bool
    is_outdated: bool = False


class PasswordHasher:
    """Hashes and verifies passwords off the event loop, with a bounded queue.

    At most `turns` requests with a password run at the same time, by default one for each thread. More would keep the
    threads busier and delay reads.
    """

    def __init__(self, *, threads: int, queue: int, turns: int | None = None) -> None:
        self._is_cheap = False
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="password", initializer=_yield_to_requests)
        self._capacity = threads + queue
        self._free = self._capacity
        self._turns = asyncio.Semaphore(turns or threads)
        self._free_turns = self._capacity
        self._entrance = asyncio.Lock()
        self._at_entrance = 0

    def cheapen(self) -> None:
        """Make hashes that protect nothing from now on, for accounts that are nobody's."""
        self._is_cheap = True

    @property
    def _argon2(self) -> Argon2:
        return _CHEAP_ARGON2 if self._is_cheap else _ARGON2

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Let the block run when one of the `turns` is free.

        It holds the statements around the hashing too, so that a burst of logins never takes all connections. All
        requests wait in one queue, so that none is overtaken by later ones.

        Raises:
            OverloadedError: Too many are waiting.
        """
        if self._free_turns <= 0:
            raise OverloadedError("logins")
        self._free_turns -= 1
        try:
            await self._turns.acquire()
            started = time.monotonic()
            try:
                yield
            finally:
                # While others wait, the core is left to other requests for as long as this one had it.
                rest = time.monotonic() - started if self._turns.locked() and self._has_company else 0.0
                asyncio.get_running_loop().call_later(rest, self._turns.release)
        finally:
            self._free_turns += 1

    @property
    def _has_company(self) -> bool:
        return self._capacity - self._free_turns > 1

    async def enter(self) -> None:
        """Start at most one login per two event-loop iterations, so that a burst does not delay other requests.

        Raises:
            OverloadedError: Too many are waiting.
        """
        if self._at_entrance >= self._free_turns:
            raise OverloadedError("logins")
        self._at_entrance += 1
        try:
            async with self._entrance:
                await asyncio.sleep(0)
        finally:
            self._at_entrance -= 1

    async def hash(self, password: str) -> str:
        """Return a salted hash of the password, in its normal form.

        Raises:
            OverloadedError: The queue is full.
        """
        return await self._run(lambda: self._argon2.hash(normal_password(password)))

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """Return whether the password matches; without a stored hash it takes the same time and does not.

        A password that its normal form changes is also tried as it came: older versions hashed it so.

        Raises:
            OverloadedError: The queue is full.
        """
        return await self._run(lambda: self._verify(password, stored))

    @property
    def pending(self) -> int:
        """How many requests with a password run or wait; at `threads` + `queue` logins are refused."""
        return min(self._capacity, self._capacity - self._free_turns + self._at_entrance)

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password: str, stored: str | None) -> Verdict:
        normal = normal_password(password)
        for one in dict.fromkeys((normal, password)):
            # No longer password is ever stored; that it is too long takes as long to find out as that it is wrong.
            if self._matches(one[:MAX_CHARACTERS], stored) and stored is not None and len(one) <= MAX_CHARACTERS:
                is_written_otherwise = one != normal and len(normal) <= MAX_CHARACTERS
                return Verdict(
                    matches=True, is_outdated=is_written_otherwise or self._argon2.check_needs_rehash(stored)
                )
        return Verdict(matches=False)

    def _matches(self, password: str, stored: str | None) -> bool:
        if stored is None:
            self._argon2.hash(password)
            return False
        try:
            return self._argon2.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._free <= 0:
            raise OverloadedError("logins")
        self._free -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._free += 1

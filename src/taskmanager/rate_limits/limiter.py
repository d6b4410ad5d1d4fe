"""Rate limits that hold across all processes, without a write for each request.

The truth is one row per key in PostgreSQL. A process takes permits from it in leases, a fiftieth of the limit at a
time, and spends them in memory. Leased permits count as spent, so no more than the limit is ever admitted; unspent ones
may make it less, by one lease and the permits put back for each process. Where the limit is small a lease is one
permit, and the limit is exact. A process also remembers that a key has nothing left, and asks no more about it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from taskmanager.rate_limits.asking import PermitSource
from taskmanager.rate_limits.leases import Leases
from taskmanager.rate_limits.policies import UNLIMITED, WINDOW_SECONDS, Decision, Key, policies_of
from taskmanager.settings import Settings

__all__ = ["Decision", "Key", "RateLimiter", "Reservation"]


class Reservation(NamedTuple):
    """Permits that can be given back; or, if one of the limits had none left, its decision."""

    held: list[tuple[Key, datetime]]
    refusal: Decision | None


class RateLimiter:
    """Admits requests; one per process, over a database connection of its own.

    With its own connection it works when all others are busy, which is when limits matter.
    `failures` counts requests that were admitted ("open") or refused ("closed") because the database did not answer.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        window_seconds: float = WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = {"open": 0, "closed": 0}
        self._clock = clock
        self._policies = policies_of(settings)
        self._leases = Leases()
        self._source = PermitSource(settings, self._policies, self._leases, window_seconds=window_seconds, clock=clock)

    async def start(self) -> None:
        """Open the connection and prepare the statement, so that the first request need not wait for that."""
        if any(policy.limit for policy in self._policies.values()):
            await self._source.prepare()

    def try_take(self, key: Key) -> Decision | None:
        """Decide on a request from what is known here; None if the database has to be asked, by `take`."""
        lease = self._leases.get(key)
        if lease is None:
            return None if self._policies[key[0]].limit else UNLIMITED
        return lease.spend(self._clock())

    async def take(self, key: Key) -> Decision:
        """Decide on a request; if the database does not answer in time it is admitted."""
        decision = self.try_take(key)
        if decision is not None:
            return decision
        try:
            return await self._source.ask(key)
        except OSError:
            self.failures["open"] += 1
            return UNLIMITED

    def put_back(self, key: Key, decision: Decision) -> None:
        """Take back a permit that was admitted by `take` or `try_take` and not used, for the next request here."""
        lease = self._leases.get(key)
        if lease is not None and lease.resets_at == decision.resets_at:
            lease.permits += 1

    async def reserve(self, *keys: Key) -> Reservation:
        """Take a permit of each key, or of none, to be given back unless what it is for goes wrong.

        Raises:
            OSError: The database did not answer in time, so that nobody knows what is left.
        """
        limited = [key for key in keys if self._policies[key[0]].limit]
        answers = await asyncio.gather(*(self._source.ask(key) for key in limited), return_exceptions=True)
        decisions = [(key, one) for key, one in zip(limited, answers, strict=True) if isinstance(one, Decision)]
        held = [(key, one.resets_at) for key, one in decisions if one.admitted and one.resets_at]
        refusals = [one for _, one in decisions if not one.admitted]
        failure = next((one for one in answers if isinstance(one, BaseException)), None)
        if failure is None and not refusals:
            return Reservation(held, None)
        await self.give_back(held)
        if failure is not None:
            self.failures["closed"] += 1
            raise failure
        return Reservation([], max(refusals, key=lambda refusal: refusal.reset_seconds))

    async def give_back(self, held: Iterable[tuple[Key, datetime]]) -> None:
        """Return reserved permits; if the database does not answer they stay taken until the window ends."""
        await self._source.give_back(held)

    def forget(self) -> None:
        """Forget what this process may still spend: what the database had of it is gone."""
        self._leases.clear()

    async def dispose(self) -> None:
        """Stop asking and close the connection."""
        await self._source.close()

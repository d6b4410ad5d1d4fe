"""Rate limits that hold across all processes, without a write for each request.

The truth is one row per key in PostgreSQL. A process takes permits from it in leases, a fiftieth of the limit at a
time, and spends them in memory. Permits that are leased count as spent, so no more than the limit is ever admitted;
what processes hold unspent may make it less, by one lease each and what was put back. Where the limit is small a lease
is one permit, and the limit exact. That a key has nothing left is remembered too: nothing more is asked about it here.

Requests that find no permit while a statement is under way wait for the next one, which is for all of them together.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from datetime import datetime
from itertools import chain, islice
from math import ceil
from typing import Final, Literal, NamedTuple

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import REQUEST_CONNECT_SECONDS, Database
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.rate_limits.repository import Demand, Grant, PermitRepository
from taskmanager.settings import Settings

WINDOW_SECONDS: Final = 60
LEASES_PER_LIMIT: Final = 50
# The longest that a request waits for a permit. A statement may take longer: the next requests have what it brings.
_PATIENCE_SECONDS = 0.25
_STATEMENT_MS = 500
_ANSWER_SECONDS = 1.0
_BACK_OFF_SECONDS = 1.0
_KEYS_PER_STATEMENT = 500
_MOST_LEASES = 100_000
_PURGE_SECONDS = 10.0
_PURGED_ROWS = 5_000
_SILENT = "the database does not tell what is left of the rate limits"
_UNAVAILABLE = (
    *(DBAPIError, PoolTimeoutError, OSError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)

Kind = Literal["user", "anonymous", "login", "login-address", "password"]
# What is limited, and for whom: ("user", 42), ("anonymous", "192.0.2.1").
Key = tuple[Kind, int | str]


class Policy:
    """A limit: its name and how many permits a window has, 0 for any number."""

    __slots__ = ("header", "lease", "limit", "state")

    def __init__(self, name: str, limit: int, *, leased: bool) -> None:
        self.limit = limit
        # Without leases each permit is asked for by itself, and can be given back.
        self.lease = max(limit // LEASES_PER_LIMIT, 1) if leased else 0
        self.header = f'"{name}";q={limit};w={WINDOW_SECONDS}'.encode()
        self.state = f'"{name}";r=%d;t=%d'.encode()


class Decision(NamedTuple):
    """Whether a request is admitted, what its caller has left in this window as far as known here, and its end."""

    admitted: bool
    policy: Policy
    remaining: int
    reset_seconds: int
    resets_at: datetime | None

    @property
    def limit(self) -> int:
        """Permits in a window; 0 is no limit."""
        return self.policy.limit

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), if there is a limit."""
        if not self.policy.limit:
            return []
        state = self.policy.state % (self.remaining, self.reset_seconds)
        return [(b"ratelimit-policy", self.policy.header), (b"ratelimit", state)]


UNLIMITED: Final = Decision(True, Policy("default", 0, leased=True), 0, 0, None)


class Reservation(NamedTuple):
    """Permits that can be given back; or, if one of the limits had none left, what it said."""

    held: list[tuple[Key, datetime]]
    refusal: Decision | None


class _Lease:
    """Permits of a key that this process may still spend until the window ends, and those left for the others."""

    __slots__ = ("expires_at", "permits", "policy", "remaining", "resets_at")

    def __init__(self, policy: Policy, resets_at: datetime) -> None:
        self.policy = policy
        self.resets_at = resets_at
        self.permits = 0
        self.remaining = 0
        self.expires_at = 0.0

    def spend(self, now: float) -> Decision | None:
        """Spend a permit, or refuse; None where the database has to be asked."""
        seconds = self.expires_at - now
        if seconds <= 0:
            return None
        admitted = self.permits > 0
        if admitted:
            self.permits -= 1
        elif self.remaining > 0:
            return None
        return Decision(admitted, self.policy, self.permits + self.remaining, ceil(seconds), self.resets_at)


_Waiting = asyncio.Future[Decision | None]


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
        self._policies: dict[Kind, Policy] = {
            "user": Policy("default", settings.rate_limit_user_per_minute, leased=True),
            "anonymous": Policy("default", settings.rate_limit_anonymous_per_minute, leased=True),
            "login": Policy("login", settings.rate_limit_login_per_minute, leased=False),
            "login-address": Policy("login", settings.rate_limit_login_address_per_minute, leased=False),
            "password": Policy("login", settings.rate_limit_login_per_minute, leased=False),
        }
        self._window_seconds = window_seconds
        self._clock = clock
        self._database = Database(
            settings.model_copy(
                update={
                    "database_pool_wait_seconds": _ANSWER_SECONDS,
                    "database_statement_timeout_ms": _STATEMENT_MS,
                    "database_command_timeout_seconds": _ANSWER_SECONDS,
                }
            ),
            connect_wait_seconds=REQUEST_CONNECT_SECONDS,
        )
        self._connections = SharedConnections(self._database, 1)
        # In the order in which their windows end, more or less: all last equally long.
        self._leases: dict[Key, _Lease] = {}
        self._waiting: dict[Key, list[_Waiting]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._asked_at: float | None = None
        self._ask_again_at = 0.0
        self._warn_again_at = 0.0
        self._purge_at = 0.0

    async def start(self) -> None:
        """Open the connection and prepare the statement, so that the first request need not wait for that."""
        if any(policy.limit for policy in self._policies.values()):
            try:
                await self._purge()
                async with self._connections.lend() as connection:
                    await PermitRepository(connection).take([], window_seconds=self._window_seconds)
            except _UNAVAILABLE as error:
                self._back_off(error)

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
            return await self._ask(key)
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
        answers = await asyncio.gather(*(self._ask(key) for key in limited), return_exceptions=True)
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
        permits = [(_text(key), resets_at) for key, resets_at in held]
        if not permits:
            return
        try:
            async with self._connections.lend() as connection:
                await PermitRepository(connection).give_back(permits)
        except _UNAVAILABLE as error:
            self._back_off(error)

    async def dispose(self) -> None:
        """Stop asking and close the connection."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._connections.close()
        await self._database.dispose()

    async def _ask(self, key: Key) -> Decision:
        now = self._clock()
        if now < self._ask_again_at or (self._asked_at is not None and now > self._asked_at + _PATIENCE_SECONDS):
            raise ConnectionError(_SILENT)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    waiting: _Waiting = loop.create_future()
                    self._waiting.setdefault(key, []).append(waiting)
                    if self._asking is None:
                        # In a context of its own: the time it takes is not that of the request that began it.
                        self._asking = loop.create_task(self._answer_all(), context=Context())
                    if (decision := await waiting) is not None:
                        return decision
        except TimeoutError as error:
            self._warn(error)
            raise

    async def _answer_all(self) -> None:
        # A task of its own: a request that is cancelled must not take along those that wait with it.
        batch: dict[Key, list[_Waiting]] = {}
        try:
            while self._waiting:
                batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, _KEYS_PER_STATEMENT))}
                await self._answer(batch)
        except _UNAVAILABLE as error:
            self._back_off(error)
        finally:
            # All have their answers, unless this ends by an error.
            for one in chain(*batch.values(), *self._waiting.values()):
                if not one.done():
                    one.set_exception(ConnectionError(_SILENT))
            self._waiting = {}
            self._asked_at = None
            self._asking = None

    async def _answer(self, batch: dict[Key, list[_Waiting]]) -> None:
        demands: dict[Key, Demand] = {}
        for key, waiting in batch.items():
            # What came after the last statement was sent may be served by what that one brought.
            if count := sum(not one.done() and not self._serve(key, one) for one in waiting):
                policy = self._policies[key[0]]
                demands[key] = Demand(_text(key), max(count, policy.lease), policy.limit)
        if not demands:
            return
        # The window ends that many seconds after the statement ran; counted from before, none is spent too late.
        self._asked_at = asked_at = self._clock()
        async with self._connections.lend() as connection:
            grants = await PermitRepository(connection).take(
                list(demands.values()), window_seconds=self._window_seconds
            )
        self._asked_at = None
        self._ask_again_at = 0.0
        unclaimed: list[tuple[Key, datetime]] = []
        for key, demand in demands.items():
            unclaimed += self._hand_out(key, grants[demand.key], asked_at, batch[key])
        await self.give_back(unclaimed)
        self._forget_ended(self._clock())
        if asked_at >= self._purge_at:
            await self._purge()

    def _serve(self, key: Key, waiting: _Waiting) -> bool:
        decision = self.try_take(key)
        if decision is not None:
            waiting.set_result(decision)
        return decision is not None

    async def _purge(self) -> None:
        async with self._connections.lend() as connection:
            purged = await PermitRepository(connection).purge(_PURGED_ROWS)
        if purged < _PURGED_ROWS:
            self._purge_at = self._clock() + _PURGE_SECONDS

    def _hand_out(self, key: Key, grant: Grant, asked_at: float, waiting: list[_Waiting]) -> list[tuple[Key, datetime]]:
        """Return the permits that came too late for all who waited, unless they are kept here for the next ones."""
        lease = self._leases.get(key)
        if lease is None or lease.resets_at != grant.resets_at:
            policy = self._policies[key[0]]
            lease = _Lease(policy, grant.resets_at)
            if policy.lease:
                self._leases.pop(key, None)
                self._leases[key] = lease
        lease.permits += grant.permits
        lease.remaining = grant.remaining
        lease.expires_at = asked_at + grant.seconds
        now = self._clock()
        for one in waiting:
            if not one.done():
                one.set_result(lease.spend(now))
        return [] if lease.policy.lease else [(key, grant.resets_at)] * lease.permits

    def _forget_ended(self, now: float) -> None:
        # One that is forgotten too early only loses its permits.
        while self._leases:
            oldest = next(iter(self._leases))
            if self._leases[oldest].expires_at > now and len(self._leases) <= _MOST_LEASES:
                break
            del self._leases[oldest]

    def _back_off(self, error: Exception) -> None:
        self._warn(error)
        self._ask_again_at = self._clock() + _BACK_OFF_SECONDS

    def _warn(self, error: Exception) -> None:
        now = self._clock()
        if now >= self._warn_again_at:
            self._warn_again_at = now + _BACK_OFF_SECONDS
            cause = f"{type(error).__name__}: {error}"[:300]
            structlog.stdlib.get_logger("taskmanager.rate_limits").warning("rate limits unavailable", cause=cause)


def _text(key: Key) -> str:
    return f"{key[0]} {key[1]}"

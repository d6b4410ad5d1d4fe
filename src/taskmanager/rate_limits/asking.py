"""Asks the database for permits: one statement at a time, for all requests that wait for one.

Requests that find no permit while a statement is under way wait for the next one. They do not use a `Coalescer`,
because the permits of one request's statement may serve the requests behind it, a permit whose request gave up goes
back, and a database that does not answer is not asked again for a second.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from datetime import datetime
from itertools import chain, islice

import structlog

from taskmanager.database.database import REQUEST_CONNECT_SECONDS, Database
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.rate_limits.leases import Leases
from taskmanager.rate_limits.policies import Decision, Key, Kind, Policy
from taskmanager.rate_limits.repository import Demand, Grant, PermitRepository
from taskmanager.settings import Settings

# How long a request waits for a permit. A statement may take longer: its permits then serve the next requests.
_PATIENCE_SECONDS = 0.25
_STATEMENT_MS = 500
_ANSWER_SECONDS = 1.0
_BACK_OFF_SECONDS = 1.0
_KEYS_PER_STATEMENT = 500
_PURGE_SECONDS = 10.0
_PURGED_ROWS = 5_000
_SILENT = "the database does not answer what is left of the rate limits"

_Waiting = asyncio.Future[Decision | None]


class PermitSource:
    """Takes permits from the database over a connection of its own and keeps what is left over in `leases`."""

    def __init__(
        self,
        settings: Settings,
        policies: Mapping[Kind, Policy],
        leases: Leases,
        *,
        window_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policies = policies
        self._leases = leases
        self._window_seconds = window_seconds
        self._clock = clock
        self._database = Database(
            settings,
            connect_wait_seconds=REQUEST_CONNECT_SECONDS,
            limits={
                "database_pool_wait_seconds": _ANSWER_SECONDS,
                "database_statement_timeout_ms": _STATEMENT_MS,
                "database_command_timeout_seconds": _ANSWER_SECONDS,
            },
        )
        self._connections = SharedConnections(self._database, limit=1)
        self._waiting: dict[Key, list[_Waiting]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._asked_at: float | None = None
        self._ask_again_at = 0.0
        self._warn_again_at = 0.0
        self._purge_at = 0.0

    async def prepare(self) -> None:
        """Open the connection and prepare the statement, so that the first request need not wait for that."""
        try:
            await self._purge()
            async with self._connections.lend() as connection:
                await PermitRepository(connection).take([], window_seconds=self._window_seconds)
        except DATABASE_ERRORS as error:
            self._back_off(error)

    async def ask(self, key: Key) -> Decision:
        """Decide on a request by what the database has left of a limited key.

        Raises:
            OSError: The database did not answer in time.
        """
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
                        # In a context of its own, so that its time is not added to the request that began it.
                        self._asking = loop.create_task(self._answer_all(), context=Context())
                    if (decision := await waiting) is not None:
                        return decision
        except TimeoutError as error:
            self._warn(error)
            raise

    async def give_back(self, held: Iterable[tuple[Key, datetime]]) -> None:
        """Return reserved permits; if the database does not answer they stay taken until the window ends."""
        permits = [(_text(key), resets_at) for key, resets_at in held]
        if not permits:
            return
        try:
            async with self._connections.lend() as connection:
                await PermitRepository(connection).give_back(permits)
        except DATABASE_ERRORS as error:
            self._back_off(error)

    async def close(self) -> None:
        """Stop asking and close the connection."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._connections.close()
        await self._database.dispose()

    async def _answer_all(self) -> None:
        # A task of its own, so that a cancelled request does not cancel those that wait with it.
        batch: dict[Key, list[_Waiting]] = {}
        try:
            while self._waiting:
                batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, _KEYS_PER_STATEMENT))}
                await self._answer(batch)
        except DATABASE_ERRORS as error:
            self._back_off(error)
        finally:
            # After an error some requests still have no answer.
            for one in chain(*batch.values(), *self._waiting.values()):
                if not one.done():
                    one.set_exception(ConnectionError(_SILENT))
            self._waiting = {}
            self._asked_at = None
            self._asking = None

    async def _answer(self, batch: dict[Key, list[_Waiting]]) -> None:
        demands: dict[Key, Demand] = {}
        for key, waiting in batch.items():
            # The last statement's permits may serve requests that arrived after it was sent.
            if count := sum(not one.done() and not self._serve(key, one) for one in waiting):
                policy = self._policies[key[0]]
                demands[key] = Demand(_text(key), max(count, policy.lease), policy.limit)
        if not demands:
            return
        # The window ends that many seconds after the statement ran. Counting from before it spends no permit too late.
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
        self._leases.forget_ended(self._clock())
        if asked_at >= self._purge_at:
            await self._purge()

    def _serve(self, key: Key, waiting: _Waiting) -> bool:
        lease = self._leases.get(key)
        decision = None if lease is None else lease.spend(self._clock())
        if decision is not None:
            waiting.set_result(decision)
        return decision is not None

    async def _purge(self) -> None:
        async with self._connections.lend() as connection:
            purged = await PermitRepository(connection).purge(_PURGED_ROWS)
        if purged < _PURGED_ROWS:
            self._purge_at = self._clock() + _PURGE_SECONDS

    def _hand_out(self, key: Key, grant: Grant, asked_at: float, waiting: list[_Waiting]) -> list[tuple[Key, datetime]]:
        """Return the permits that came too late for every request, unless they are kept here for the next ones."""
        lease = self._leases.receive(key, self._policies[key[0]], grant, asked_at + grant.seconds)
        now = self._clock()
        for one in waiting:
            if not one.done():
                one.set_result(lease.spend(now))
        return [] if lease.policy.lease else [(key, grant.resets_at)] * lease.permits

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

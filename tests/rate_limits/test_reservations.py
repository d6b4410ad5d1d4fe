"""Permits that can be given back."""

import asyncio
from random import Random

import pytest

from taskmanager.database.database import Database
from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.rate_limits.policies import UNLIMITED, Key
from tests.support.limiters import ALICE, LOGIN, LOGINS, NewLimiter, admitted, decide
from tests.support.rows import fetch_all

pytestmark = pytest.mark.usefixtures("patient_limiter")


class TestPuttingBack:
    """A permit that was not used after all."""

    async def test_it_is_for_the_next_request_of_the_same_window(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(user=2, window_seconds=0.5)
        first = await decide(limiter, ALICE)
        assert (await decide(limiter, ALICE)).remaining == 0
        assert not (await decide(limiter, ALICE)).admitted
        limiter.put_back(ALICE, first)
        assert [(await decide(limiter, ALICE)).admitted for _ in range(2)] == [True, False]
        await asyncio.sleep(0.55)
        assert await admitted(limiter, ALICE, 1) == 1
        limiter.put_back(ALICE, first)
        assert await admitted(limiter, ALICE, 3) == 1

    async def test_without_a_limit_there_is_nothing_to_put_back(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter()
        limiter.put_back(ALICE, UNLIMITED)
        assert limiter.try_take(ALICE) is UNLIMITED


class TestReservations:
    """Permits that come back unless what they were for went wrong."""

    async def test_no_more_are_held_at_once_than_there_are(self, new_limiter: NewLimiter) -> None:
        limiters = [new_limiter(login=10, login_address=1_000) for _ in range(4)]
        reservations = await asyncio.gather(*(limiters[n % 4].reserve(LOGIN, LOGINS) for n in range(40)))
        held = [reservation for reservation in reservations if reservation.refusal is None]
        assert len(held) == 10
        for one in held[:3]:
            await limiters[0].give_back(one.held)
        again = [await limiters[1].reserve(LOGIN, LOGINS) for _ in range(5)]
        assert [reservation.refusal is None for reservation in again] == [True] * 3 + [False] * 2

    async def test_all_or_none(self, new_limiter: NewLimiter, database: Database) -> None:
        limiter = new_limiter(login=10, login_address=2)
        other: Key = ("login", "bob 192.0.2.1")
        for key in (LOGIN, LOGIN, other, other, LOGIN):
            await limiter.reserve(key, LOGINS)
        rows = {row["key"]: row["used"] for row in await fetch_all(database, "SELECT key, used FROM rate_limits")}
        assert rows == {"login alice 192.0.2.1": 2, "login bob 192.0.2.1": 0, "login-address 192.0.2.1": 2}

    async def test_a_permit_of_an_ended_window_does_not_come_back_into_the_next(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(login=2, window_seconds=0.3)
        first = await limiter.reserve(LOGIN)
        await asyncio.sleep(0.35)
        assert [(await limiter.reserve(LOGIN)).refusal is None for _ in range(2)] == [True, True]
        await limiter.give_back(first.held)
        assert (await limiter.reserve(LOGIN)).refusal is not None

    async def test_two_processes_that_take_and_give_back_never_wait_for_each_other(
        self, new_limiter: NewLimiter
    ) -> None:
        limiters = [new_limiter(login=1_000, login_address=1_000) for _ in range(4)]
        keys: list[Key] = [LOGINS, LOGIN, ("login", "bob 192.0.2.1"), ("login", "carol 192.0.2.1")]

        async def log_in_and_out(limiter: RateLimiter, seed: int) -> None:
            random = Random(seed)
            for _ in range(50):
                reservation = await limiter.reserve(*random.sample(keys, 3))
                assert reservation.refusal is None
                await limiter.give_back(random.sample(reservation.held, 3))

        await asyncio.gather(*(log_in_and_out(limiters[n % 4], n) for n in range(8)))
        assert all(limiter.failures == {"open": 0, "closed": 0} for limiter in limiters)
        assert [(await limiters[0].reserve(key)).refusal for key in keys] == [None] * 4

"""Without the database requests go on and logins do not, and it is left in peace."""

import asyncio
import time
from typing import Any

import pytest

from taskmanager.database.database import Database
from taskmanager.rate_limits.policies import UNLIMITED
from taskmanager.rate_limits.repository import Grant, PermitRepository
from tests.support.databases import refusing_url, silent_url
from tests.support.limiters import ADDRESS, ALICE, LOGIN, LOGINS, Clock, NewLimiter, admitted, decide, settled
from tests.support.rows import fetch_all
from tests.support.stalls import Stalls


class TestDatabaseDown:
    """Requests go on, logins do not; and a dead database is left in peace."""

    async def test_a_permit_that_came_too_late_is_given_back(
        self, new_limiter: NewLimiter, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take = PermitRepository.take

        async def take_long(*arguments: Any, **options: Any) -> dict[str, Grant]:
            grants = await take(*arguments, **options)
            await asyncio.sleep(0.4)
            return grants

        monkeypatch.setattr(PermitRepository, "take", take_long)
        limiter = new_limiter(login=10, login_address=30)
        for answer in await asyncio.gather(*(limiter.reserve(LOGIN, LOGINS) for _ in range(3)), return_exceptions=True):
            assert isinstance(answer, TimeoutError)
        await settled(limiter)
        rows = await fetch_all(database, "SELECT used FROM rate_limits")
        assert [row["used"] for row in rows] == [0, 0]
        assert limiter.failures["closed"] == 3

    async def test_open_for_requests_and_closed_for_reservations(
        self, new_limiter: NewLimiter, database_url: str
    ) -> None:
        limiter = new_limiter(refusing_url(database_url), user=5, login=5)
        await limiter.start()
        assert [await limiter.take(ALICE) for _ in range(20)] == [UNLIMITED] * 20
        with pytest.raises(OSError, match="rate limits"):
            await limiter.reserve(LOGIN)
        assert limiter.failures == {"open": 20, "closed": 1}

    async def test_a_silent_one_holds_a_request_up_once_a_second(
        self, new_limiter: NewLimiter, database_url: str
    ) -> None:
        async with silent_url(database_url) as url, Stalls() as stalls:
            limiter = new_limiter(url, user=5, login=5)
            begun = time.monotonic()
            await asyncio.gather(*(limiter.take(("user", number)) for number in range(50)))
            assert time.monotonic() - begun > 0.2
            assert stalls.seconds(begun) < 1
            begun = time.monotonic()
            await asyncio.gather(*(limiter.take(("user", number)) for number in range(50)))
            with pytest.raises(OSError, match="rate limits"):
                await limiter.reserve(LOGIN)
            assert stalls.seconds(begun) < 0.2
            assert limiter.failures == {"open": 100, "closed": 1}

    @pytest.mark.usefixtures("patient_limiter")
    async def test_it_is_asked_again_after_a_second(
        self, new_limiter: NewLimiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        limiter = new_limiter(user=1, clock=clock)
        calls = 0

        async def refuse(*_: Any, **__: Any) -> dict[str, Grant]:
            nonlocal calls
            calls += 1
            raise ConnectionResetError

        with monkeypatch.context() as patch:
            patch.setattr(PermitRepository, "take", refuse)
            assert [await limiter.take(ALICE) for _ in range(100)] == [UNLIMITED] * 100
            assert calls == 1
            clock.ahead = 0.5
            assert await limiter.take(ALICE) is UNLIMITED
            assert calls == 1
            clock.ahead = 2
            assert await limiter.take(ALICE) is UNLIMITED
            assert calls == 2
        clock.ahead = 4
        assert [(await limiter.take(ALICE)).admitted for _ in range(2)] == [True, False]

    @pytest.mark.usefixtures("patient_limiter")
    async def test_what_is_leased_is_still_spent_and_what_is_refused_stays_refused(
        self, new_limiter: NewLimiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limiter = new_limiter(user=100, anonymous=1)
        assert await admitted(limiter, ALICE, 1) == 1
        assert await admitted(limiter, ADDRESS, 2) == 1

        async def refuse(*_: Any, **__: Any) -> dict[str, Grant]:
            raise ConnectionResetError

        monkeypatch.setattr(PermitRepository, "take", refuse)
        decision = await decide(limiter, ALICE)
        assert (decision.admitted, decision.limit, decision.remaining) == (True, 100, 98)
        assert (await decide(limiter, ADDRESS)).admitted is False
        assert limiter.failures == {"open": 0, "closed": 0}

    async def test_permits_that_cannot_be_given_back_stay_taken(
        self, new_limiter: NewLimiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        limiter = new_limiter(login=1, clock=clock)
        reservation = await limiter.reserve(LOGIN)

        async def refuse(*_: Any) -> None:
            raise ConnectionResetError

        with monkeypatch.context() as patch:
            patch.setattr(PermitRepository, "give_back", refuse)
            await limiter.give_back(reservation.held)
        clock.ahead = 2
        assert (await limiter.reserve(LOGIN)).refusal is not None

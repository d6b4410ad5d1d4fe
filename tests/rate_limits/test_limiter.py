"""The rate limiter on a real database: exact across processes, cheap, and harmless when the database is gone."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import pytest

from taskmanager.database.database import Database
from taskmanager.rate_limits import leases as leases_module
from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.rate_limits.policies import UNLIMITED, Decision, Key, Policy
from taskmanager.rate_limits.repository import Demand, Grant, PermitRepository
from taskmanager.settings import Settings
from tests.conftest import make_settings
from tests.support.databases import silent_url
from tests.support.limiters import ADDRESS, ALICE, LOGIN, LOGINS, Clock, NewLimiter, admitted, decide, settled
from tests.support.rows import execute, fetch_all, fetch_one

pytestmark = pytest.mark.usefixtures("patient_limiter")


class Statements:
    """Counts the statements that take permits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.demands: list[Sequence[Demand]] = []
        self.sent = asyncio.Event()
        take = PermitRepository.take

        async def counted(
            repository: PermitRepository, demands: Sequence[Demand], *, window_seconds: float
        ) -> dict[str, Grant]:
            if demands:  # the first one is empty, and only prepares the statement
                self.demands.append(demands)
                self.sent.set()
            return await take(repository, demands, window_seconds=window_seconds)

        monkeypatch.setattr(PermitRepository, "take", counted)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The statements that take permits."""
    return Statements(monkeypatch)


class TestExactness:
    """What all processes admit together in one window."""

    @pytest.mark.parametrize("limit", [1, 7, 60, 99, 100, 1_000, 6_000])
    async def test_four_processes_never_admit_more_and_leave_at_most_a_lease_each(
        self, new_limiter: NewLimiter, limit: int
    ) -> None:
        limiters = [new_limiter(user=limit) for _ in range(4)]
        lease = max(limit // 50, 1)
        # Several clients of each process, at once.
        counts = await asyncio.gather(
            *(admitted(limiter, ALICE, limit // 6 + 2) for limiter in limiters for _ in range(2))
        )
        assert 8 * (limit // 6 + 2) > limit
        assert limit - 4 * (lease - 1) <= sum(counts) <= limit
        # Whoever comes last is refused, in every process.
        assert [await admitted(limiter, ALICE, lease) for limiter in limiters].count(0) >= 1
        assert sum(counts) + sum([await admitted(limiter, ALICE, 2 * lease) for limiter in limiters]) <= limit

    async def test_uneven_traffic_of_many_keys(self, new_limiter: NewLimiter) -> None:
        random = Random(4)
        limiters = [new_limiter(user=200) for _ in range(4)]
        spent = dict.fromkeys(range(20), 0)

        async def client() -> None:
            for _ in range(150):
                user = min(int(random.expovariate(0.3)), 19)
                decision = await decide(random.choice(limiters), ("user", user))
                spent[user] += decision.admitted

        await asyncio.gather(*(client() for _ in range(40)))
        assert max(spent.values()) <= 200
        # The first are asked for more than a thousand times, less what lies in unspent leases.
        assert min(spent[0], spent[1]) >= 200 - 4 * 3

    async def test_a_small_limit_is_exact(self, new_limiter: NewLimiter) -> None:
        limiters = [new_limiter(anonymous=60) for _ in range(4)]
        counts = await asyncio.gather(*(admitted(limiter, ADDRESS, 40) for limiter in limiters))
        assert sum(counts) == 60

    async def test_each_key_has_its_own(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(user=3, anonymous=5)
        assert await admitted(limiter, ALICE, 10) == 3
        assert await admitted(limiter, ("user", 2), 10) == 3
        assert await admitted(limiter, ("anonymous", "1"), 10) == 5

    async def test_off_with_zero(self, new_limiter: NewLimiter, database: Database) -> None:
        limiter = new_limiter(user=0)
        await limiter.start()
        assert limiter.try_take(ALICE) is UNLIMITED
        assert UNLIMITED.headers == []
        assert (await limiter.reserve(LOGIN, LOGINS)) == ([], None)
        assert await fetch_all(database, "SELECT * FROM rate_limits") == []


class TestWindows:
    """A window begins with its first permit and lasts as long in every process."""

    async def test_the_next_window_begins_anew(self, new_limiter: NewLimiter) -> None:
        limiters = [new_limiter(user=5, window_seconds=0.5) for _ in range(2)]
        for _ in range(2):
            counts = [await admitted(limiter, ALICE, 5) for limiter in limiters]
            assert sum(counts) == 5
            refused = await decide(limiters[0], ALICE)
            assert (refused.admitted, refused.remaining, refused.reset_seconds) == (False, 0, 1)
            await asyncio.sleep(0.55)

    async def test_all_processes_tell_the_same_end(self, new_limiter: NewLimiter, database: Database) -> None:
        decisions = [await decide(new_limiter(user=1_000), ALICE) for _ in range(3)]
        row = await fetch_one(database, "SELECT key, used, quota, resets_at FROM rate_limits")
        assert {decision.resets_at for decision in decisions} == {row["resets_at"]}
        assert all(58 <= decision.reset_seconds <= 60 for decision in decisions)
        assert (row["key"], row["used"], row["quota"]) == ("user 1", 60, 1_000)

    async def test_a_lease_is_not_spent_after_its_window(self, new_limiter: NewLimiter) -> None:
        clock = Clock()
        limiter = new_limiter(user=1_000, clock=clock)
        assert await admitted(limiter, ALICE, 1) == 1
        clock.ahead = 59
        decision = limiter.try_take(ALICE)
        assert decision is not None
        assert (decision.admitted, decision.reset_seconds) == (True, 1)
        clock.ahead = 60
        assert limiter.try_take(ALICE) is None

    async def test_permits_of_the_same_window_add_up(self, new_limiter: NewLimiter) -> None:
        # The process believes that the window is over, a little before the database does.
        clock = Clock()
        limiter = new_limiter(user=100, clock=clock)
        assert await admitted(limiter, ALICE, 1) == 1
        clock.ahead = 60
        assert await admitted(limiter, ALICE, 200) == 99

    async def test_a_window_written_by_a_wrong_clock_has_ended(
        self, new_limiter: NewLimiter, database: Database
    ) -> None:
        for end in ("-1 minute", "3 hours"):
            await execute(
                database,
                f"""INSERT INTO rate_limits VALUES ('user 1', 5, 5, now() + interval '{end}')
                ON CONFLICT (key) DO UPDATE SET used = 5, resets_at = excluded.resets_at""",
            )
            limiter = new_limiter(user=5)
            decision = await decide(limiter, ALICE)
            assert (decision.admitted, decision.remaining) == (True, 4)
            assert decision.reset_seconds <= 60

    async def test_a_lowered_limit_holds_at_once(self, new_limiter: NewLimiter) -> None:
        assert await admitted(new_limiter(user=50), ALICE, 30) == 30
        assert await admitted(new_limiter(user=20), ALICE, 5) == 0
        assert await admitted(new_limiter(user=40), ALICE, 30) <= 20


class TestCost:
    """A statement for many requests, none for those that are refused."""

    async def test_one_statement_for_each_fiftieth(self, new_limiter: NewLimiter, statements: Statements) -> None:
        assert await admitted(new_limiter(user=6_000), ALICE, 1_200) == 1_200
        assert len(statements.demands) == 10

    async def test_those_who_wait_share_a_statement(self, new_limiter: NewLimiter, statements: Statements) -> None:
        limiter = new_limiter(user=60)
        keys: list[Key] = [("user", number % 20) for number in range(200)]
        assert all(decision.admitted for decision in await asyncio.gather(*(limiter.take(key) for key in keys)))
        assert [len(demands) for demands in statements.demands] == [20]
        assert {demand.permits for demand in statements.demands[0]} == {10}

    async def test_those_who_come_meanwhile_share_what_it_brings(
        self, new_limiter: NewLimiter, statements: Statements
    ) -> None:
        limiter = new_limiter(user=1_000)
        await limiter.start()
        first = asyncio.create_task(limiter.take(ALICE))
        await statements.sent.wait()
        others = [asyncio.create_task(limiter.take(ALICE)) for _ in range(10)]
        decisions = await asyncio.gather(first, *others)
        assert sorted(decision.remaining for decision in decisions) == list(range(989, 1_000))
        assert [[demand.permits for demand in demands] for demands in statements.demands] == [[20]]

    async def test_a_statement_has_a_bounded_number_of_keys(
        self, new_limiter: NewLimiter, statements: Statements
    ) -> None:
        limiter = new_limiter(user=60)
        await asyncio.gather(*(limiter.take(("user", number)) for number in range(1_100)))
        assert [len(demands) for demands in statements.demands] == [500, 500, 100]

    async def test_whoever_is_over_the_limit_costs_nothing(
        self, new_limiter: NewLimiter, statements: Statements
    ) -> None:
        limiter = new_limiter(user=2)
        assert await admitted(limiter, ALICE, 1_000) == 2
        assert len(statements.demands) == 2

    async def test_keys_whose_window_has_ended_are_forgotten(self, new_limiter: NewLimiter) -> None:
        clock = Clock()
        limiter = new_limiter(user=1_000, clock=clock)
        await asyncio.gather(*(limiter.take(("user", number)) for number in range(100)))
        assert len(limiter._leases) == 100
        clock.ahead = 61
        await limiter.take(("user", 1_000))
        assert list(limiter._leases) == [("user", 1_000)]

    async def test_memory_is_bounded_and_the_limit_holds_all_the_same(
        self, new_limiter: NewLimiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases_module, "_MOST_LEASES", 10)
        limiter = new_limiter(user=50)
        spent = dict.fromkeys(range(30), 0)
        for _ in range(60):
            for user in spent:
                spent[user] += (await decide(limiter, ("user", user))).admitted
            assert len(limiter._leases) <= 10
        assert set(spent.values()) == {50}

    async def test_rows_of_ended_windows_are_deleted(self, new_limiter: NewLimiter, database: Database) -> None:
        await execute(
            database,
            """INSERT INTO rate_limits SELECT 'user ' || n, 1, 1, now() + make_interval(secs => 5500 - n)
            FROM generate_series(1, 11000) n""",
        )
        await new_limiter(user=5).start()
        count = "SELECT count(*) AS n, count(*) FILTER (WHERE resets_at < now()) AS ended FROM rate_limits"
        left = await fetch_one(database, count)
        assert left["n"] <= 6_000
        # As long as there may be more, each statement deletes some.
        limiter = new_limiter(user=5)
        await limiter.start()
        assert await admitted(limiter, ("user", "new"), 1) == 1
        await settled(limiter)
        left = await fetch_one(database, count)
        assert left["ended"] == 0
        assert left["n"] > 5_000


class TestWaiting:
    """Requests that wait for the same statement do not harm each other."""

    async def test_one_that_is_cancelled_leaves_the_others_alone(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(user=10)
        tasks = [asyncio.create_task(limiter.take(ALICE)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks[:5]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["CancelledError"] * 5 + ["Decision"] * 5

    async def test_nobody_waits_for_a_cancelled_one_alone(
        self, new_limiter: NewLimiter, statements: Statements
    ) -> None:
        limiter = new_limiter(user=10)
        task = asyncio.create_task(limiter.take(ALICE))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await settled(limiter)
        assert statements.demands == []
        assert (await limiter.take(ALICE)).remaining == 9

    async def test_it_ends_while_somebody_waits(self, database_url: str) -> None:
        async with silent_url(database_url) as url:
            limiter = RateLimiter(make_settings(database_url=url, rate_limit_user_per_minute=5))
            waiting = asyncio.create_task(limiter.take(ALICE))
            await asyncio.sleep(0.05)
            await limiter.dispose()
            assert await waiting is UNLIMITED


@pytest.mark.parametrize(
    ("limit", "remaining", "seconds", "headers"),
    [
        (100, 50, 30, [b'"default";q=100;w=60', b'"default";r=50;t=30']),
        (1, 0, 1, [b'"default";q=1;w=60', b'"default";r=0;t=1']),
        (0, 0, 0, []),
    ],
)
def test_the_headers(limit: int, remaining: int, seconds: int, headers: list[bytes]) -> None:
    decision = Decision(True, Policy("default", limit, leased=True), remaining, seconds, datetime.now(UTC))
    assert decision.headers == list(zip((b"ratelimit-policy", b"ratelimit"), headers, strict=False))
    assert decision.limit == limit


def test_the_shipped_limits() -> None:
    fields = Settings.model_fields
    assert {name.split("_", 2)[2]: fields[name].default for name in fields if name.startswith("rate_limit_")} == {
        "anonymous_per_minute": 60,
        "user_per_minute": 6_000,
        "login_per_minute": 10,
        "login_address_per_minute": 30,
    }

"""Nobody learns from a failed login whether the account exists: not from the answer, and not from the time."""

import time
from collections.abc import AsyncIterator, Sequence
from random import Random

import httpx
import pytest

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import Person, make_settings
from tests.support.applications import started
from tests.support.credentials import API
from tests.support.rows import digests, execute

TRIES = 400
WRONG = "not the right password"
PER_REQUEST = {"x-request-id", "x-process-time", "server-timing", "date"}
pytestmark = pytest.mark.usefixtures("costly_hashes")


@pytest.fixture
async def client(database_url: str, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that never tires of failures."""
    async with started(create_app(make_settings(database_url=database_url))) as client:
        yield client


async def try_login(client: httpx.AsyncClient, username: str, password: str = WRONG) -> httpx.Response:
    """Log in, which has to fail."""
    answer = await client.post(f"{API}/token", data={"username": username, "password": password})
    assert answer.status_code == 401
    return answer


def without_request(answer: httpx.Response) -> tuple[dict[str, str], dict[str, str]]:
    """Return body and headers without what differs between any two requests."""
    body = {name: value for name, value in answer.json().items() if name != "request_id"}
    return body, {name: value for name, value in answer.headers.items() if name not in PER_REQUEST}


def area_under_curve(some: Sequence[float], others: Sequence[float]) -> float:
    """Return how well a threshold tells two samples apart: 0.5 is guessing, 1 is certain (Mann-Whitney U / n1 n2)."""
    wins = sum((a > b) + (a == b) / 2 for a in some for b in others)
    area = wins / (len(some) * len(others))
    return max(area, 1 - area)


async def measure(client: httpx.AsyncClient, seed: int) -> float:
    """Time failed logins of both kinds in random order and return how well the times tell them apart."""
    random = Random(seed)
    kinds = ["known", "unknown"] * (TRIES // 2)
    random.shuffle(kinds)
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    for number, kind in enumerate(kinds):
        # As long as the other name, and never seen before.
        username = "alice" if kind == "known" else f"x{number:04}"
        begun = time.perf_counter()
        await try_login(client, username)
        times[kind].append(time.perf_counter() - begun)
    return area_under_curve(times["known"], times["unknown"])


async def test_status_body_and_headers_are_the_same(
    client: httpx.AsyncClient, alice: Person, bob: Person, database: Database
) -> None:
    await execute(database, "UPDATE users SET disabled = true WHERE id = :id", id=bob.id)
    before = await digests(database)
    answers = [
        await try_login(client, username, password)
        for username, password in (
            ("alice", WRONG),
            ("unknown_person", WRONG),
            ("bob", WRONG),
            ("bob", "correct horse battery"),
            ("alice@example.com", WRONG),
            ("no such name!", WRONG),
            ("x" * 1_000, WRONG),
            ("alice", "x" * 129),
            ("unknown_person", "x" * 129),
        )
    ]
    first = without_request(answers[0])
    assert first[0]["type"] == "/docs/problems#wrong-login"
    assert first[1]["www-authenticate"] == "Bearer"
    for answer in answers[1:]:
        assert without_request(answer) == first
    assert await digests(database) == before


@pytest.mark.takes_long
async def test_the_time_tells_nothing(client: httpx.AsyncClient, alice: Person) -> None:
    await measure_warm_up(client)
    area = await measure(client, seed=1)
    if area >= 0.6:
        # Once more, in case that another process took the machine.
        area = await measure(client, seed=2)
    print(f"\nAUC {area:.3f} over {TRIES} tries")
    assert area < 0.6


async def measure_warm_up(client: httpx.AsyncClient) -> None:
    """Let connections open and statements be prepared."""
    for username in ("alice", "x0000", "alice", "x0001"):
        await try_login(client, username)


def test_the_measure_tells_different_times_apart() -> None:
    random = Random(3)
    same = [random.gauss(35, 3) for _ in range(200)]
    also_same = [random.gauss(35, 3) for _ in range(200)]
    two_slower = [random.gauss(37, 3) for _ in range(200)]
    assert area_under_curve(same, also_same) < 0.57
    assert area_under_curve(same, two_slower) > 0.6
    assert area_under_curve(two_slower, same) == area_under_curve(same, two_slower)
    assert area_under_curve([1, 2], [3, 4]) == 1

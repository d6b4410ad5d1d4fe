"""Many requests at once, retried as a patient client would: what is left afterwards must still be right."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from sqlalchemy import make_url

from taskmanager.database import Database
from tests.conftest import Person
from tests.rows import fetch_all
from tests.server import connect

_PATIENCE = 200
_KILL = """
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'taskmanager' AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT $1
) AS victims
"""


@dataclass
class Killings:
    """How many connections were ended so far."""

    count: int = 0


@asynccontextmanager
async def backends_killed(database_url: str, *, every_seconds: float, at_once: int = 2) -> AsyncIterator[Killings]:
    """End some of the service's connections again and again while the block runs."""
    connection: asyncpg.Connection[Any] = await connect(make_url(database_url))
    killings = Killings()

    async def kill() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            killings.count += int(await connection.fetchval(_KILL, at_once))

    killer = asyncio.create_task(kill())
    try:
        yield killings
    finally:
        killer.cancel()
        with suppress(asyncio.CancelledError):
            await killer
        await connection.close()


@dataclass
class CopiesReport:
    """What came of parallel copies of requests with an Idempotency-Key."""

    statuses: Counter[int] = field(default_factory=Counter)
    executed: int = 0
    replayed: int = 0
    differing: list[str] = field(default_factory=list)


async def send_copies(person: Person, *, keys: int, copies: int, keys_at_once: int = 1) -> CopiesReport:
    """Send so many parallel copies of a new task under each key, each until it is answered for good."""
    report = CopiesReport()
    names = [f"key-{number}" for number in range(keys)]
    gate = asyncio.Semaphore(keys_at_once)

    async def send(key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        for _ in range(_PATIENCE):
            answer = await person.post("/tasks", {"title": key}, None, headers=headers)
            report.statuses[answer.status_code] += 1
            if answer.status_code not in {409, 503}:
                return answer
            assert answer.headers["Retry-After"] == "1"
            await asyncio.sleep(0.1)
        raise AssertionError(f"{key} was refused {_PATIENCE} times")

    async def send_all(key: str) -> None:
        async with gate:
            answers = await asyncio.gather(*(send(key) for _ in range(copies)))
        replayed = sum("Idempotency-Replayed" in answer.headers for answer in answers)
        report.replayed += replayed
        report.executed += copies - replayed
        told = {
            (answer.status_code, answer.text, answer.headers.get("ETag"), answer.headers.get("Location"))
            for answer in answers
        }
        # The one who executed it may have lost its connection after COMMIT: then all others are told.
        if len(told) > 1 or answers[0].status_code != 201 or copies - replayed > 1:
            report.differing.append(f"{key}: {told}")

    await asyncio.gather(*(send_all(name) for name in names))
    return report


async def effects_missing_or_repeated(database: Database, *, keys: int) -> list[str]:
    """Return what is wrong after `send_copies`: keys without exactly one task, one event and one stored answer."""
    names = [f"key-{number}" for number in range(keys)]
    tasks = Counter(row["title"] for row in await fetch_all(database, "SELECT title FROM tasks"))
    events = await fetch_all(database, "SELECT entity_id FROM events WHERE entity = 'task' AND action = 'created'")
    stored = Counter(row["key"] for row in await fetch_all(database, "SELECT key FROM idempotency_keys"))
    wrong = [
        f"{name}: {tasks[name]} tasks, {stored[name]} keys" for name in names if (tasks[name], stored[name]) != (1, 1)
    ]
    if not len(events) == tasks.total() == stored.total() == keys:
        wrong.append(f"{stored.total()} keys, {len(events)} events, {tasks.total()} tasks")
    return wrong

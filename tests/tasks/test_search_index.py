"""The search index is kept in order in the background."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import Database
from taskmanager.tasks import search_index
from taskmanager.tasks.search_index import SearchIndexUpkeep
from tests.conftest import Person


async def pages_left(database: Database) -> int:
    """Sort in what is left, and return how many pages of new entries that were."""
    async with database.transaction() as session:
        return int((await session.execute(text("SELECT gin_clean_pending_list('tasks_search_idx')"))).scalar_one())


async def write_much(person: Person) -> None:
    """Write what takes more than the shortest list."""
    for _ in range(4):
        await person.new_task(title="Hay", description=secrets.token_hex(1000))


async def test_new_entries_are_sorted_in_and_found_before_and_after(alice: Person, database: Database) -> None:
    await pages_left(database)
    await write_much(alice)
    assert await pages_left(database) > 8  # so writes do leave something to do
    await alice.new_task(title="Needle in a haystack")
    await write_much(alice)
    for _ in range(2):
        assert (await alice.get("/tasks?search=needle")).json()["total"] == 1
        await SearchIndexUpkeep(database, lambda: 1).sort_in()
    assert await pages_left(database) <= 1  # the last page may stay


@pytest.mark.parametrize("there_is_such_a_project", [False, True])
async def test_nothing_is_left_of_the_row_that_has_entries_sorted_in(
    database: Database, *, there_is_such_a_project: bool
) -> None:
    async with database.transaction() as session:
        if there_is_such_a_project:
            await session.execute(text("INSERT INTO projects (id, name) VALUES (0, 'Nought')"))
    await SearchIndexUpkeep(database, lambda: 1).sort_in()
    async with database.reader() as session:
        assert (await session.execute(text("SELECT count(*) FROM tasks"))).scalar_one() == 0


async def test_a_list_that_is_not_full_is_left_as_it_is(alice: Person, database: Database) -> None:
    await pages_left(database)
    await write_much(alice)
    await SearchIndexUpkeep(database, lambda: 1).sort_in("8MB")
    assert await pages_left(database) > 8


async def test_another_process_that_does_it_is_not_waited_for(alice: Person, database: Database) -> None:
    await write_much(alice)
    async with database.transaction() as session:
        lock = "SELECT pg_advisory_xact_lock(hashtextextended('tasks_search_idx', 0))"
        await session.execute(text(lock))
        async with asyncio.timeout(5):
            await SearchIndexUpkeep(database, lambda: 1).sort_in()
    assert await pages_left(database) > 8


class Told:
    """A database that only notes when it was used, and fails as it is told."""

    def __init__(self) -> None:
        self.used = 0
        self.full_lists: list[str] = []
        self.failures: list[Exception] = []
        self.again = asyncio.Event()

    @asynccontextmanager
    async def long_transaction(self) -> AsyncIterator["Told"]:
        self.used += 1
        self.again.set()
        if self.failures:
            raise self.failures.pop()
        yield self

    async def execute(self, _: Any, values: dict[str, str] | None = None) -> None:
        if values is not None:
            self.full_lists.append(values["full"])

    async def until_used(self) -> None:
        async with asyncio.timeout(5):
            await self.again.wait()
        self.again.clear()


class RefusedError(Exception):
    """What the driver raises."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.fixture
async def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """A database, for an upkeep without patience."""
    monkeypatch.setattr(search_index, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(search_index, "_MANY_WRITES", 10)
    return Told()


async def test_it_is_done_after_many_writes_or_a_long_time(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 0
    running = asyncio.create_task(SearchIndexUpkeep(cast("Database", told), lambda: rows).run())
    await asyncio.sleep(0.05)
    rows = 9
    await asyncio.sleep(0.05)
    assert told.used == 0
    rows = 10
    await told.until_used()
    rows = 19
    await asyncio.sleep(0.05)
    assert told.full_lists == ["8MB"]
    rows = 20
    await told.until_used()
    # What was left because the list was not full is sorted in later, though nothing has come since.
    monkeypatch.setattr(search_index, "_LONGEST_SECONDS", 0.0)
    await told.until_used()
    await asyncio.sleep(0.05)
    assert told.full_lists == ["8MB", "8MB", "64kB"]
    running.cancel()


async def test_what_failed_is_tried_again_though_nothing_has_come_since(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_LONGEST_SECONDS", 0.0)
    told.failures = [PoolTimeoutError(), OSError("gone")]
    rows = 0
    running = asyncio.create_task(SearchIndexUpkeep(cast("Database", told), lambda: rows).run())
    await asyncio.sleep(0.01)
    rows = 5
    async with asyncio.timeout(5):
        while not told.full_lists:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert (told.used, told.full_lists) == (3, ["64kB"])
    running.cancel()


@pytest.mark.parametrize("refusal", ["42501", "42P01"])
async def test_it_tries_again_later_but_not_what_is_refused(told: Told, refusal: str) -> None:
    told.failures = [
        DBAPIError("", None, cast("BaseException", RefusedError(refusal))),
        DBAPIError("", None, cast("BaseException", RefusedError("57014"))),
        PoolTimeoutError(),
        OSError("gone"),
    ]
    rows = 0

    def write() -> int:
        nonlocal rows
        rows += 10
        return rows

    async with asyncio.timeout(5):
        await SearchIndexUpkeep(cast("Database", told), write).run()
    assert told.used == 4

"""The search index is kept in order in the background."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from taskmanager.tasks import search_index
from taskmanager.tasks.search_index import SearchIndexUpkeep
from tests.conftest import Person
from tests.support.sessions import open_session, open_transaction


async def pages_left(database: Database) -> int:
    """Merge what is left, and return how many pages of new entries that were."""
    async with open_transaction(database) as session:
        return int(
            (await session.execute(text("SELECT gin_clean_pending_list('tasks_folded_search_idx')"))).scalar_one()
        )


@pytest.fixture
def upkeep(app: FastAPI, database: Database) -> SearchIndexUpkeep:
    """The upkeep of the application's own index."""
    return SearchIndexUpkeep(app.state.writes)


async def write_much(person: Person) -> None:
    """Write what takes more than the shortest list."""
    for _ in range(4):
        await person.new_task(title="Hay", description=secrets.token_hex(1000))


async def test_new_entries_are_merged_and_found_before_and_after(
    alice: Person, database: Database, upkeep: SearchIndexUpkeep
) -> None:
    await pages_left(database)
    await write_much(alice)
    assert await pages_left(database) > 8  # so writes do leave something to do
    await alice.new_task(title="Needle in a haystack")
    await write_much(alice)
    for _ in range(2):
        assert (await alice.get("/tasks?search=needle")).json()["total"] == 1
        await upkeep.merge()
    assert await pages_left(database) <= 1  # the last page may stay


@pytest.mark.parametrize("there_is_such_a_project", [False, True])
async def test_nothing_is_left_of_the_row_that_has_entries_merged(
    database: Database, upkeep: SearchIndexUpkeep, *, there_is_such_a_project: bool
) -> None:
    async with open_transaction(database) as session:
        if there_is_such_a_project:
            await session.execute(text("INSERT INTO projects (id, name) VALUES (0, 'Nought')"))
    await upkeep.merge()
    async with open_session(database) as session:
        assert (await session.execute(text("SELECT count(*) FROM tasks"))).scalar_one() == 0


async def test_a_list_that_is_not_full_is_left_as_it_is(
    alice: Person, database: Database, upkeep: SearchIndexUpkeep
) -> None:
    await pages_left(database)
    await write_much(alice)
    await upkeep.merge("8MB")
    assert await pages_left(database) > 8


async def test_another_process_that_does_it_is_not_waited_for(
    alice: Person, database: Database, upkeep: SearchIndexUpkeep
) -> None:
    await write_much(alice)
    async with open_transaction(database) as session:
        lock = "SELECT pg_advisory_xact_lock(hashtextextended('tasks_search_idx', 0))"
        await session.execute(text(lock))
        async with asyncio.timeout(5):
            await upkeep.merge()
    assert await pages_left(database) > 8


class NotedWrites:
    """Writes of which only the number counts; notes each merge, and fails as often as there are failures."""

    def __init__(self) -> None:
        self.rows = 0
        self.merges = 0
        self.full_lists: list[str] = []
        self.failures: list[Exception] = []
        self.merged = asyncio.Event()

    @asynccontextmanager
    async def transaction(self, *, long: bool) -> AsyncIterator["NotedWrites"]:
        assert long
        self.rows += 1
        self.merges += 1
        self.merged.set()
        if self.failures:
            raise self.failures.pop()
        yield self

    async def all(self, _: Statement, **values: str) -> None:
        if values:
            self.full_lists.append(values["full"])

    async def until_merged(self) -> None:
        async with asyncio.timeout(5):
            await self.merged.wait()
        self.merged.clear()


class RefusedError(Exception):
    """What the driver raises."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.fixture
async def writes(monkeypatch: pytest.MonkeyPatch) -> NotedWrites:
    """Writes, for an upkeep without patience."""
    monkeypatch.setattr(search_index, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(search_index, "_MANY_ROWS", 10)
    return NotedWrites()


async def test_it_is_done_after_many_writes_or_a_long_time(
    writes: NotedWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = asyncio.create_task(SearchIndexUpkeep(cast("Writes", writes)).run())
    await asyncio.sleep(0.05)
    writes.rows = 9
    await asyncio.sleep(0.05)
    assert writes.merges == 0
    writes.rows = 10
    await writes.until_merged()
    writes.rows = 19
    await asyncio.sleep(0.05)
    assert writes.full_lists == ["8MB"]
    writes.rows = 20
    await writes.until_merged()
    # What was left because the list was not full is merged later, though nothing has come since.
    monkeypatch.setattr(search_index, "_LONGEST_SECONDS", 0.0)
    await writes.until_merged()
    await asyncio.sleep(0.05)
    assert writes.full_lists == ["8MB", "8MB", "64kB"]
    running.cancel()


@pytest.mark.parametrize("has_key", [False, True])
async def test_a_bulk_request_counts_as_its_tasks(alice: Person, app: FastAPI, *, has_key: bool) -> None:
    ids = [(await alice.new_task())["id"] for _ in range(7)]
    writes: Writes = app.state.writes
    for method, body, status, tasks in (
        ("POST", {"tasks": [{"title": "x"}] * 30}, 201, 30),
        # What has an assignee is written alone.
        ("POST", {"tasks": [{"title": "x", "assignee_id": alice.id}] * 20}, 201, 20),
        ("PATCH", {"ids": ids, "set": {"title": "y"}}, 200, 7),
    ):
        before = writes.rows
        headers = {"Idempotency-Key": f"count-{tasks}"} if has_key else {}
        await alice.request(method, "/tasks/bulk", status, json=body, headers=headers)
        assert tasks <= writes.rows - before < tasks + 5, (method, body)


async def test_what_failed_is_tried_again_though_nothing_has_come_since(
    writes: NotedWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_LONGEST_SECONDS", 0.0)
    writes.failures = [PoolTimeoutError(), OSError("gone")]
    running = asyncio.create_task(SearchIndexUpkeep(cast("Writes", writes)).run())
    await asyncio.sleep(0.01)
    writes.rows = 5
    async with asyncio.timeout(5):
        while not writes.full_lists:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert (writes.merges, writes.full_lists) == (3, ["64kB"])
    running.cancel()


@pytest.mark.parametrize("refusal", ["42501", "42P01"])
async def test_it_tries_again_later_but_not_what_is_refused(
    writes: NotedWrites, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_MANY_ROWS", 1)
    writes.rows = 1
    writes.failures = [
        DBAPIError("", None, cast("BaseException", RefusedError(refusal))),
        DBAPIError("", None, cast("BaseException", RefusedError("57014"))),
        PoolTimeoutError(),
        OSError("gone"),
    ]
    async with asyncio.timeout(5):
        await SearchIndexUpkeep(cast("Writes", writes)).run()
    assert writes.merges == 4

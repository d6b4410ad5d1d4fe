"""A move whose neighbours are read first and locked by the write, and what others do between the two."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import permutations
from random import Random
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmanager.database.database import Database
from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import NotFoundError
from taskmanager.main import create_app
from taskmanager.ordering.positions import lock_of_order
from taskmanager.tasks.ordering.repository import TaskOrderWriter
from taskmanager.tasks.ordering.schemas import TaskMove
from tests.conftest import Person, make_settings
from tests.support.applications import started
from tests.support.locks import until_blocked
from tests.support.move_patterns import apply
from tests.support.moves import share
from tests.support.orders import ids_in_order, move, new_section, new_tasks
from tests.support.recorded_statements import recorded_statements
from tests.support.sessions import open_transaction

TRIALS = int(os.environ.get("ORDER_TRIALS", "150"))


class ReadsBefore(Reads):
    """Reads after each of which somebody else does something."""

    def __init__(self, reads: Reads, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self._reads = reads
        self._meanwhile = meanwhile
        self.sent = 0

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row as it was before."""
        self.sent += 1
        row = await self._reads.one(statement, **values)
        await self._meanwhile()
        return row


async def move_while(
    app: FastAPI, person: Person, task_id: int, body: dict[str, Any], meanwhile: Callable[[], Awaitable[Any]]
) -> tuple[int, bool]:
    """Move a task, and return how often it was tried at once, and whether the order was locked."""
    reads = ReadsBefore(app.state.reads, meanwhile)
    writer = TaskOrderWriter(app.state.writes, reads)
    with recorded_statements(app.state.database) as statements:
        await writer.move(task_id, TaskMove.model_validate(body), user_id=person.id)
    return reads.sent, any("pg_advisory_xact_lock(" in statement for statement in statements)


async def nothing() -> None:
    """Do nothing."""


class TestMeanwhile:
    """Five tasks, of which the last is put behind the second, while somebody else does something."""

    async def test_without_anything_nobody_locks_the_order(self, app: FastAPI, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 5)
        assert await move_while(app, alice, ids[4], {"after": ids[1]}, nothing) == (1, False)
        assert await ids_in_order(alice, project_id) == [*ids[:2], ids[4], *ids[2:4]]

    @pytest.mark.parametrize(
        ("thing", "place", "wanted"),
        [
            (1, {"at": "top"}, [1, 4, 0, 2, 3]),
            (2, {"at": "top"}, [2, 0, 1, 4, 3]),
            (0, {"after": 1}, [1, 4, 0, 2, 3]),
            (4, {"at": "top"}, [0, 1, 4, 2, 3]),
        ],
        ids=["the neighbour is moved", "the one beyond is moved", "one is put between", "it is moved itself"],
    )
    async def test_it_is_next_to_its_neighbour(
        self, app: FastAPI, alice: Person, project_id: int, thing: int, place: dict[str, Any], wanted: list[int]
    ) -> None:
        ids = await new_tasks(alice, project_id, 5)
        body = {name: value if name == "at" else ids[value] for name, value in place.items()}
        is_done = asyncio.Event()

        async def meanwhile() -> None:
            if not is_done.is_set():
                is_done.set()
                await move(alice, ids[thing], body)

        assert await move_while(app, alice, ids[4], {"after": ids[1]}, meanwhile) == (2, False)
        assert await ids_in_order(alice, project_id) == [ids[one] for one in wanted]

    @pytest.mark.parametrize(("end", "wanted"), [("top", [4, 2, 0, 1, 3]), ("bottom", [0, 1, 3, 2, 4])])
    async def test_at_an_end_it_is_before_or_behind_all(
        self, app: FastAPI, alice: Person, project_id: int, end: str, wanted: list[int]
    ) -> None:
        ids = await new_tasks(alice, project_id, 5)
        tried = await move_while(app, alice, ids[4], {"at": end}, lambda: move(alice, ids[2], {"at": end}))
        assert tried == (2, False)
        assert await ids_in_order(alice, project_id) == [ids[one] for one in wanted]

    async def test_where_it_is_taken_twice_the_order_is_locked(
        self, app: FastAPI, alice: Person, project_id: int
    ) -> None:
        ids = await new_tasks(alice, project_id, 5)
        others = iter((ids[3], ids[2]))

        async def take() -> None:
            if (other := next(others, None)) is not None:
                await move(alice, other, {"after": ids[1]})

        assert await move_while(app, alice, ids[4], {"after": ids[1]}, take) == (2, True)
        assert await ids_in_order(alice, project_id) == [*ids[:2], ids[4], *ids[2:4]]

    async def test_other_changes_do_not_matter(self, app: FastAPI, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 5)

        async def rename() -> None:
            for one in ids:
                await alice.patch(f"/tasks/{one}", {"title": "Renamed"})

        assert await move_while(app, alice, ids[4], {"after": ids[1]}, rename) == (1, False)
        task = (await alice.get(f"/tasks/{ids[4]}")).json()
        assert (task["title"], task["version"]) == ("Renamed", 3)

    async def test_a_neighbour_that_is_deleted_is_not_there(self, app: FastAPI, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 3)
        with pytest.raises(NotFoundError):
            await move_while(app, alice, ids[2], {"after": ids[0]}, lambda: alice.delete(f"/tasks/{ids[0]}", None))
        assert await ids_in_order(alice, project_id) == ids[1:]

    async def test_a_neighbour_s_section_that_is_deleted_is_not_named(
        self, app: FastAPI, alice: Person, project_id: int
    ) -> None:
        ids = await new_tasks(alice, project_id, 3)
        section_id = await new_section(alice, project_id)
        await alice.patch(f"/tasks/{ids[0]}", {"section_id": section_id})
        path = f"/projects/{project_id}/sections/{section_id}"
        await move_while(app, alice, ids[2], {"after": ids[0]}, lambda: alice.delete(path, None))
        assert (await alice.get(f"/tasks/{ids[2]}")).json()["section_id"] is None
        assert await ids_in_order(alice, project_id) == [ids[0], ids[2], ids[1]]

    async def test_who_is_no_member_any_more_moves_nothing(
        self, alice: Person, bob: Person, app: FastAPI, project_id: int
    ) -> None:
        ids = await new_tasks(alice, project_id, 2)
        await alice.post(f"/projects/{project_id}/members", {"username": bob.username, "role": "editor"})
        path = f"/projects/{project_id}/members/{bob.id}"
        with pytest.raises(NotFoundError):
            await move_while(app, bob, ids[1], {"at": "top"}, lambda: alice.delete(path, None))
        assert await ids_in_order(alice, project_id) == ids


class TestLocks:
    """What a move locks and waits for, while somebody else holds a row."""

    @staticmethod
    @asynccontextmanager
    async def held(database: Database, row: str) -> AsyncIterator[AsyncSession]:
        """Hold a row, as a change of it does."""
        async with open_transaction(database) as holder:
            await holder.execute(text(f"SELECT FROM {row} FOR NO KEY UPDATE"))
            yield holder

    async def test_a_neighbour_is_not_waited_for(self, alice: Person, project_id: int, database: Database) -> None:
        ids = await new_tasks(alice, project_id, 4)
        async with self.held(database, f"tasks WHERE id = {ids[0]}"), asyncio.timeout(1):
            assert (await move(alice, ids[3], {"after": ids[0]}))["version"] == 2
        assert await ids_in_order(alice, project_id) == [ids[0], ids[3], *ids[1:3]]

    async def test_it_waits_for_its_own_and_keeps_what_is_committed(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await new_tasks(alice, project_id, 4)
        async with self.held(database, f"tasks WHERE id = {ids[3]}") as holder:
            moving = asyncio.create_task(move(alice, ids[3], {"after": ids[0]}))
            await until_blocked(database)
            await holder.execute(text(f"UPDATE tasks SET title = 'New', version = version + 1 WHERE id = {ids[3]}"))
        moved = await moving
        assert (moved["title"], moved["version"]) == ("New", 3)
        assert await ids_in_order(alice, project_id) == [ids[0], ids[3], *ids[1:3]]

    async def test_two_in_one_gap_who_wait_for_each_other_s_locks(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        second, first, before, behind = await new_tasks(alice, project_id, 4)
        async with self.held(database, f"tasks WHERE id = {before}"):
            moving = [asyncio.create_task(move(alice, first, {"after": before}))]
            await asyncio.sleep(0.05)
            moving.append(asyncio.create_task(move(alice, second, {"before": behind})))
            await asyncio.sleep(0.05)
        await asyncio.gather(*moving)
        assert await ids_in_order(alice, project_id) == [before, first, second, behind]

    async def test_who_may_not_write_locks_nothing(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        ids = await new_tasks(alice, project_id, 4)
        await share(alice, project_id, bob, "viewer")
        async with self.held(database, f"tasks WHERE id = {ids[0]}"), asyncio.timeout(1):
            await move(bob, ids[3], {"after": ids[0]}, 403)

    async def test_who_is_removed_meanwhile_moves_nothing(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        ids = await new_tasks(alice, project_id, 4)
        await share(alice, project_id, bob, "editor")
        async with open_transaction(database) as holder:
            await holder.execute(text(f"SELECT FROM projects WHERE id = {project_id} FOR UPDATE"))
            moving = asyncio.create_task(move(bob, ids[3], {"after": ids[0]}, 404))
            await until_blocked(database)
            await holder.execute(
                text(f"DELETE FROM project_members WHERE project_id = {project_id} AND user_id = {bob.id}")
            )
        await moving
        assert await ids_in_order(alice, project_id) == ids

    @pytest.mark.parametrize("change", ["role = 'viewer'", "archived"])
    async def test_who_may_only_read_in_the_end_moves_nothing(
        self, alice: Person, bob: Person, project_id: int, database: Database, change: str
    ) -> None:
        ids = await new_tasks(alice, project_id, 4)
        await share(alice, project_id, bob, "editor")
        async with open_transaction(database) as holder:
            await holder.execute(text(f"SELECT FROM projects WHERE id = {project_id} FOR UPDATE"))
            moving = asyncio.create_task(move(bob, ids[3], {"after": ids[0]}, 409 if change == "archived" else 403))
            await until_blocked(database)
            sql = f"UPDATE project_members SET {change} WHERE project_id = {project_id} AND user_id = {bob.id}"
            if change == "archived":
                sql = f"UPDATE projects SET archived = true WHERE id = {project_id}"
            await holder.execute(text(sql))
        await moving
        assert await ids_in_order(alice, project_id) == ids

    async def test_copies_do_not_wait(self, alice: Person, project_id: int, database: Database) -> None:
        ids = await new_tasks(alice, project_id, 4)
        path, body, key = f"/tasks/{ids[3]}/move", {"after": ids[0]}, {"Idempotency-Key": "drop"}
        async with self.held(database, f"tasks WHERE id = {ids[3]}"):
            first = asyncio.create_task(alice.post(path, body, 200, headers=key))
            await until_blocked(database)
            async with asyncio.timeout(1):
                await alice.post(path, body, 409, headers=key)
        await first
        async with self.held(database, f"tasks WHERE id IN ({ids[0]}, {ids[3]})"), asyncio.timeout(1):
            again = await alice.post(path, body, 200, headers=key)
        assert again.headers["Idempotency-Replayed"] == "true"


async def test_who_holds_the_order_is_waited_for(alice: Person, project_id: int, database: Database) -> None:
    ids = await new_tasks(alice, project_id, 3)
    async with open_transaction(database) as holder:
        await holder.execute(text(f"SELECT {lock_of_order(str(project_id), 'tasks')}"))
        moving = asyncio.create_task(move(alice, ids[2], {"at": "top"}))
        await until_blocked(database)
        assert await ids_in_order(alice, project_id) == ids
    assert (await moving)["version"] == 2
    assert await ids_in_order(alice, project_id) == [ids[2], *ids[:2]]


async def test_two_who_are_put_next_to_each_other_get_there(alice: Person, project_id: int) -> None:
    first, between, second = ids = await new_tasks(alice, project_id, 3)
    for _ in range(20):
        await move(alice, first, {"at": "top"})
        await move(alice, between, {"after": first})
        await asyncio.gather(move(alice, first, {"after": second}), move(alice, second, {"after": first}))
        order = await ids_in_order(alice, project_id)
        assert sorted(order) == ids
        assert abs(order.index(first) - order.index(second)) == 1


@pytest.mark.parametrize("share_statements", [True, False], ids=["in batches", "alone"])
async def test_moves_at_the_same_time_are_as_if_one_after_the_other(
    alice: Person, project_id: int, database_url: str, share_statements: bool
) -> None:
    await new_tasks(alice, project_id, 6)
    random = Random(7)
    app = create_app(make_settings(database_url=database_url, share_statements=share_statements))
    async with started(app) as client:
        client.headers["Authorization"] = f"Bearer {alice.token}"
        for _ in range(TRIALS):
            before = await ids_in_order(alice, project_id)
            # Near each other, so that they meet.
            moves = [(thing, random.choice(("before", "after")), random.choice(before[:3])) for thing in before[3:]]
            moves += [(thing, random.choice(("before", "after")), random.choice(before[3:])) for thing in before[:1]]
            answers = await asyncio.gather(
                *(client.post(f"/api/v1/tasks/{thing}/move", json={side: near}) for thing, side, near in moves)
            )
            assert {answer.status_code for answer in answers} == {200}
            possible = []
            for in_turn in permutations(moves):
                order = list(before)
                for one in in_turn:
                    apply(order, one)
                possible.append(order)
            assert await ids_in_order(alice, project_id) in possible, moves

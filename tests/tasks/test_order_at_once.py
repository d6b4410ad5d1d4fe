"""A move whose neighbours are read first and locked by the write, and what others do between the two."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import NotFoundError
from taskmanager.ordering.positions import lock_of_order
from taskmanager.tasks.ordering.repository import TaskOrderWriter
from taskmanager.tasks.ordering.schemas import TaskMove
from tests.conftest import Person
from tests.support.locks import until_blocked
from tests.support.orders import ids_in_order, move, new_section, new_tasks
from tests.support.recorded_statements import recorded_statements
from tests.support.sessions import open_transaction


class ReadsBefore(Reads):
    """Reads after whose first one somebody else does something."""

    def __init__(self, reads: Reads, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self._reads = reads
        self._meanwhile = meanwhile

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row as it was before."""
        row = await self._reads.one(statement, **values)
        await self._meanwhile()
        return row


async def moves_at_once(
    app: FastAPI, person: Person, task_id: int, body: dict[str, Any], meanwhile: Callable[[], Awaitable[Any]]
) -> bool:
    """Move a task, and return whether nobody had to lock the order."""
    writer = TaskOrderWriter(app.state.writes, ReadsBefore(app.state.reads, meanwhile))
    with recorded_statements(app.state.database) as statements:
        await writer.move(task_id, TaskMove.model_validate(body), user_id=person.id)
    return not any("pg_advisory_xact_lock" in statement for statement in statements)


async def nothing() -> None:
    """Do nothing."""


class TestMeanwhile:
    """Five tasks, of which the last is put behind the second, while somebody else does something."""

    async def test_without_anything_nobody_locks_the_order(self, app: FastAPI, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 5)
        assert await moves_at_once(app, alice, ids[4], {"after": ids[1]}, nothing)
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

        assert not await moves_at_once(app, alice, ids[4], {"after": ids[1]}, meanwhile)
        assert await ids_in_order(alice, project_id) == [ids[one] for one in wanted]

    @pytest.mark.parametrize(("end", "wanted"), [("top", [4, 2, 0, 1, 3]), ("bottom", [0, 1, 3, 2, 4])])
    async def test_at_an_end_it_is_before_or_behind_all(
        self, app: FastAPI, alice: Person, project_id: int, end: str, wanted: list[int]
    ) -> None:
        ids = await new_tasks(alice, project_id, 5)
        assert not await moves_at_once(app, alice, ids[4], {"at": end}, lambda: move(alice, ids[2], {"at": end}))
        assert await ids_in_order(alice, project_id) == [ids[one] for one in wanted]

    async def test_other_changes_do_not_matter(self, app: FastAPI, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 5)

        async def rename() -> None:
            for one in ids:
                await alice.patch(f"/tasks/{one}", {"title": "Renamed"})

        assert await moves_at_once(app, alice, ids[4], {"after": ids[1]}, rename)
        task = (await alice.get(f"/tasks/{ids[4]}")).json()
        assert (task["title"], task["version"]) == ("Renamed", 3)

    async def test_a_neighbour_that_is_deleted_is_not_there(self, app: FastAPI, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 3)
        with pytest.raises(NotFoundError):
            await moves_at_once(app, alice, ids[2], {"after": ids[0]}, lambda: alice.delete(f"/tasks/{ids[0]}", None))
        assert await ids_in_order(alice, project_id) == ids[1:]

    async def test_a_neighbour_s_section_that_is_deleted_is_not_named(
        self, app: FastAPI, alice: Person, project_id: int
    ) -> None:
        ids = await new_tasks(alice, project_id, 3)
        section_id = await new_section(alice, project_id)
        await alice.patch(f"/tasks/{ids[0]}", {"section_id": section_id})
        path = f"/projects/{project_id}/sections/{section_id}"
        await moves_at_once(app, alice, ids[2], {"after": ids[0]}, lambda: alice.delete(path, None))
        assert (await alice.get(f"/tasks/{ids[2]}")).json()["section_id"] is None
        assert await ids_in_order(alice, project_id) == [ids[0], ids[2], ids[1]]

    async def test_who_may_only_read_now_moves_nothing(
        self, alice: Person, bob: Person, app: FastAPI, project_id: int
    ) -> None:
        ids = await new_tasks(alice, project_id, 2)
        await alice.post(f"/projects/{project_id}/members", {"username": bob.username, "role": "editor"})
        path = f"/projects/{project_id}/members/{bob.id}"
        with pytest.raises(NotFoundError):
            await moves_at_once(app, bob, ids[1], {"at": "top"}, lambda: alice.delete(path, None))
        assert await ids_in_order(alice, project_id) == ids


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

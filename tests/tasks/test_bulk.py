"""Many tasks at once: all or nothing, in order, and as many statements for 100 as for one."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from taskmanager.accounts.request_writes import _RequestTransaction
from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from tests.conftest import Person
from tests.support.bulk_requests import BULK, MOST, make_tasks, named, share
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.rows import digests, fetch_all
from tests.support.sessions import open_transaction


async def delete(person: Person, ids: list[int], expect: int | None = 204) -> httpx.Response:
    """Delete tasks at once."""
    return await person.delete(BULK, expect, params=[("id", task_id) for task_id in ids])


class TestDelete:
    """DELETE /tasks/bulk."""

    async def test_deletes_all_with_their_comments_and_nothing_else(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, MOST) + await make_tasks(alice, project_id, 1)
        for task_id in (ids[0], ids[-1]):
            await alice.post(f"/tasks/{task_id}/comments", {"body": "A comment"})
        assert (await delete(alice, ids[:-1])).content == b""
        left = await fetch_all(database, "SELECT t.id, c.task_id FROM tasks t FULL JOIN comments c ON c.task_id = t.id")
        assert left == [{"id": ids[-1], "task_id": ids[-1]}]

    async def test_logs_every_task(self, alice: Person, project_id: int, database: Database) -> None:
        ids = await make_tasks(alice, project_id, 2)
        await alice.patch(f"/tasks/{ids[1]}", {"title": "New"})
        await delete(alice, ids)
        for task_id, version, title in ((ids[0], 2, "Task 0"), (ids[1], 3, "New")):
            event = (await events_of(database, "task", task_id))[-1]
            assert (event["action"], event["version"], event["actor_id"]) == ("deleted", version, alice.id)
            assert event["changes"] == {"title": {"old": title, "new": None}}

    async def test_one_that_may_not_be_seen_is_404_with_its_index(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 2)
        (foreign,) = await make_tasks(bob, bob.inbox_id, 1)
        before = await digests(database)
        for asked, index in (([*ids, foreign], 2), ([10**12, *ids], 0)):
            assert (await delete(alice, asked, 404)).json()["index"] == index
        assert await digests(database) == before
        await delete(alice, ids)
        assert (await delete(alice, ids, 404)).json()["index"] == 0

    async def test_other_queries_are_422(self, alice: Person, project_id: int, database: Database) -> None:
        ids = await make_tasks(alice, project_id, 2)
        (elsewhere,) = await make_tasks(alice, alice.inbox_id, 1)
        before = await digests(database)
        for query in ("", "?id=", "?id=x", "?id=0", "?id=1.0", f"?ids={ids[0]}", f"?id={ids[0]}&force=true"):
            answer = await alice.delete(f"{BULK}{query}", None)
            assert answer.status_code == 422, query
        await delete(alice, [ids[0], ids[0]], 422)
        await delete(alice, list(range(1, MOST + 2)), 422)
        answer = await delete(alice, [*ids, elsewhere], 422)
        assert [error["loc"] for error in answer.json()["errors"]] == [["query", "id"]]
        assert await digests(database) == before

    async def test_a_viewer_is_403_and_an_archived_project_409(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 2)
        await share(alice, project_id, bob, "viewer")
        await delete(bob, ids, 403)
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        await delete(alice, ids, 409)
        assert await count_rows(database, "tasks") == 2


class TestStatements:
    """A request costs as many statements for 100 tasks as for one."""

    @pytest.mark.parametrize("count", [1, MOST])
    async def test_their_number_is_constant(
        self, alice: Person, project_id: int, count: int, query_recorder: list[str]
    ) -> None:
        ids = await make_tasks(alice, project_id, count)
        numbers = [len(query_recorder)]
        for body in (
            named("ids", ids, {"title": "New", "assignee_id": alice.id}),
            {"tasks": [{"id": task_id, "version": 2} for task_id in ids], "set": {"priority": 2}},
        ):
            query_recorder.clear()
            await alice.patch(BULK, body)
            numbers.append(len(query_recorder))
        query_recorder.clear()
        await delete(alice, ids)
        numbers.append(len(query_recorder))
        # The first of each checks the login; one locks the tasks that another changes or deletes.
        assert numbers == [1, 2, 2, 2]


class TestAtOnce:
    """Others who write at the same time."""

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("DELETE", "/members/{bob}", None),
            ("PUT", "/members/{bob}", {"role": "viewer"}),
            ("PATCH", "", {"archived": True}),
        ],
    )
    async def test_rights_stay_until_the_end(
        self,
        alice: Person,
        bob: Person,
        project_id: int,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
        method: str,
        path: str,
        body: Any,
    ) -> None:
        ids = await make_tasks(alice, project_id, 2)
        await share(alice, project_id, bob, "editor")
        path = f"/projects/{project_id}{path.format(bob=bob.id)}"
        last = _RequestTransaction.last
        taken: list[asyncio.Task[Any]] = []

        async def last_while_rights_are_taken(
            self: _RequestTransaction, statement: Statement, **values: Any
        ) -> asyncpg.Record | None:
            monkeypatch.setattr(_RequestTransaction, "last", last)
            taken.append(asyncio.create_task(alice.request(method, path, json=body)))
            await until_blocked(database)
            return await last(self, statement, **values)

        monkeypatch.setattr(_RequestTransaction, "last", last_while_rights_are_taken)
        changed = await bob.patch(BULK, {"ids": ids, "set": {"assignee_id": bob.id}})
        assert [task["assignee_id"] for task in changed.json()["tasks"]] == [bob.id] * 2
        assert (await taken[0]).is_success
        assert (await bob.patch(BULK, {"ids": ids, "set": {"priority": 5}}, None)).status_code in {403, 404, 409}

    async def test_requests_for_the_same_tasks_in_other_orders_do_not_fail(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 20)
        for number in range(5):
            answers = await asyncio.gather(
                *(
                    alice.patch(BULK, {"ids": order, "set": {"title": f"{number}-{racer}"}})
                    for racer, order in enumerate((ids, ids[::-1], ids[10:] + ids[:10], ids[::2]))
                )
            )
            titles = {row["title"] for row in await fetch_all(database, "SELECT title FROM tasks")}
            assert titles <= {answer.json()["tasks"][0]["title"] for answer in answers}
        versions = await fetch_all(
            database,
            """
            SELECT t.version, max(e.version) AS logged, count(*) FROM tasks t JOIN events e ON e.entity_id = t.id
            WHERE e.entity = 'task' GROUP BY t.project_id, t.id, t.version
            """,
        )
        assert all(row["version"] == row["logged"] == row["count"] for row in versions)

    async def test_one_that_is_deleted_meanwhile_is_404_and_the_others_stay(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 3)
        async with open_transaction(database) as session:
            await session.execute(text("DELETE FROM tasks WHERE id = :id"), {"id": ids[1]})
            changing = asyncio.create_task(alice.patch(BULK, named("ids", ids, {"title": "Lost"}), 404))
            await until_blocked(database)
        assert (await changing).json()["index"] == 1
        titles = {row["title"] for row in await fetch_all(database, "SELECT title FROM tasks")}
        assert titles == {"Task 0", "Task 2"}

    async def test_of_two_with_versions_one_wins(self, alice: Person, project_id: int) -> None:
        ids = await make_tasks(alice, project_id, 10)
        for version in range(1, 11):
            tasks = [{"id": task_id, "version": version} for task_id in ids]
            answers = await asyncio.gather(
                *(
                    alice.patch(BULK, {"tasks": order, "set": {"title": f"{version}-{racer}"}}, None)
                    for racer, order in enumerate((tasks, tasks[::-1], tasks))
                )
            )
            assert sorted(answer.status_code for answer in answers) == [200, 412, 412]

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    async def test_an_assignee_who_is_removed_meanwhile_is_422(
        self, alice: Person, bob: Person, project_id: int, method: str, database: Database
    ) -> None:
        await share(alice, project_id, bob)
        ids = await make_tasks(alice, project_id, 2)
        if method == "POST":
            body = {"tasks": [{"title": "Lost", "project_id": project_id, "assignee_id": bob.id}]}
        else:
            body = named("ids", ids, {"assignee_id": bob.id})
        async with open_transaction(database) as session:
            await session.execute(
                text("DELETE FROM project_members WHERE user_id = :id AND project_id = :project_id"),
                {"id": bob.id, "project_id": project_id},
            )
            writing = asyncio.create_task(alice.request(method, BULK, 422, json=body))
            await until_blocked(database)
        loc = ["body", "tasks"] if method == "POST" else ["body", "set", "assignee_id"]
        assert [error["loc"] for error in (await writing).json()["errors"]] == [loc]
        assert await count_rows(database, "tasks") == 2

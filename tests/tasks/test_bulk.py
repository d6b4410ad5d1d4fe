"""Many tasks at once: all or nothing, in order, and as many statements for 100 as for one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import Person, client_for, make_settings
from tests.support.credentials import bearer
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.rows import digests, fetch_all

BULK = "/tasks/bulk"
MOST = 100


@pytest.fixture
async def project_id(alice: Person) -> int:
    """A project of Alice's."""
    return await alice.new_project()


async def make_tasks(person: Person, project_id: int, count: int, **values: Any) -> list[int]:
    """Create tasks at once and return their ids."""
    tasks = [{"title": f"Task {number}", "project_id": project_id, **values} for number in range(count)]
    return [task["id"] for task in (await person.post(BULK, {"tasks": tasks})).json()["tasks"]]


async def share(owner: Person, project_id: int, person: Person, role: str = "editor") -> None:
    """Make somebody a member."""
    await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})


def kind_of(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    return str(response.json()["type"]).removeprefix("urn:taskmanager:problem:")


async def delete(person: Person, ids: list[int], expect: int | None = 204) -> httpx.Response:
    """Delete tasks at once."""
    return await person.delete(BULK, expect, params=[("id", task_id) for task_id in ids])


class TestCreate:
    """POST /tasks/bulk."""

    async def test_answers_all_tasks_in_the_order_of_the_request(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        titles = [f"{number * 7919 % MOST:02}" for number in range(MOST)]
        new = [{"title": title, "project_id": project_id} for title in titles]
        tasks = (await alice.post(BULK, {"tasks": new})).json()["tasks"]
        assert [task["title"] for task in tasks] == titles
        ids = [task["id"] for task in tasks]
        assert ids == sorted(set(ids))
        assert await count_rows(database, "tasks") == MOST
        for task in (tasks[0], tasks[-1]):
            assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_stores_every_field_as_a_single_one_does(self, alice: Person, project_id: int) -> None:
        body = {
            "title": " Write ",
            "description": "  as it is ",
            "status": "completed",
            "priority": 5,
            "tags": ["B", "a", "b"],
            "due_at": "2030-01-31T14:00:00.000001+02:00",
            "assignee_id": alice.id,
            "project_id": project_id,
        }
        single = (await alice.post("/tasks", body)).json()
        (bulk,) = (await alice.post(BULK, {"tasks": [body]})).json()["tasks"]
        varying = ("id", "created_at", "updated_at", "completed_at")
        assert {k: v for k, v in bulk.items() if k not in varying} == {
            k: v for k, v in single.items() if k not in varying
        }
        assert bulk["completed_at"] == bulk["created_at"] == bulk["updated_at"]

    async def test_goes_into_the_inbox_unless_a_project_is_named(self, alice: Person) -> None:
        tasks = (await alice.post(BULK, {"tasks": [{"title": "a"}, {"title": "b", "project_id": None}]})).json()
        assert {task["project_id"] for task in tasks["tasks"]} == {alice.inbox_id}

    async def test_logs_every_task(self, alice: Person, project_id: int, database: Database) -> None:
        for number, task_id in enumerate(await make_tasks(alice, project_id, 3)):
            (event,) = await events_of(database, "task", task_id)
            assert (event["project_id"], event["actor_id"], event["version"]) == (project_id, alice.id, 1)
            assert event["action"] == "created"
            assert event["changes"] == {"title": {"old": None, "new": f"Task {number}"}}

    async def test_tells_every_assignee_but_oneself(self, alice: Person, bob: Person, project_id: int) -> None:
        await share(alice, project_id, bob)
        people = [bob.id, alice.id, None, bob.id]
        new = [{"title": "Task", "project_id": project_id, "assignee_id": person} for person in people]
        tasks = (await alice.post(BULK, {"tasks": new})).json()["tasks"]
        told = (await bob.get("/notifications")).json()["notifications"]
        assert {(n["kind"], n["task_id"]) for n in told} == {
            ("assigned", tasks[0]["id"]),
            ("assigned", tasks[3]["id"]),
        }
        assert (await alice.get("/notifications")).json()["notifications"] == []

    @pytest.mark.parametrize(
        ("task", "field"),
        [
            ({"title": ""}, "title"),
            ({}, "title"),
            ({"title": "a", "priority": 6}, "priority"),
            ({"title": "a", "id": 1}, "id"),
            ({"title": "a", "due_at": "2030-01-01"}, "due_at"),
        ],
        ids=repr,
    )
    async def test_a_value_that_cannot_be_accepted_is_422_with_its_index(
        self, alice: Person, task: dict[str, Any], field: str, database: Database
    ) -> None:
        answer = await alice.post(BULK, {"tasks": [{"title": "fine"}, task, {"title": "fine"}]}, 422)
        assert [error["loc"] for error in answer.json()["errors"]] == [["body", "tasks", 1, field]]
        assert await count_rows(database, "tasks") == 0

    async def test_an_assignee_outside_the_project_is_422_with_its_index(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        before = await digests(database)
        people = [alice.id, None, bob.id, alice.id, 10**12]
        new = [{"title": "Task", "project_id": project_id, "assignee_id": person} for person in people]
        answer = await alice.post(BULK, {"tasks": new}, 422)
        assert [error["loc"] for error in answer.json()["errors"]] == [["body", "tasks", 2, "assignee_id"]]
        assert await digests(database) == before

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"tasks": []},
            {"tasks": None},
            {"tasks": {}},
            {"tasks": [{"title": "Task"}] * (MOST + 1)},
            {"tasks": [{"title": "Task"}], "other": 1},
            [{"title": "Task"}],
        ],
        ids=lambda body: repr(body)[:30],
    )
    async def test_none_or_more_than_100_are_422(self, alice: Person, body: Any, database: Database) -> None:
        await alice.post(BULK, body, 422)
        assert await count_rows(database, "tasks") == 0

    async def test_tasks_for_two_projects_are_422(self, alice: Person, project_id: int, database: Database) -> None:
        other = await alice.new_project()
        for second in (other, None, alice.inbox_id):
            new = [{"title": "a", "project_id": project_id}, {"title": "b", "project_id": second}]
            await alice.post(BULK, {"tasks": new}, 422)
        assert await count_rows(database, "tasks") == 0

    async def test_a_foreign_or_missing_project_is_404_a_viewer_403_an_archived_project_409(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        body = {"tasks": [{"title": "Task", "project_id": project_id}]}
        assert kind_of(await bob.post(BULK, body, 404)) == "not-found"
        await alice.post(BULK, {"tasks": [{"title": "Task", "project_id": 10**12}]}, 404)
        await share(alice, project_id, bob, "viewer")
        assert kind_of(await bob.post(BULK, body, 403)) == "role-too-low"
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        assert kind_of(await alice.post(BULK, body, 409)) == "project-archived"
        assert kind_of(await bob.post(BULK, body, 403)) == "role-too-low"
        assert await count_rows(database, "tasks") == 0

    async def test_the_same_key_again_is_replayed(self, alice: Person, database: Database) -> None:
        body = {"tasks": [{"title": "a"}, {"title": "b"}]}
        first = await alice.post(BULK, body, headers={"Idempotency-Key": "a-key"})
        again = await alice.post(BULK, body, headers={"Idempotency-Key": "a-key"})
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
        assert await count_rows(database, "tasks") == 2


class TestUpdate:
    """PATCH /tasks/bulk."""

    async def test_answers_all_tasks_in_the_order_of_the_request(self, alice: Person, project_id: int) -> None:
        ids = await make_tasks(alice, project_id, MOST)
        asked = sorted(ids, key=lambda task_id: task_id * 7919 % 101)
        tasks = (await alice.patch(BULK, {"ids": asked, "set": {"priority": 4}})).json()["tasks"]
        assert [task["id"] for task in tasks] == asked
        assert {(task["priority"], task["version"]) for task in tasks} == {(4, 2)}
        for task in (tasks[0], tasks[-1]):
            assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_sets_only_the_given_fields_and_null_clears(self, alice: Person, project_id: int) -> None:
        values = {"description": "Text", "due_at": "2030-01-01T00:00:00Z", "tags": ["a"], "assignee_id": alice.id}
        ids = await make_tasks(alice, project_id, 2, **values)
        before = [(await alice.get(f"/tasks/{task_id}")).json() for task_id in ids]
        changes = {"description": None, "due_at": None, "status": "completed"}
        after = (await alice.patch(BULK, {"ids": ids, "set": changes})).json()["tasks"]
        for old, new in zip(before, after, strict=True):
            assert new["completed_at"] == new["updated_at"] > old["updated_at"]
            touched = {**changes, "version": 2, "completed_at": new["completed_at"], "updated_at": new["updated_at"]}
            assert new == {**old, **touched}

    async def test_what_changes_nothing_writes_nothing(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 3)
        await alice.patch(f"/tasks/{ids[1]}", {"priority": 2})
        before = await digests(database)
        same = (await alice.patch(BULK, {"ids": ids, "set": {}})).json()["tasks"]
        assert [task["version"] for task in same] == [1, 2, 1]
        assert await digests(database) == before
        changed = (await alice.patch(BULK, {"ids": ids, "set": {"priority": 2}})).json()["tasks"]
        assert [(task["priority"], task["version"]) for task in changed] == [(2, 2), (2, 2), (2, 2)]
        assert [len(await events_of(database, "task", task_id)) for task_id in ids] == [2, 2, 2]

    async def test_logs_what_each_task_had_before(self, alice: Person, project_id: int, database: Database) -> None:
        first, second = await make_tasks(alice, project_id, 2)
        await alice.patch(f"/tasks/{first}", {"priority": 3})
        await alice.patch(BULK, {"ids": [first, second], "set": {"priority": 4, "due_at": "2030-01-01T00:00:00Z"}})
        due = {"old": None, "new": "2030-01-01T00:00:00.000000Z"}
        for task_id, version, old in ((first, 3, 3), (second, 2, 1)):
            event = (await events_of(database, "task", task_id))[-1]
            assert (event["version"], event["action"], event["actor_id"]) == (version, "updated", alice.id)
            assert event["changes"] == {"priority": {"old": old, "new": 4}, "due_at": due}

    async def test_tells_a_new_assignee_of_each_task(self, alice: Person, bob: Person, project_id: int) -> None:
        await share(alice, project_id, bob)
        ids = await make_tasks(alice, project_id, 3)
        await alice.patch(f"/tasks/{ids[0]}", {"assignee_id": bob.id})
        await alice.post("/notifications/read", expect=204)
        await bob.post("/notifications/read", expect=204)
        await alice.patch(BULK, {"ids": ids, "set": {"assignee_id": bob.id}})
        told = (await bob.get("/notifications", params={"unread": True})).json()["notifications"]
        assert {(n["kind"], n["task_id"]) for n in told} == {("assigned", ids[1]), ("assigned", ids[2])}
        await bob.patch(BULK, {"ids": ids, "set": {"assignee_id": None}})
        await bob.patch(BULK, {"ids": ids, "set": {"assignee_id": bob.id}})
        assert (await bob.get("/notifications")).json()["unread"] == 2

    @pytest.mark.parametrize("form", ["ids", "tasks"])
    async def test_one_that_may_not_be_seen_is_404_with_its_index(
        self, alice: Person, bob: Person, project_id: int, form: str, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 2)
        (foreign,) = await make_tasks(bob, bob.inbox_id, 1)
        before = await digests(database)
        for asked, index in (([ids[0], ids[1], foreign], 2), ([10**12, *ids], 0), ([ids[0], foreign, 10**12], 1)):
            answer = await alice.patch(BULK, _named(form, asked, {"title": "Lost"}), 404)
            assert (kind_of(answer), answer.json()["index"]) == ("not-found", index)
        assert await digests(database) == before

    async def test_with_versions_one_that_is_stale_is_412_with_its_index(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 3)
        await alice.patch(f"/tasks/{ids[1]}", {"priority": 2})
        before = await digests(database)
        tasks = [{"id": task_id, "version": 1} for task_id in ids]
        answer = await alice.patch(BULK, {"tasks": tasks, "set": {"title": "Lost"}}, 412)
        assert (kind_of(answer), answer.json()["index"], answer.json()["current_version"]) == ("stale-version", 1, 2)
        assert await digests(database) == before
        tasks[1]["version"] = 2
        after = (await alice.patch(BULK, {"tasks": tasks, "set": {"title": "New"}})).json()["tasks"]
        assert [(task["title"], task["version"]) for task in after] == [("New", 2), ("New", 3), ("New", 2)]

    async def test_an_assignee_outside_the_project_is_422_and_nothing_changes(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 2)
        before = await digests(database)
        for person in (bob.id, 10**12):
            body = {"ids": ids, "set": {"assignee_id": person, "title": "Lost"}}
            answer = await alice.patch(BULK, body, 422)
            assert [error["loc"] for error in answer.json()["errors"]] == [["body", "set", "assignee_id"]]
        assert await digests(database) == before

    @pytest.mark.parametrize(
        "changes",
        [{"title": None}, {"priority": 0}, {"tags": None}, {"status": "done"}, {"project_id": 1}, {"id": 1}, None],
        ids=repr,
    )
    async def test_other_changes_are_422(
        self, alice: Person, project_id: int, changes: Any, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 1)
        before = await digests(database)
        answer = await alice.patch(BULK, {"ids": ids, "set": changes}, 422)
        assert answer.json()["errors"][0]["loc"][:2] == ["body", "set"]
        assert await digests(database) == before

    async def test_other_bodies_are_422(self, alice: Person, project_id: int, database: Database) -> None:
        (task_id,) = await make_tasks(alice, project_id, 1)
        before = await digests(database)
        changes = {"title": "Lost"}
        named = {"id": task_id, "version": 1}
        bodies: list[dict[str, Any]] = [
            {"set": changes},
            {"ids": [task_id]},
            {"ids": [], "set": changes},
            {"tasks": [], "set": changes},
            {"ids": [task_id], "tasks": [named], "set": changes},
            {"ids": [task_id, task_id], "set": changes},
            {"tasks": [named, {"id": task_id, "version": 2}], "set": changes},
            {"ids": list(range(1, MOST + 2)), "set": changes},
            {"tasks": [{"id": number, "version": 1} for number in range(1, MOST + 2)], "set": changes},
            {"ids": [0], "set": changes},
            {"ids": ["1"], "set": changes},
            {"tasks": [{"id": task_id}], "set": changes},
            {"tasks": [{"id": task_id, "version": 0}], "set": changes},
            {"tasks": [{"id": task_id, "version": None}], "set": changes},
        ]
        for body in bodies:
            answer = await alice.patch(BULK, body, None)
            assert answer.status_code == 422, body
        assert await digests(database) == before

    @pytest.mark.parametrize("form", ["ids", "tasks"])
    async def test_tasks_of_two_projects_are_422(
        self, alice: Person, project_id: int, form: str, database: Database
    ) -> None:
        ids = [*await make_tasks(alice, project_id, 2), *await make_tasks(alice, alice.inbox_id, 1)]
        before = await digests(database)
        answer = await alice.patch(BULK, _named(form, ids, {"title": "Lost"}), 422)
        assert [error["loc"] for error in answer.json()["errors"]] == [["body", form]]
        assert await digests(database) == before

    async def test_a_viewer_is_403_and_an_archived_project_409(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 2)
        await share(alice, project_id, bob, "viewer")
        body = {"tasks": [{"id": task_id, "version": 9} for task_id in ids], "set": {"title": "Lost"}}
        assert kind_of(await bob.patch(BULK, body, 403)) == "role-too-low"
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        before = await digests(database)
        assert kind_of(await alice.patch(BULK, body, 409)) == "project-archived"
        assert kind_of(await bob.patch(BULK, body, 403)) == "role-too-low"
        assert await digests(database) == before


def _named(form: str, ids: list[int], changes: dict[str, Any]) -> dict[str, Any]:
    named = ids if form == "ids" else [{"id": task_id, "version": 1} for task_id in ids]
    return {form: named, "set": changes}


class TestDemanded:
    """With REQUIRE_IF_MATCH a change needs versions."""

    @pytest.fixture
    async def strict_app(self, database_url: str) -> AsyncIterator[FastAPI]:
        """The application with that setting."""
        app = create_app(make_settings(database_url=database_url, require_if_match=True))
        async with app.router.lifespan_context(app):
            yield app

    async def test_ids_alone_are_428_and_versions_are_fine(
        self, alice: Person, bob: Person, project_id: int, strict_app: FastAPI, database: Database
    ) -> None:
        ids = await make_tasks(alice, project_id, 2)
        before = await digests(database)
        async with client_for(strict_app) as client:
            strict, other = replace(alice, client=client), replace(bob, client=client)
            headers = bearer(alice.token)
            answer = await strict.patch(BULK, _named("ids", ids, {"title": "New"}), 428, headers=headers)
            assert kind_of(answer) == "precondition-required"
            await other.patch(BULK, _named("ids", ids, {"title": "New"}), 404, headers=bearer(bob.token))
            assert await digests(database) == before
            await strict.patch(BULK, _named("tasks", ids, {"title": "New"}), headers=headers)


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
            _named("ids", ids, {"title": "New", "assignee_id": alice.id}),
            {"tasks": [{"id": task_id, "version": 2} for task_id in ids], "set": {"priority": 2}},
        ):
            query_recorder.clear()
            await alice.patch(BULK, body)
            numbers.append(len(query_recorder))
        query_recorder.clear()
        await delete(alice, ids)
        numbers.append(len(query_recorder))
        # One of each looks up who calls.
        assert numbers == [2, 3, 3, 3]


class TestAtOnce:
    """Others who write at the same time."""

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
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM tasks WHERE id = :id"), {"id": ids[1]})
            changing = asyncio.create_task(alice.patch(BULK, _named("ids", ids, {"title": "Lost"}), 404))
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
            body = _named("ids", ids, {"assignee_id": bob.id})
        async with database.transaction() as session:
            await session.execute(
                text("DELETE FROM project_members WHERE user_id = :id AND project_id = :project_id"),
                {"id": bob.id, "project_id": project_id},
            )
            writing = asyncio.create_task(alice.request(method, BULK, 422, json=body))
            await until_blocked(database)
        loc = ["body", "tasks"] if method == "POST" else ["body", "set", "assignee_id"]
        assert [error["loc"] for error in (await writing).json()["errors"]] == [loc]
        assert await count_rows(database, "tasks") == 2

"""Many tasks are changed by one request, all or none."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import Person, client_for, make_settings
from tests.support.bulk_requests import BULK, MOST, kind_of, make_tasks, named, share
from tests.support.credentials import bearer
from tests.support.event_log import events_of
from tests.support.rows import digests


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
            answer = await alice.patch(BULK, named(form, asked, {"title": "Lost"}), 404)
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
        answer = await alice.patch(BULK, named(form, ids, {"title": "Lost"}), 422)
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
            answer = await strict.patch(BULK, named("ids", ids, {"title": "New"}), 428, headers=headers)
            assert kind_of(answer) == "precondition-required"
            await other.patch(BULK, named("ids", ids, {"title": "New"}), 404, headers=bearer(bob.token))
            assert await digests(database) == before
            await strict.patch(BULK, named("tasks", ids, {"title": "New"}), headers=headers)

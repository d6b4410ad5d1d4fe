"""Many tasks are created by one request, all or none."""

import asyncio
from typing import Any

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.bulk_requests import BULK, MOST, kind_of, make_tasks, share
from tests.support.event_log import count_rows, events_of
from tests.support.rows import digests


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
        varying = ("id", "position", "created_at", "updated_at", "completed_at")
        assert {k: v for k, v in bulk.items() if k not in varying} == {
            k: v for k, v in single.items() if k not in varying
        }
        assert bulk["completed_at"] == bulk["created_at"] == bulk["updated_at"]

    async def test_requests_share_statements_and_each_gets_its_own(
        self, alice: Person, bob: Person, project_id: int, database: Database, query_recorder: list[str]
    ) -> None:
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
        query_recorder.clear()
        titles = [[f"{request} {place * 7 % 20}" for place in range(20)] for request in range(12)]
        bodies = [{"tasks": [{"title": title, "project_id": project_id} for title in some]} for some in titles]
        answers, _, outside = await asyncio.gather(
            asyncio.gather(*(alice.post(BULK, body) for body in bodies)),
            bob.post(BULK, bodies[0], 403),
            bob.post(BULK, {"tasks": [{"title": "Mine"}]}),
        )
        assert sum("INSERT INTO tasks" in sql for sql in query_recorder) <= 6
        for some, answer in zip(titles, answers, strict=True):
            tasks = answer.json()["tasks"]
            assert [task["title"] for task in tasks] == some
            assert [task["id"] for task in tasks] == sorted({task["id"] for task in tasks})
        assert [task["project_id"] for task in outside.json()["tasks"]] == [bob.inbox_id]
        assert await count_rows(database, "tasks") == 12 * 20 + 1

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

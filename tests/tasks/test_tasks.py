"""Creating, reading, changing and deleting single tasks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.ordering.keys import default_key
from tests.conftest import Person
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.sessions import open_transaction

NULLABLE = ("description", "due_at", "assignee_id")


NOT_NULLABLE = ("title", "status", "priority", "tags")


class TestCreate:
    """POST /tasks and POST /projects/{project_id}/tasks."""

    async def test_a_title_alone_takes_the_defaults(self, alice: Person) -> None:
        before = datetime.now(UTC)
        task = (await alice.post("/tasks", {"title": "A task"})).json()
        created_at = datetime.fromisoformat(task["created_at"])
        assert before - timedelta(seconds=5) < created_at < datetime.now(UTC) + timedelta(seconds=5)
        assert task == {
            "id": task["id"],
            "project_id": alice.inbox_id,
            "title": "A task",
            "description": None,
            "status": "pending",
            "priority": 1,
            "tags": [],
            "due_at": None,
            "due_on": None,
            "start_at": None,
            "assignee_id": None,
            "section_id": None,
            "position": default_key(task["id"]),
            "created_by": alice.id,
            "created_at": task["created_at"],
            "updated_at": task["created_at"],
            "completed_at": None,
            "version": 1,
        }

    async def test_all_fields_are_stored(self, alice: Person) -> None:
        project_id = await alice.new_project()
        body = {
            "project_id": project_id,
            "title": "A task",
            "description": "At length",
            "status": "in_progress",
            "priority": 5,
            "tags": ["a", "b"],
            "due_at": "2031-01-31T12:00:00.000000Z",
            "assignee_id": alice.id,
        }
        task = (await alice.post("/tasks", body)).json()
        assert {name: task[name] for name in body} == body
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_location_leads_to_the_task(self, alice: Person) -> None:
        project_id = await alice.new_project()
        for path in ("/tasks", f"/projects/{project_id}/tasks"):
            response = await alice.post(path, {"title": "A task"})
            assert response.headers["Location"] == f"/api/v1/tasks/{response.json()['id']}"
            assert (await alice.client.get(response.headers["Location"])).json() == response.json()

    async def test_null_project_id_means_the_inbox(self, alice: Person) -> None:
        task = (await alice.post("/tasks", {"title": "A task", "project_id": None})).json()
        assert task["project_id"] == alice.inbox_id

    async def test_under_a_project_it_belongs_there(self, alice: Person) -> None:
        project_id = await alice.new_project()
        task = (await alice.post(f"/projects/{project_id}/tasks", {"title": "A task"})).json()
        assert task["project_id"] == project_id

    async def test_under_a_project_the_body_names_no_project(self, alice: Person) -> None:
        project_id = await alice.new_project()
        body = {"title": "A task", "project_id": alice.inbox_id}
        await alice.post(f"/projects/{project_id}/tasks", body, expect=422)

    async def test_into_a_foreign_or_missing_project_is_404(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        for project_id in (bob.inbox_id, await bob.new_project(), 999_999):
            await alice.post("/tasks", {"title": "A task", "project_id": project_id}, expect=404)
            await alice.post(f"/projects/{project_id}/tasks", {"title": "A task"}, expect=404)
        assert await count_rows(database, "tasks") == 0

    async def test_created_as_completed_has_a_completion_time(self, alice: Person) -> None:
        task = await alice.new_task(status="completed")
        assert task["completed_at"] == task["created_at"]

    async def test_an_assignee_outside_the_project_is_422(self, alice: Person, bob: Person, database: Database) -> None:
        for stranger in (bob.id, 999_999):
            response = await alice.post("/tasks", {"title": "A task", "assignee_id": stranger}, expect=422)
            assert [error["loc"] for error in response.json()["errors"]] == [["body", "assignee_id"]]
        assert await count_rows(database, "tasks") == 0

    async def test_into_a_project_deleted_meanwhile_is_404(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        async with open_transaction(database) as session:
            await session.execute(text("DELETE FROM project_members WHERE project_id = :id"), {"id": project_id})
            await session.execute(text("DELETE FROM projects WHERE id = :id"), {"id": project_id})
            creation = asyncio.create_task(alice.post("/tasks", {"title": "Late", "project_id": project_id}, None))
            await until_blocked(database)
        assert (await creation).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
class TestUpdate:
    """PUT and PATCH, which mean the same."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("title", "New"),
            ("description", "New"),
            ("status", "cancelled"),
            ("priority", 2),
            ("tags", ["new"]),
            ("due_at", "2032-01-01T00:00:00.000000Z"),
            ("assignee_id", None),
        ],
    )
    async def test_changes_only_the_given_field(self, alice: Person, method: str, field: str, value: Any) -> None:
        values: dict[str, Any] = {
            "description": "Old",
            "priority": 5,
            "tags": ["old"],
            "due_at": "2031-01-31T12:00:00Z",
        }
        before = await alice.new_task(title="Old", assignee_id=alice.id, **values)
        after = (await alice.request(method, f"/tasks/{before['id']}", 200, json={field: value})).json()
        assert after == {**before, field: value, "version": 2, "updated_at": after["updated_at"]}
        assert after["updated_at"] > before["updated_at"]
        assert (await alice.get(f"/tasks/{before['id']}")).json() == after

    @pytest.mark.parametrize("field", NULLABLE)
    async def test_null_clears_a_field_that_may_be_empty(self, alice: Person, method: str, field: str) -> None:
        values: dict[str, Any] = {"description": "Old", "due_at": "2031-01-31T12:00:00Z", "assignee_id": alice.id}
        task = await alice.new_task(**values)
        assert task[field] is not None
        after = (await alice.request(method, f"/tasks/{task['id']}", 200, json={field: None})).json()
        assert after[field] is None
        kept = set(NULLABLE) - {field}
        assert {name: after[name] for name in kept} == {name: task[name] for name in kept}

    @pytest.mark.parametrize("field", NOT_NULLABLE)
    async def test_null_elsewhere_is_422(self, alice: Person, method: str, field: str) -> None:
        task = await alice.new_task()
        response = await alice.request(method, f"/tasks/{task['id']}", 422, json={field: None})
        assert response.json()["errors"][0]["loc"] == ["body", field]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_a_mixture_of_good_and_bad_fields_changes_nothing(self, alice: Person, method: str) -> None:
        task = await alice.new_task()
        await alice.request(method, f"/tasks/{task['id']}", 422, json={"title": "New", "priority": 9})
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_without_any_difference_nothing_is_written(
        self, alice: Person, method: str, database: Database
    ) -> None:
        task = await alice.new_task(description="Text", tags=["a", "b"], due_at="2031-01-31T12:00:00Z")
        same = {name: task[name] for name in (*NULLABLE, *NOT_NULLABLE)}
        for body in ({}, same, {"tags": ["B", "a"]}, {"title": " A task "}, {"due_at": "2031-01-31T13:00:00+01:00"}):
            response = await alice.request(method, f"/tasks/{task['id']}", 200, json=body)
            assert response.json() == task
        assert [event["action"] for event in await events_of(database, "task", task["id"])] == ["created"]

    async def test_an_assignee_outside_the_project_is_422(self, alice: Person, bob: Person, method: str) -> None:
        task = await alice.new_task()
        response = await alice.request(method, f"/tasks/{task['id']}", 422, json={"assignee_id": bob.id})
        assert response.json()["errors"][0]["loc"] == ["body", "assignee_id"]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task


class TestCompletion:
    """`completed_at` follows the status."""

    async def test_is_set_when_the_task_is_completed(self, alice: Person) -> None:
        task = await alice.new_task()
        done = (await alice.patch(f"/tasks/{task['id']}", {"status": "completed"})).json()
        assert done["completed_at"] == done["updated_at"]

    async def test_stays_while_the_task_is_completed(self, alice: Person) -> None:
        task = await alice.new_task(status="completed")
        after = (await alice.patch(f"/tasks/{task['id']}", {"title": "New", "status": "completed"})).json()
        assert after["title"] == "New"
        assert after["completed_at"] == task["completed_at"]

    @pytest.mark.parametrize("status", ["pending", "in_progress", "cancelled"])
    async def test_is_cleared_by_any_other_status(self, alice: Person, status: str) -> None:
        task = await alice.new_task(status="completed")
        after = (await alice.patch(f"/tasks/{task['id']}", {"status": status})).json()
        assert after["completed_at"] is None

    async def test_cannot_be_given(self, alice: Person) -> None:
        body = {"title": "A task", "status": "completed", "completed_at": "2020-01-01T00:00:00Z"}
        await alice.post("/tasks", body, expect=422)


class TestUnderItsProject:
    """The same routes below /projects/{project_id}/tasks."""

    async def test_reads_changes_and_deletes(self, alice: Person) -> None:
        project_id = await alice.new_project()
        task = await alice.new_task(project_id)
        path = f"/projects/{project_id}/tasks/{task['id']}"
        assert (await alice.get(path)).json() == task
        assert (await alice.put(path, {"title": "Put"})).json()["title"] == "Put"
        assert (await alice.patch(path, {"priority": 2})).json()["title"] == "Put"
        await alice.delete(path)
        await alice.get(f"/tasks/{task['id']}", expect=404)

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_a_task_of_another_project_is_404(self, alice: Person, method: str) -> None:
        project_id = await alice.new_project()
        task = await alice.new_task()
        body = {"title": "New"} if method in {"PUT", "PATCH"} else None
        for wrong in (project_id, 999_999):
            await alice.request(method, f"/projects/{wrong}/tasks/{task['id']}", 404, json=body)
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task


class TestDelete:
    """DELETE /tasks/{task_id}."""

    async def test_takes_the_comments_along(self, alice: Person, database: Database) -> None:
        task, kept = await alice.new_task(), await alice.new_task()
        for number in range(3):
            await alice.post(f"/tasks/{task['id']}/comments", {"body": f"Comment {number}"})
        await alice.post(f"/tasks/{kept['id']}/comments", {"body": "Kept"})
        await alice.delete(f"/tasks/{task['id']}")
        await alice.get(f"/tasks/{task['id']}/comments", expect=404)
        assert await count_rows(database, "comments") == 1

    async def test_twice_is_404(self, alice: Person) -> None:
        task = await alice.new_task()
        await alice.delete(f"/tasks/{task['id']}")
        await alice.delete(f"/tasks/{task['id']}", expect=404)


class TestStrangers:
    """Another user's task is as good as none."""

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_get_the_same_404_as_for_an_unknown_id(self, alice: Person, bob: Person, method: str) -> None:
        task = await alice.new_task()
        body = {"title": "Mine now"} if method in {"PUT", "PATCH"} else None
        answers = []
        for path in (
            f"/tasks/{task['id']}",
            "/tasks/999999",
            f"/projects/{alice.inbox_id}/tasks/{task['id']}",
            f"/projects/{bob.inbox_id}/tasks/{task['id']}",
        ):
            problem = (await bob.request(method, path, 404, json=body)).json()
            answers.append({name: problem[name] for name in ("type", "title", "detail")})
        assert all(answer == answers[0] for answer in answers)
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

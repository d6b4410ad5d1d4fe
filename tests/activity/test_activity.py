"""What happened to a task and in a project, as people read it from the log."""

import re
from itertools import pairwise
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person, SignUp
from tests.support.credentials import new_key, status_of
from tests.support.rows import execute


@pytest.fixture
async def project_id(alice: Person) -> int:
    """A project of Alice's."""
    return await alice.new_project("Garden")


async def share(owner: Person, project_id: int, person: Person, role: str = "editor") -> None:
    """Make somebody a member."""
    await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})


async def of_task(person: Person, task_id: int) -> list[dict[str, Any]]:
    """Return a task's activity, newest first."""
    events: list[dict[str, Any]] = (await person.get(f"/tasks/{task_id}/activity")).json()["events"]
    return events


async def of_project(person: Person, project_id: int) -> list[dict[str, Any]]:
    """Return a project's activity, newest first."""
    events: list[dict[str, Any]] = (await person.get(f"/projects/{project_id}/activity")).json()["events"]
    return events


def told(events: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """Return what happened to what, oldest first."""
    return [(event["entity"], event["entity_id"], event["action"]) for event in reversed(events)]


def change(old: Any, new: Any) -> dict[str, Any]:
    """Return a field before and after."""
    return {"old": old, "new": new}


class TestTask:
    """GET /tasks/{task_id}/activity."""

    async def test_begins_with_its_creation(self, alice: Person) -> None:
        task = await alice.new_task(title="Dig", priority=5)
        (event,) = await of_task(alice, task["id"])
        assert event == {
            "id": event["id"],
            "created_at": task["created_at"],
            "actor": {"id": alice.id, "username": "alice", "display_name": None},
            "entity": "task",
            "entity_id": task["id"],
            "version": 1,
            "action": "created",
            "changes": {"title": change(None, "Dig")},
        }
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["created_at"])

    async def test_tells_each_changed_field_from_old_to_new_newest_first(
        self, alice: Person, bob: Person, project_id: int
    ) -> None:
        await share(alice, project_id, bob)
        task = await alice.new_task(project_id, title="Dig", tags=["a"])
        changes: list[dict[str, Any]] = [
            {"title": "Dig deeper"},
            {"description": "With a spade"},
            {"status": "completed", "priority": 3},
            {"tags": ["b", "A"]},
            {"assignee_id": bob.id},
            {"description": None, "assignee_id": None},
        ]
        for number, body in enumerate(changes):
            await (alice, bob)[number % 2].patch(f"/tasks/{task['id']}", body)
        events = (await of_task(bob, task["id"]))[:-1][::-1]
        assert [event["changes"] for event in events] == [
            {"title": change("Dig", "Dig deeper")},
            {"description": change(None, "With a spade")},
            {"status": change("pending", "completed"), "priority": change(1, 3)},
            {"tags": change(["a"], ["a", "b"])},
            {"assignee_id": change(None, bob.id)},
            {"description": change("With a spade", None), "assignee_id": change(bob.id, None)},
        ]
        assert [event["version"] for event in events] == [2, 3, 4, 5, 6, 7]
        assert [event["actor"]["username"] for event in events] == ["alice", "bob"] * 3
        assert {event["action"] for event in events} == {"updated"}

    @pytest.mark.parametrize("path", ["/tasks/{id}", "bulk"])
    async def test_times_are_written_as_everywhere_else(self, alice: Person, path: str) -> None:
        moments = ["2030-01-31T14:00:00+02:00", "0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999998Z", None]
        task = await alice.new_task(due_at="2029-12-31T23:59:59.5-00:30")
        answers = [task["due_at"]]
        for moment in moments:
            if path == "bulk":
                changed = await alice.patch("/tasks/bulk", {"ids": [task["id"]], "set": {"due_at": moment}})
                answers.append(changed.json()["tasks"][0]["due_at"])
            else:
                changed = await alice.patch(path.format(id=task["id"]), {"due_at": moment})
                answers.append(changed.json()["due_at"])
        assert answers[1] == "2030-01-31T12:00:00.000000Z"
        events = (await of_task(alice, task["id"]))[::-1]
        expected = [{"due_at": change(old, new)} for old, new in pairwise(answers)]
        assert [event["changes"] for event in events[1:]] == expected

    async def test_what_changed_nothing_is_not_told(self, alice: Person) -> None:
        task = await alice.new_task(title="Dig")
        bodies: list[dict[str, Any]] = [{"title": "Dig"}, {}, {"tags": []}, {"project_id": alice.inbox_id}]
        for body in bodies:
            await alice.patch(f"/tasks/{task['id']}", body)
        assert len(await of_task(alice, task["id"])) == 1

    async def test_what_was_refused_is_not_told(self, alice: Person, bob: Person) -> None:
        task = await alice.new_task(title="Dig")
        await alice.patch(f"/tasks/{task['id']}", {"title": "Lost"}, 412, headers={"If-Match": '"9"'})
        await alice.patch(f"/tasks/{task['id']}", {"assignee_id": bob.id}, 422)
        await bob.patch(f"/tasks/{task['id']}", {"title": "Lost"}, 404)
        assert len(await of_task(alice, task["id"])) == 1

    async def test_the_removal_of_its_assignee_is_told(self, alice: Person, bob: Person, project_id: int) -> None:
        await share(alice, project_id, bob)
        task = await alice.new_task(project_id, assignee_id=bob.id)
        await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        event = (await of_task(alice, task["id"]))[0]
        assert (event["changes"], event["version"]) == ({"assignee_id": change(bob.id, None)}, 2)
        assert event["actor"]["username"] == "alice"

    async def test_neither_comments_nor_other_tasks_belong_to_it(self, alice: Person) -> None:
        task = await alice.new_task()
        await alice.post(f"/tasks/{task['id']}/comments", {"body": "A comment"})
        await alice.new_task()
        assert told(await of_task(alice, task["id"])) == [("task", task["id"], "created")]

    async def test_after_a_move_it_begins_with_the_arrival(self, alice: Person, bob: Person, project_id: int) -> None:
        task = await alice.new_task(title="Secret")
        await alice.patch(f"/tasks/{task['id']}", {"title": "Dig"})
        await alice.patch(f"/tasks/{task['id']}", {"project_id": project_id, "priority": 2})
        await share(alice, project_id, bob, "viewer")
        changed, arrived = await of_task(bob, task["id"])
        assert (arrived["action"], arrived["version"]) == ("moved_in", 3)
        assert arrived["changes"] == {"project_id": change(None, project_id)}
        assert (changed["changes"], changed["version"]) == ({"priority": change(1, 2)}, 4)

    async def test_after_a_move_back_it_has_both_stays(self, alice: Person, project_id: int) -> None:
        task = await alice.new_task()
        for there in (project_id, alice.inbox_id):
            await alice.patch(f"/tasks/{task['id']}", {"project_id": there})
        events = await of_task(alice, task["id"])
        assert [(event["version"], event["action"]) for event in events] == [
            (3, "moved_in"),
            (2, "moved_out"),
            (1, "created"),
        ]
        assert events[1]["changes"] == {"project_id": {"old": alice.inbox_id, "new": None}}

    async def test_a_viewer_may_read_it_and_a_stranger_gets_404(
        self, alice: Person, bob: Person, project_id: int
    ) -> None:
        task = await alice.new_task(project_id)
        await bob.get(f"/tasks/{task['id']}/activity", 404)
        await share(alice, project_id, bob, "viewer")
        assert len(await of_task(bob, task["id"])) == 1
        await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        await bob.get(f"/tasks/{task['id']}/activity", 404)

    async def test_of_a_deleted_or_missing_task_is_404(self, alice: Person) -> None:
        task = await alice.new_task()
        await alice.delete(f"/tasks/{task['id']}")
        for task_id in (task["id"], 10**12):
            await alice.get(f"/tasks/{task_id}/activity", 404)

    async def test_of_a_task_without_events_is_empty(self, alice: Person, database: Database) -> None:
        task = await alice.new_task()
        await execute(database, "DELETE FROM events WHERE entity = 'task'")
        assert (await alice.get(f"/tasks/{task['id']}/activity")).json() == {"events": [], "next_cursor": None}

    async def test_whoever_deleted_their_account_is_nobody(self, alice: Person, bob: Person, project_id: int) -> None:
        await share(alice, project_id, bob)
        task = await bob.new_task(project_id)
        await bob.post("/users/me/delete", {"password": PASSWORD}, 204)
        assert [event["actor"] for event in await of_task(alice, task["id"])] == [None]

    async def test_whoever_was_renamed_has_the_new_name(self, alice: Person) -> None:
        task = await alice.new_task()
        await alice.patch("/users/me", {"username": "alicia"})
        assert (await of_task(alice, task["id"]))[0]["actor"] == {
            "id": alice.id,
            "username": "alicia",
            "display_name": None,
        }

    async def test_a_key_needs_the_scope_to_read_tasks(self, alice: Person, client: httpx.AsyncClient) -> None:
        path = f"/tasks/{(await alice.new_task())['id']}/activity"
        for scope, status in (("tasks:read", 200), ("tasks:write", 200), ("projects:write", 403)):
            assert await status_of(client, path, (await new_key(alice, scope)).in_header) == status


class TestProject:
    """GET /projects/{project_id}/activity."""

    async def test_tells_of_everything_in_it_newest_first(self, alice: Person, bob: Person, project_id: int) -> None:
        await alice.patch(f"/projects/{project_id}", {"name": "Park", "description": "Green"})
        await share(alice, project_id, bob, "viewer")
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "editor"})
        task = await bob.new_task(project_id, title="Dig")
        comments = f"/tasks/{task['id']}/comments"
        comment = (await bob.post(comments, {"body": "Why?"})).json()
        await alice.patch(f"{comments}/{comment['id']}", {"body": "How?"})
        await alice.delete(f"{comments}/{comment['id']}")
        await bob.delete(f"/tasks/{task['id']}")
        await bob.delete(f"/projects/{project_id}/members/{bob.id}")
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        events = await of_project(alice, project_id)
        assert told(events) == [
            ("project", project_id, "created"),
            ("project", project_id, "updated"),
            ("member", bob.id, "added"),
            ("member", bob.id, "updated"),
            ("task", task["id"], "created"),
            ("comment", comment["id"], "created"),
            ("comment", comment["id"], "updated"),
            ("comment", comment["id"], "deleted"),
            ("task", task["id"], "deleted"),
            ("member", bob.id, "removed"),
            ("project", project_id, "updated"),
        ]
        assert [event["changes"] for event in reversed(events)] == [
            {"name": change(None, "Garden")},
            {"name": change("Garden", "Park"), "description": change(None, "Green")},
            {"role": change(None, "viewer")},
            {"role": change("viewer", "editor")},
            {"title": change(None, "Dig")},
            {"body": change(None, "Why?"), "task_id": change(None, task["id"])},
            {"body": change("Why?", "How?")},
            {},
            {"title": change("Dig", None)},
            {"role": change("editor", None)},
            {"archived": change(False, True)},
        ]
        assert [event["version"] for event in reversed(events)] == [1, 2, 1, 2, 1, 1, 2, 3, 2, 3, 3]
        actors = [event["actor"]["username"] for event in reversed(events)]
        assert actors == ["alice"] * 4 + ["bob"] * 2 + ["alice"] * 2 + ["bob"] * 2 + ["alice"]

    async def test_many_changes_of_one_request_keep_their_order(self, alice: Person, project_id: int) -> None:
        tasks = [{"title": f"{number}", "project_id": project_id} for number in range(9)]
        ids = [task["id"] for task in (await alice.post("/tasks/bulk", {"tasks": tasks})).json()["tasks"]]
        await alice.patch("/tasks/bulk", {"ids": ids[::-1], "set": {"priority": 2}})
        expected = [("task", task_id, action) for action in ("created", "updated") for task_id in ids]
        assert told(await of_project(alice, project_id))[1:] == expected

    async def test_a_task_that_left_is_told_without_text(self, alice: Person, bob: Person, project_id: int) -> None:
        await share(alice, project_id, bob, "viewer")
        task = await alice.new_task(project_id)
        await alice.patch(f"/tasks/{task['id']}", {"project_id": alice.inbox_id, "title": "Private"})
        answer = await bob.get(f"/projects/{project_id}/activity")
        left = answer.json()["events"][0]
        assert (left["entity_id"], left["action"], left["changes"]) == (
            task["id"],
            "moved_out",
            {"project_id": {"old": project_id, "new": None}},
        )
        assert "Private" not in answer.text
        arrived = (await of_project(alice, alice.inbox_id))[1]
        assert (arrived["action"], arrived["version"]) == ("moved_in", left["version"])

    async def test_has_nothing_of_other_projects(self, alice: Person, project_id: int) -> None:
        await alice.new_task()
        assert told(await of_project(alice, project_id)) == [("project", project_id, "created")]

    async def test_a_stranger_gets_404_as_for_a_missing_or_deleted_project(
        self, alice: Person, bob: Person, project_id: int
    ) -> None:
        for path in (f"/projects/{project_id}/activity", "/projects/1000000000000/activity"):
            await bob.get(path, 404)
        await alice.delete(f"/projects/{project_id}")
        await alice.get(f"/projects/{project_id}/activity", 404)

    async def test_whoever_deleted_their_account_is_nobody_and_the_others_stay(
        self, alice: Person, bob: Person, project_id: int, sign_up: SignUp
    ) -> None:
        carol = await sign_up("carol")
        for person in (bob, carol):
            await share(alice, project_id, person)
            await person.new_task(project_id)
        await bob.post("/users/me/delete", {"password": PASSWORD}, 204)
        actors = [event["actor"] and event["actor"]["username"] for event in await of_project(alice, project_id)]
        assert actors == [None, "carol", "alice", None, "alice", "alice"]

    async def test_an_inbox_has_one_too(self, alice: Person) -> None:
        task = await alice.new_task()
        assert ("task", task["id"], "created") in told(await of_project(alice, alice.inbox_id))

    async def test_a_key_needs_the_scope_to_read_projects(
        self, alice: Person, project_id: int, client: httpx.AsyncClient
    ) -> None:
        path = f"/projects/{project_id}/activity"
        for scope, status in (("projects:read", 200), ("projects:write", 200), ("tasks:write", 403)):
            assert await status_of(client, path, (await new_key(alice, scope)).in_header) == status

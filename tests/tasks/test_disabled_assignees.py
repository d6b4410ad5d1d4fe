"""Who cannot log in is given no new task and is notified of nothing; the tasks that they have stay theirs."""

from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.rows import digests, execute, fetch_all

MESSAGE = "is not a member of the project who can log in"


@pytest.fixture
async def shared(alice: Person, bob: Person) -> int:
    """A project of Alice's with Bob as an editor."""
    project_id = await alice.new_project()
    await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
    return project_id


@pytest.fixture
async def theirs(alice: Person, bob: Person, shared: int, database: Database) -> dict[str, Any]:
    """A task of Bob's, who has been disabled since."""
    task = await alice.new_task(shared, assignee_id=bob.id)
    await execute(database, "DELETE FROM notifications")
    await execute(database, "UPDATE users SET disabled = true WHERE id = :id", id=bob.id)
    return task


def assert_refused(answer: httpx.Response, *loc: str | int) -> None:
    """Check that the assignee is refused."""
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"loc": ["body", *loc], "msg": MESSAGE, "type": "value_error"}]


class TestNewAssignment:
    """Each way to give a task to somebody."""

    async def test_of_a_new_task(
        self, alice: Person, bob: Person, shared: int, theirs: dict[str, Any], database: Database
    ) -> None:
        before = await digests(database)
        new = {"title": "New", "project_id": shared, "assignee_id": bob.id}
        assert_refused(await alice.post("/tasks", new, expect=422), "assignee_id")
        body = {"tasks": [{"title": "Fine", "project_id": shared}, new]}
        assert_refused(await alice.post("/tasks/bulk", body, expect=422), "tasks", 1, "assignee_id")
        assert await digests(database) == before

    async def test_of_a_task_that_is_there(
        self, alice: Person, bob: Person, shared: int, theirs: dict[str, Any], database: Database
    ) -> None:
        free, other = [(await alice.new_task(shared))["id"] for _ in range(2)]
        before = await digests(database)
        body = {"assignee_id": bob.id, "title": "New"}
        for method in ("PUT", "PATCH"):
            for path in (f"/tasks/{free}", f"/projects/{shared}/tasks/{free}"):
                assert_refused(await alice.request(method, path, 422, json=body), "assignee_id")
        keyed = await alice.patch(f"/tasks/{free}", body, expect=422, headers={"Idempotency-Key": "a"})
        assert_refused(keyed, "assignee_id")
        both = {"ids": [theirs["id"], free, other], "set": {"assignee_id": bob.id, "title": "New"}}
        assert_refused(await alice.patch("/tasks/bulk", both, expect=422), "set", "assignee_id")
        assert await digests(database) == before

    async def test_together_with_a_move(
        self, alice: Person, bob: Person, shared: int, theirs: dict[str, Any], database: Database
    ) -> None:
        task = await alice.new_task()
        before = await digests(database)
        body = {"project_id": shared, "assignee_id": bob.id}
        assert_refused(await alice.patch(f"/tasks/{task['id']}", body, expect=422), "assignee_id")
        assert await digests(database) == before

    async def test_a_stale_version_is_refused_first(
        self, alice: Person, bob: Person, shared: int, theirs: dict[str, Any]
    ) -> None:
        task = await alice.new_task(shared)
        body, stale = {"assignee_id": bob.id}, {"If-Match": '"7"'}
        await alice.patch(f"/tasks/{task['id']}", body, expect=412, headers=stale)


class TestStandingAssignment:
    """The task that was theirs before."""

    async def test_stays_and_the_task_can_be_changed(
        self, alice: Person, bob: Person, shared: int, theirs: dict[str, Any]
    ) -> None:
        path = f"/tasks/{theirs['id']}"
        changed = (await alice.patch(path, {"title": "New", "assignee_id": bob.id})).json()
        assert (changed["title"], changed["assignee_id"]) == ("New", bob.id)
        body = {"ids": [theirs["id"]], "set": {"assignee_id": bob.id, "priority": 5}}
        (changed,) = (await alice.patch("/tasks/bulk", body)).json()["tasks"]
        assert (changed["priority"], changed["assignee_id"]) == (5, bob.id)
        await alice.patch(path, {"assignee_id": None})
        assert_refused(await alice.patch(path, {"assignee_id": bob.id}, expect=422), "assignee_id")

    async def test_goes_along_with_a_move_to_where_they_are_a_member(
        self, alice: Person, bob: Person, theirs: dict[str, Any], database: Database
    ) -> None:
        goal = await alice.new_project()
        await execute(
            database,
            "INSERT INTO project_members (project_id, user_id, role) VALUES (:project_id, :user_id, 'viewer')",
            project_id=goal,
            user_id=bob.id,
        )
        moved = (await alice.patch(f"/tasks/{theirs['id']}", {"project_id": goal})).json()
        assert moved["assignee_id"] == bob.id


async def test_nothing_notifies_them(
    alice: Person, bob: Person, shared: int, theirs: dict[str, Any], database: Database
) -> None:
    path = f"/tasks/{theirs['id']}"
    await alice.post(f"{path}/comments", {"body": "@bob look"})
    silent = (await alice.post(f"{path}/comments", {"body": "Hello"})).json()
    await alice.patch(f"{path}/comments/{silent['id']}", {"body": "@bob look"})
    await alice.patch(f"{path}?notify=true", {"title": "New"})
    goal = await alice.new_project()
    await execute(
        database,
        "INSERT INTO project_members (project_id, user_id, role) VALUES (:project_id, :user_id, 'viewer')",
        project_id=goal,
        user_id=bob.id,
    )
    await alice.patch(f"{path}?notify=true", {"project_id": goal})
    assert await fetch_all(database, "SELECT kind FROM notifications") == []

"""`changed_fields` of a 412 names all that has changed since the version of the client, or is null."""

from typing import Any

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.moves import share
from tests.support.rows import execute


async def fields_of(person: Person, path: str, known: str, method: str = "PATCH") -> list[str] | None:
    """Return the fields that a stale write is answered."""
    body: dict[str, Any] = {"body": "Lost"} if "/comments/" in path else {"priority": 5}
    answer = await person.request(method, path, 412, json=body, headers={"If-Match": known})
    fields: list[str] | None = answer.json()["changed_fields"]
    return fields


class TestMove:
    """A task that was moved has its changes in the logs of several projects."""

    async def test_changes_before_and_after_it_are_named(self, alice: Person, source: int, target: int) -> None:
        path = f"/tasks/{(await alice.new_task(source))['id']}"
        for body in ({"title": "New"}, {"project_id": target}, {"description": "New"}):
            await alice.patch(path, body)
        assert await fields_of(alice, path, '"1"') == ["description", "project_id", "title"]
        assert await fields_of(alice, path, '"2"') == ["description", "project_id"]
        assert await fields_of(alice, path, '"3"') == ["description"]

    async def test_there_and_back(self, alice: Person, source: int, target: int) -> None:
        path = f"/tasks/{(await alice.new_task(source))['id']}"
        for body in ({"project_id": target}, {"title": "New"}, {"project_id": source}):
            await alice.patch(path, body)
        assert await fields_of(alice, path, '"1"') == ["project_id", "title"]
        assert await fields_of(alice, path, '"3"') == ["project_id"]

    async def test_an_assignee_that_it_clears_is_named(
        self, alice: Person, bob: Person, source: int, target: int
    ) -> None:
        await share(alice, source, bob)
        task = await alice.new_task(source, assignee_id=bob.id)
        path = f"/tasks/{task['id']}"
        moved = (await alice.patch(path, {"project_id": target})).json()
        assert (moved["assignee_id"], moved["version"]) == (None, 2)
        assert await fields_of(alice, path, '"1"') == ["assignee_id", "project_id"]

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    async def test_is_null_to_who_may_not_read_all_of_it(
        self, alice: Person, bob: Person, source: int, target: int, method: str
    ) -> None:
        await share(alice, target, bob)
        path = f"/tasks/{(await alice.new_task(source))['id']}"
        for body in ({"title": "New"}, {"project_id": target}, {"description": "New"}):
            await alice.patch(path, body)
        for known, fields in (('"1"', None), ('"2"', None), ('"3"', ["description"])):
            assert await fields_of(bob, path, known, method) == fields
        await share(alice, source, bob, "viewer")
        assert await fields_of(bob, path, '"1"', method) == ["description", "project_id", "title"]

    async def test_is_null_once_the_project_before_is_gone(self, alice: Person, source: int, target: int) -> None:
        path = f"/tasks/{(await alice.new_task(source))['id']}"
        for body in ({"project_id": target}, {"title": "New"}):
            await alice.patch(path, body)
        await alice.delete(f"/projects/{source}")
        assert await fields_of(alice, path, '"1"') is None
        assert await fields_of(alice, path, '"2"') == ["title"]

    async def test_is_null_over_a_move_of_the_version_before(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        path = f"/tasks/{(await alice.new_task(source))['id']}"
        await alice.patch(path, {"project_id": target})
        await execute(database, "UPDATE events SET changes = '{}' WHERE action = 'moved_out'")
        assert await fields_of(alice, path, '"1"') is None

    async def test_a_comment_that_came_along(self, alice: Person, bob: Person, source: int, target: int) -> None:
        await share(alice, target, bob, "owner")
        task_id = (await alice.new_task(source))["id"]
        comment_id = (await alice.post(f"/tasks/{task_id}/comments", {"body": "One"})).json()["id"]
        path = f"/tasks/{task_id}/comments/{comment_id}"
        await alice.patch(path, {"body": "Two"})
        await alice.patch(f"/tasks/{task_id}", {"project_id": target})
        assert await fields_of(alice, path, '"1"') == ["body"]
        assert await fields_of(bob, path, '"1"') is None
        await alice.patch(path, {"body": "Three"})
        assert await fields_of(bob, path, '"1"') is None
        assert await fields_of(bob, path, '"2"') == ["body"]


async def test_of_many_tasks_they_are_those_of_the_first_that_is_stale(alice: Person, source: int, target: int) -> None:
    ids = [(await alice.new_task(source))["id"] for _ in range(2)]
    await alice.patch(f"/tasks/{ids[1]}", {"title": "New"})
    for task_id in ids:
        await alice.patch(f"/tasks/{task_id}", {"project_id": target})
    tasks = [{"id": ids[0], "version": 2}, {"id": ids[1], "version": 1}]
    answer = await alice.patch("/tasks/bulk", {"tasks": tasks, "set": {"priority": 2}}, 412)
    problem = answer.json()
    assert (problem["index"], problem["current_version"]) == (1, 3)
    assert problem["changed_fields"] == ["project_id", "title"]


async def test_of_several_versions_the_oldest_counts(alice: Person, source: int) -> None:
    path = f"/tasks/{(await alice.new_task(source))['id']}"
    for body in ({"title": "New"}, {"tags": ["new"]}, {"description": "New"}):
        await alice.patch(path, body)
    assert await fields_of(alice, path, '"1", "3"') == ["description", "tags", "title"]
    assert await fields_of(alice, path, '"9", "3"') == ["description"]


async def test_a_gap_in_the_log_is_null(alice: Person, source: int, database: Database) -> None:
    path = f"/tasks/{(await alice.new_task(source))['id']}"
    for body in ({"title": "New"}, {"tags": ["new"]}):
        await alice.patch(path, body)
    await execute(database, "DELETE FROM events WHERE action = 'updated' AND version = 2")
    assert await fields_of(alice, path, '"1"') is None
    assert await fields_of(alice, path, '"2"') == ["tags"]

"""The end of a membership: being removed and leaving, and the owner that always stays."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import events_of
from tests.support.memberships import add, roles
from tests.support.rows import fetch_all


class TestRemove:
    """DELETE /projects/{project_id}/members/{user_id}."""

    @pytest.fixture(params=["removed", "leaves"])
    async def end(
        self, request: pytest.FixtureRequest, alice: Person, bob: Person, project_id: int
    ) -> tuple[Person, Callable[[], Awaitable[httpx.Response]]]:
        """Both ways in which Bob's membership ends, and who does it."""
        actor = alice if request.param == "removed" else bob
        return actor, lambda: actor.delete(f"/projects/{project_id}/members/{bob.id}")

    @pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
    async def test_ends_the_membership_and_is_logged(
        self,
        alice: Person,
        bob: Person,
        project_id: int,
        database: Database,
        end: tuple[Person, Callable[[], Awaitable[httpx.Response]]],
        role: str,
    ) -> None:
        await add(alice, project_id, bob, role)
        actor, act = end
        assert (await act()).content == b""
        assert await roles(database, project_id) == {alice.id: "owner"}
        await bob.get(f"/projects/{project_id}", expect=404)
        assert (await events_of(database, "member", bob.id))[-1] == {
            "project_id": project_id,
            "actor_id": actor.id,
            "version": 2,
            "action": "removed",
            "changes": {"role": {"old": role, "new": None}},
        }

    async def test_takes_their_tasks_back_in_this_project_only(
        self,
        alice: Person,
        bob: Person,
        project_id: int,
        database: Database,
        end: tuple[Person, Callable[[], Awaitable[httpx.Response]]],
    ) -> None:
        await add(alice, project_id, bob)
        elsewhere = await alice.new_project()
        await add(alice, elsewhere, bob)
        theirs = [await alice.new_task(project_id, assignee_id=bob.id) for _ in range(3)]
        others = [
            await alice.new_task(elsewhere, assignee_id=bob.id),
            await alice.new_task(project_id, assignee_id=alice.id),
            await alice.new_task(project_id),
            await bob.new_task(assignee_id=bob.id),
        ]
        created = await bob.new_task(project_id)
        actor, act = end
        await act()
        for task in theirs:
            after = (await alice.get(f"/tasks/{task['id']}")).json()
            assert after == {
                **task,
                "assignee_id": None,
                "version": task["version"] + 1,
                "updated_at": after["updated_at"],
            }
            assert after["updated_at"] > task["updated_at"]
            assert (await events_of(database, "task", task["id"]))[-1] == {
                "project_id": project_id,
                "actor_id": actor.id,
                "version": task["version"] + 1,
                "action": "updated",
                "changes": {"assignee_id": {"old": bob.id, "new": None}},
            }
        for task in others[:3]:
            assert (await alice.get(f"/tasks/{task['id']}")).json() == task
        assert (await bob.get(f"/tasks/{others[3]['id']}")).json() == others[3]
        assert (await alice.get(f"/tasks/{created['id']}")).json()["created_by"] == bob.id

    async def test_a_second_time_is_404(self, alice: Person, bob: Person, project_id: int) -> None:
        await add(alice, project_id, bob)
        await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        await alice.delete(f"/projects/{project_id}/members/{bob.id}", expect=404)

    async def test_comments_keep_their_author(self, alice: Person, bob: Person, project_id: int) -> None:
        await add(alice, project_id, bob)
        task_id = (await alice.new_task(project_id))["id"]
        comment = (await bob.post(f"/tasks/{task_id}/comments", {"body": "Hello"})).json()
        await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        assert (await alice.get(f"/tasks/{task_id}/comments/{comment['id']}")).json() == comment

    async def test_nobody_is_assigned_who_is_being_removed(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        await add(alice, project_id, bob)
        tasks = [await alice.new_task(project_id) for _ in range(10)]
        requests = [alice.patch(f"/tasks/{task['id']}", {"assignee_id": bob.id}, expect=None) for task in tasks]
        requests.insert(5, alice.delete(f"/projects/{project_id}/members/{bob.id}", expect=None))
        answers = await asyncio.gather(*requests)
        assert answers.pop(5).status_code == 204
        assert {answer.status_code for answer in answers} <= {200, 422}
        assert await fetch_all(database, "SELECT id FROM tasks WHERE assignee_id IS NOT NULL") == []

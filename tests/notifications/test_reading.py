"""Which notifications are visible, and that they can be marked as read."""

from typing import Any

import httpx
import pytest

from tests.conftest import PASSWORD, Person
from tests.support.credentials import new_key, status_of
from tests.support.inboxes import comment, inbox, share


class TestVisible:
    """A notification is shown while its task can be seen."""

    @pytest.fixture
    async def task(self, alice: Person, bob: Person, project_id: int) -> dict[str, Any]:
        """A task that Bob is told of twice."""
        task = await alice.new_task(project_id, assignee_id=bob.id)
        await comment(alice, task, "@bob")
        return task

    async def _assert_shown(self, bob: Person, count: int) -> None:
        answer = (await bob.get("/notifications")).json()
        assert (len(answer["notifications"]), answer["unread"]) == (count, count)
        assert len(await inbox(bob, unread=True)) == count

    async def test_not_after_removal_and_again_after_joining(
        self, alice: Person, bob: Person, task: dict[str, Any]
    ) -> None:
        (first, _) = await inbox(bob)
        await alice.delete(f"/projects/{task['project_id']}/members/{bob.id}")
        await self._assert_shown(bob, 0)
        await bob.post(f"/notifications/{first['id']}/read", expect=404)
        await share(alice, task["project_id"], bob, "viewer")
        await self._assert_shown(bob, 2)

    @pytest.mark.parametrize("how", ["task", "bulk", "project"])
    async def test_not_after_deletion(self, alice: Person, bob: Person, task: dict[str, Any], how: str) -> None:
        paths = {
            "task": f"/tasks/{task['id']}",
            "bulk": f"/tasks/bulk?id={task['id']}",
            "project": f"/projects/{task['project_id']}",
        }
        await alice.delete(paths[how])
        await self._assert_shown(bob, 0)

    async def test_not_after_a_move_out_of_sight_and_again_after_one_into_it(
        self, alice: Person, bob: Person, task: dict[str, Any]
    ) -> None:
        await alice.patch(f"/tasks/{task['id']}", {"project_id": alice.inbox_id, "title": "Private"})
        await self._assert_shown(bob, 0)
        seen = await alice.new_project()
        await share(alice, seen, bob, "viewer")
        await alice.patch(f"/tasks/{task['id']}", {"project_id": seen, "title": "Public"})
        await self._assert_shown(bob, 2)
        assert {(n["project_id"], n["task_title"]) for n in await inbox(bob)} == {(seen, "Public")}

    async def test_has_the_title_of_now(self, alice: Person, bob: Person, task: dict[str, Any]) -> None:
        await alice.patch(f"/tasks/{task['id']}", {"title": "New"})
        assert {n["task_title"] for n in await inbox(bob)} == {"New"}

    async def test_in_an_archived_project_only_if_asked_for(
        self, alice: Person, bob: Person, task: dict[str, Any]
    ) -> None:
        other = await alice.new_project()
        await share(alice, other, bob)
        await alice.new_task(other, assignee_id=bob.id)
        await alice.patch(f"/projects/{task['project_id']}", {"archived": True})
        await self._assert_shown(bob, 1)
        for archived, count in (("false", 1), ("true", 2), ("any", 3)):
            answer = (await bob.get("/notifications", params={"archived": archived})).json()
            assert (len(answer["notifications"]), answer["unread"]) == (count, count)
        (first, _) = await inbox(bob, archived="true")
        await bob.post(f"/notifications/{first['id']}/read", expect=204)
        await bob.post("/notifications/read", expect=204)
        assert await inbox(bob, unread=True, archived="any") == []
        await bob.get("/notifications", 422, params={"archived": "maybe"})

    async def test_not_of_a_comment_that_is_deleted(self, alice: Person, bob: Person, task: dict[str, Any]) -> None:
        (mention, _) = await inbox(bob)
        await alice.delete(f"/tasks/{task['id']}/comments/{mention['comment_id']}")
        await self._assert_shown(bob, 1)
        await bob.post(f"/notifications/{mention['id']}/read", expect=404)

    async def test_of_a_comment_that_moved_with_its_task(
        self, alice: Person, bob: Person, task: dict[str, Any]
    ) -> None:
        goal = await alice.new_project()
        await share(alice, goal, bob)
        await alice.patch(f"/tasks/{task['id']}", {"project_id": goal})
        await self._assert_shown(bob, 2)

    async def test_from_a_deleted_account_it_is_from_nobody(
        self, alice: Person, bob: Person, carol: Person, project_id: int
    ) -> None:
        await carol.new_task(project_id, assignee_id=bob.id)
        await carol.post("/users/me/delete", {"password": PASSWORD}, 204)
        (notification,) = await inbox(bob)
        assert notification["actor"] is None


class TestRead:
    """Marking as read."""

    @pytest.fixture
    async def ids(self, alice: Person, bob: Person, project_id: int) -> list[int]:
        """Bob's three notifications, newest first."""
        for _ in range(3):
            await alice.new_task(project_id, assignee_id=bob.id)
        return [notification["id"] for notification in await inbox(bob)]

    async def test_newest_first(self, ids: list[int]) -> None:
        assert ids == sorted(ids, reverse=True)

    async def test_one_is_read_the_others_are_not(self, bob: Person, ids: list[int]) -> None:
        assert (await bob.post(f"/notifications/{ids[1]}/read", expect=204)).content == b""
        answer = (await bob.get("/notifications")).json()
        assert [n["read_at"] is not None for n in answer["notifications"]] == [False, True, False]
        assert answer["unread"] == 2
        assert [n["id"] for n in await inbox(bob, unread=True)] == [ids[0], ids[2]]
        assert [n["id"] for n in await inbox(bob, unread=False)] == [ids[1]]

    async def test_a_second_time_keeps_the_time(self, bob: Person, ids: list[int]) -> None:
        await bob.post(f"/notifications/{ids[0]}/read", expect=204)
        before = await inbox(bob)
        await bob.post(f"/notifications/{ids[0]}/read", expect=204)
        await bob.post("/notifications/read", expect=204)
        after = await inbox(bob)
        assert after[0] == before[0]
        assert {n["read_at"] is None for n in after} == {False}
        assert (await bob.get("/notifications")).json()["unread"] == 0

    async def test_the_count_is_of_all_pages(self, bob: Person, ids: list[int]) -> None:
        for query in ({"limit": 1}, {"limit": 1, "unread": True}, {"unread": False}):
            assert (await bob.get("/notifications", params=query)).json()["unread"] == 3

    async def test_anothers_or_a_missing_one_is_404_and_stays_unread(
        self, alice: Person, bob: Person, carol: Person, ids: list[int]
    ) -> None:
        for person in (alice, carol):
            await person.post(f"/notifications/{ids[0]}/read", expect=404)
            await person.post("/notifications/read", expect=204)
            assert await inbox(person) == []
        await bob.post("/notifications/1000000000000/read", expect=404)
        assert (await bob.get("/notifications")).json()["unread"] == 3

    @pytest.mark.parametrize("path", ["/notifications/0/read", "/notifications/x/read", "/notifications/1.0/read"])
    async def test_an_id_that_is_none_is_422(self, bob: Person, path: str) -> None:
        await bob.post(path, expect=422)

    async def test_without_any_the_list_is_empty(self, alice: Person) -> None:
        expected = {"notifications": [], "unread": 0, "next_cursor": None}
        assert (await alice.get("/notifications")).json() == expected

    async def test_a_key_needs_the_scopes_for_tasks(
        self, bob: Person, ids: list[int], client: httpx.AsyncClient
    ) -> None:
        reading, writing = await new_key(bob, "tasks:read"), await new_key(bob, "tasks:write")
        assert await status_of(client, "/notifications", reading.in_header) == 200
        for path in ("/notifications/read", f"/notifications/{ids[0]}/read"):
            assert await status_of(client, path, reading.in_header, "POST") == 403
            assert await status_of(client, path, writing.in_header, "POST") == 204

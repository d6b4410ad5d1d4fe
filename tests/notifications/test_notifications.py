"""Who is told of what: assignments, mentions and changes, never of one's own doing or of what one may not see."""

from typing import Any

import pytest

from taskmanager.comments.mentions import mentioned_names
from tests.conftest import Person, SignUp
from tests.support.inboxes import comment, inbox, share


async def kinds(person: Person) -> list[tuple[str, int]]:
    """Return of what kind and of which task a person's notifications are, newest first."""
    return [(notification["kind"], notification["task_id"]) for notification in await inbox(person)]


class TestAssigned:
    """A new assignee is told."""

    async def test_of_a_new_task(self, alice: Person, bob: Person, project_id: int) -> None:
        task = await alice.new_task(project_id, title="Dig", assignee_id=bob.id)
        (notification,) = await inbox(bob)
        assert notification == {
            "id": notification["id"],
            "kind": "assigned",
            "task_id": task["id"],
            "project_id": project_id,
            "task_title": "Dig",
            "comment_id": None,
            "actor": {"id": alice.id, "username": "alice", "display_name": None},
            "created_at": task["created_at"],
            "read_at": None,
        }

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize("nested", [False, True])
    async def test_of_a_change(self, alice: Person, bob: Person, project_id: int, method: str, nested: bool) -> None:
        task = await alice.new_task(project_id)
        path = f"/projects/{project_id}/tasks/{task['id']}" if nested else f"/tasks/{task['id']}"
        await alice.request(method, path, 200, json={"assignee_id": bob.id})
        assert await kinds(bob) == [("assigned", task["id"])]

    async def test_of_many_at_once(self, alice: Person, bob: Person, project_id: int) -> None:
        new = [{"title": "Dig", "project_id": project_id, "assignee_id": bob.id} for _ in range(2)]
        created = (await alice.post("/tasks/bulk", {"tasks": new})).json()["tasks"]
        assert sorted(await kinds(bob)) == [("assigned", task["id"]) for task in created]

    async def test_once_and_not_of_what_changes_later(self, alice: Person, bob: Person, project_id: int) -> None:
        task = await alice.new_task(project_id, assignee_id=bob.id)
        await alice.patch(f"/tasks/{task['id']}", {"assignee_id": bob.id})
        await alice.patch(f"/tasks/{task['id']}", {"title": "New", "assignee_id": bob.id})
        await alice.patch(f"/tasks/{task['id']}", {"priority": 2})
        assert len(await inbox(bob)) == 1

    async def test_again_when_it_was_somebody_elses_meanwhile(
        self, alice: Person, bob: Person, carol: Person, project_id: int
    ) -> None:
        task = await alice.new_task(project_id, assignee_id=bob.id)
        for person in (carol, bob):
            await alice.patch(f"/tasks/{task['id']}", {"assignee_id": person.id})
        assert (len(await inbox(bob)), len(await inbox(carol))) == (2, 1)

    async def test_never_by_oneself(self, alice: Person, bob: Person, project_id: int) -> None:
        task = await bob.new_task(project_id, assignee_id=bob.id)
        await bob.patch(f"/tasks/{task['id']}", {"assignee_id": None})
        await bob.patch(f"/tasks/{task['id']}", {"assignee_id": bob.id})
        assert await inbox(bob) == []
        assert await inbox(alice) == []

    async def test_not_when_it_is_refused(self, alice: Person, bob: Person, project_id: int) -> None:
        task = await alice.new_task(project_id)
        await alice.patch(f"/tasks/{task['id']}", {"assignee_id": bob.id}, 412, headers={"If-Match": '"9"'})
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        await alice.patch(f"/tasks/{task['id']}", {"assignee_id": bob.id}, 409)
        await alice.patch(f"/projects/{project_id}", {"archived": False})
        assert await inbox(bob) == []

    async def test_along_with_a_move(self, alice: Person, bob: Person, project_id: int) -> None:
        task = await alice.new_task()
        await alice.patch(f"/tasks/{task['id']}", {"project_id": project_id, "assignee_id": bob.id})
        assert await kinds(bob) == [("assigned", task["id"])]


class TestMentioned:
    """@username in a comment tells that member."""

    async def test_everybody_who_is_named(self, alice: Person, bob: Person, carol: Person, project_id: int) -> None:
        task = await alice.new_task(project_id, title="Dig")
        comment_id = await comment(alice, task, "@bob, please ask (@CAROL).")
        for person in (bob, carol):
            (notification,) = await inbox(person)
            assert (notification["kind"], notification["task_id"]) == ("mentioned", task["id"])
            assert (notification["comment_id"], notification["task_title"]) == (comment_id, "Dig")
            assert notification["actor"] == {"id": alice.id, "username": "alice", "display_name": None}

    async def test_once_per_comment(self, alice: Person, bob: Person, project_id: int) -> None:
        task = await alice.new_task(project_id)
        comment_id = await comment(alice, task, "@bob @bob @BOB")
        path = f"/tasks/{task['id']}/comments/{comment_id}"
        await alice.patch(path, {"body": "@bob again"})
        await alice.patch(path, {"body": "nobody"})
        await bob.post("/notifications/read", expect=204)
        await alice.put(path, {"body": "@bob after all"})
        assert len(await inbox(bob)) == 1
        await comment(alice, task, "@bob in another one")
        assert len(await inbox(bob)) == 2

    async def test_whom_an_edit_adds(self, alice: Person, bob: Person, carol: Person, project_id: int) -> None:
        task = await alice.new_task(project_id)
        comment_id = await comment(alice, task, "@bob")
        await alice.patch(f"/tasks/{task['id']}/comments/{comment_id}", {"body": "@bob and @carol"})
        assert (len(await inbox(bob)), await kinds(carol)) == (1, [("mentioned", task["id"])])

    async def test_never_oneself_a_stranger_or_nobody(
        self, alice: Person, bob: Person, project_id: int, sign_up: SignUp
    ) -> None:
        stranger = await sign_up("stranger")
        task = await alice.new_task(project_id)
        await comment(alice, task, "@alice @stranger @nobody_at_all")
        assert await inbox(alice) == await inbox(stranger) == []
        # Joining later does not bring it to light.
        await share(alice, project_id, stranger)
        assert await inbox(stranger) == []

    async def test_an_owner_who_edits_anothers_comment_is_the_one_who_mentions(
        self, alice: Person, bob: Person, project_id: int
    ) -> None:
        task = await alice.new_task(project_id)
        comment_id = await comment(bob, task, "Hm")
        await alice.patch(f"/tasks/{task['id']}/comments/{comment_id}", {"body": "@bob"})
        assert [notification["actor"]["username"] for notification in await inbox(bob)] == ["alice"]

    async def test_a_viewer_is_told_too(self, alice: Person, bob: Person, project_id: int) -> None:
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "viewer"})
        await comment(alice, await alice.new_task(project_id), "@bob")
        assert len(await inbox(bob)) == 1

    async def test_text_elsewhere_mentions_nobody(self, alice: Person, bob: Person, project_id: int) -> None:
        await alice.new_task(project_id, title="@bob", description="@bob")
        assert await inbox(bob) == []

    @pytest.mark.parametrize(
        ("body", "names"),
        [
            ("@bob", ["bob"]),
            ("Hello @bob!", ["bob"]),
            ("@bob, @carol: @dan; (@eve) '@fay' \"@gus\" *@hal*", ["bob", "carol", "dan", "eve", "fay", "gus", "hal"]),
            ("\n@bob\n", ["bob"]),
            ("@Bob_1", ["bob_1"]),
            ("@bob's", ["bob"]),
            ("ask @bob.", ["bob"]),
            ("@bob@carol", []),
            ("bob@carol", []),
            ("bob@example.com", []),
            ("bob.smith@example.com", []),
            ("bob+tag@example.com bob-@example.com", []),
            ("jos\u00e9@example.com \u674e@example.com", []),
            ("https://social.example/@bob", []),
            ("@al", []),
            ("@" + "x" * 50, ["x" * 50]),
            ("@" + "x" * 51, []),
            ("@bob\u00e9", []),
            ("@@bob", []),
            ("@ bob", []),
            ("\uff20bob", []),
            ("", []),
        ],
        ids=ascii,
    )
    def test_names_stand_behind_an_at_sign_that_is_no_part_of_an_address(self, body: str, names: list[str]) -> None:
        assert mentioned_names(body) == names


class TestUpdated:
    """`?notify=true` tells creator, assignee and commenters."""

    @pytest.fixture
    async def task(self, alice: Person, bob: Person, carol: Person, project_id: int, sign_up: SignUp) -> dict[str, Any]:
        """A task that Bob made, with Carol as assignee and a comment of Dan's; all is read."""
        dan = await sign_up("dan")
        await share(alice, project_id, dan)
        task = await bob.new_task(project_id, assignee_id=carol.id)
        for _ in range(2):
            await comment(dan, task, "Hm")
        for person in (bob, carol, dan):
            await person.post("/notifications/read", expect=204)
        self.dan = dan
        return task

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize("nested", [False, True])
    async def test_everyone_concerned_once(
        self, alice: Person, bob: Person, carol: Person, task: dict[str, Any], method: str, nested: bool
    ) -> None:
        path = f"/projects/{task['project_id']}/tasks/{task['id']}" if nested else f"/tasks/{task['id']}"
        await alice.request(method, path, 200, json={"title": "New"}, params={"notify": "true"})
        for person in (bob, carol, self.dan):
            (notification,) = await inbox(person, unread=True)
            assert (notification["kind"], notification["task_title"]) == ("updated", "New")
            assert notification["actor"] == {"id": alice.id, "username": "alice", "display_name": None}
        assert await inbox(alice) == []

    async def test_nobody_without_it(self, alice: Person, bob: Person, carol: Person, task: dict[str, Any]) -> None:
        await alice.patch(f"/tasks/{task['id']}", {"title": "New"})
        await alice.patch(f"/tasks/{task['id']}", {"title": "Newer"}, params={"notify": "false"})
        for person in (bob, carol, self.dan):
            assert await inbox(person, unread=True) == []

    async def test_nobody_of_a_change_of_nothing(
        self, alice: Person, bob: Person, carol: Person, task: dict[str, Any]
    ) -> None:
        await alice.patch(f"/tasks/{task['id']}", {"title": task["title"]}, params={"notify": "true"})
        for person in (bob, carol, self.dan):
            assert await inbox(person, unread=True) == []

    async def test_never_oneself(self, bob: Person, carol: Person, task: dict[str, Any]) -> None:
        await bob.patch(f"/tasks/{task['id']}", {"title": "New"}, params={"notify": "true"})
        assert await inbox(bob, unread=True) == []
        assert len(await inbox(carol, unread=True)) == 1

    async def test_never_who_has_left(self, alice: Person, bob: Person, carol: Person, task: dict[str, Any]) -> None:
        members = f"/projects/{task['project_id']}/members"
        for person in (bob, carol, self.dan):
            await alice.delete(f"{members}/{person.id}")
        await alice.patch(f"/tasks/{task['id']}", {"title": "New"}, params={"notify": "true"})
        for person in (bob, carol, self.dan):
            await share(alice, task["project_id"], person)
            assert await inbox(person, unread=True) == []

    async def test_a_new_assignee_of_the_assignment_only(
        self, alice: Person, bob: Person, carol: Person, task: dict[str, Any]
    ) -> None:
        await alice.patch(f"/tasks/{task['id']}", {"assignee_id": bob.id}, params={"notify": "true"})
        assert [n["kind"] for n in await inbox(bob, unread=True)] == ["assigned"]
        assert await inbox(carol, unread=True) == []
        assert [n["kind"] for n in await inbox(self.dan, unread=True)] == ["updated"]

    @pytest.mark.parametrize("extra", [{}, {"title": "New"}], ids=["alone", "with a title"])
    async def test_those_who_see_the_task_after_a_move_once(
        self, alice: Person, bob: Person, carol: Person, task: dict[str, Any], extra: dict[str, str]
    ) -> None:
        target = await alice.new_project()
        await share(alice, target, bob)
        await alice.patch(f"/tasks/{task['id']}", {"project_id": target, **extra}, params={"notify": "true"})
        assert [(n["kind"], n["project_id"]) for n in await inbox(bob, unread=True)] == [("updated", target)]
        for person in (carol, self.dan):
            await share(alice, target, person)
            assert await inbox(person, unread=True) == []

    @pytest.mark.parametrize("value", ["", "maybe", "2"])
    async def test_other_values_are_422(self, alice: Person, task: dict[str, Any], value: str) -> None:
        await alice.patch(f"/tasks/{task['id']}", {"title": "New"}, 422, params={"notify": value})

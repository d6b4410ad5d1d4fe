"""Delta sync: pages of changes, applied in order, are the same as all the GETs."""

from typing import Any

import pytest

from tests.conftest import Person
from tests.support.mirrors import Mirror, read_everything


@pytest.fixture
async def garden(alice: Person) -> int:
    """A project of Alice's."""
    return await alice.new_project("Garden")


async def share(owner: Person, project_id: int, person: Person, role: str = "editor") -> None:
    """Make somebody a member."""
    await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})


async def comment(person: Person, task_id: int, body: str = "Well said") -> dict[str, Any]:
    """Write a comment."""
    written: dict[str, Any] = (await person.post(f"/tasks/{task_id}/comments", {"body": body})).json()
    return written


class TestFirstPages:
    """Without a cursor everything is loaded."""

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 200])
    async def test_everything_that_a_person_sees_comes(
        self, alice: Person, bob: Person, garden: int, limit: int
    ) -> None:
        await share(alice, garden, bob)
        for n in range(3):
            task = await alice.new_task(garden, title=f"Task {n}")
            await comment(bob, task["id"])
            await comment(alice, task["id"])
        await bob.new_task(title="Bob's own")
        for person in (alice, bob):
            mirror = Mirror(person, limit)
            assert await mirror.catch_up() == await read_everything(person)

    async def test_a_stranger_sees_nothing_of_it(self, alice: Person, bob: Person, garden: int) -> None:
        await alice.new_task(garden)
        rows = await Mirror(bob).catch_up()
        assert sorted(kind for kind, _, _ in rows) == ["member", "project"]

    async def test_what_was_loaded_and_changed_meanwhile_is_current_in_the_end(
        self, alice: Person, garden: int
    ) -> None:
        tasks = [await alice.new_task(garden, title=f"Task {n}") for n in range(6)]
        mirror = Mirror(alice, 3)
        await mirror.turn_page()
        await mirror.turn_page()
        await alice.delete(f"/tasks/{tasks[0]['id']}")
        await alice.patch(f"/tasks/{tasks[1]['id']}", {"title": "Other"})
        await alice.new_task(garden, title="New")
        assert await mirror.catch_up() == await read_everything(alice)


class TestLaterPages:
    """With a cursor come the changes since."""

    async def test_each_change_comes_as_the_row_that_is_there(self, alice: Person, garden: int) -> None:
        mirror = Mirror(alice)
        await mirror.catch_up()
        task = await alice.new_task(garden, title="Dig")
        page = await mirror.turn_page()
        assert page["changes"] == [
            {
                "entity": "task",
                "id": task["id"],
                "project_id": garden,
                "version": 1,
                "deleted": False,
                "task": task,
            }
        ]
        assert not page["has_more"]
        assert (await mirror.turn_page())["changes"] == []

    async def test_a_thing_that_changed_twice_comes_once(self, alice: Person, garden: int) -> None:
        mirror = Mirror(alice)
        await mirror.catch_up()
        task = await alice.new_task(garden)
        await alice.patch(f"/tasks/{task['id']}", {"title": "Other"})
        (item,) = (await mirror.turn_page())["changes"]
        assert item["version"] == 2
        assert item["task"]["title"] == "Other"

    async def test_what_is_deleted_is_said_to_be(self, alice: Person, garden: int) -> None:
        task = await alice.new_task(garden)
        said = await comment(alice, task["id"])
        mirror = Mirror(alice)
        await mirror.catch_up()
        await alice.delete(f"/tasks/{task['id']}/comments/{said['id']}")
        await alice.delete(f"/tasks/{task['id']}")
        page = await mirror.turn_page()
        assert [(item["entity"], item["id"], item["deleted"], item["reason"]) for item in page["changes"]] == [
            ("comment", said["id"], True, "deleted"),
            ("task", task["id"], True, "deleted"),
        ]
        assert mirror.rows == await read_everything(alice)

    @pytest.mark.parametrize("limit", [1, 2, 200])
    async def test_who_is_added_loads_the_project(self, alice: Person, bob: Person, garden: int, limit: int) -> None:
        task = await alice.new_task(garden)
        await comment(alice, task["id"])
        mirror = Mirror(bob, limit)
        await mirror.catch_up()
        await share(alice, garden, bob)
        await alice.new_task(garden, title="Later")
        assert await mirror.catch_up() == await read_everything(bob)

    async def test_who_is_removed_loses_it_by_one_item(self, alice: Person, bob: Person, garden: int) -> None:
        await share(alice, garden, bob)
        for _ in range(3):
            await alice.new_task(garden)
        mirror = Mirror(bob)
        await mirror.catch_up()
        await alice.new_task(garden, title="Not for Bob")
        await alice.delete(f"/projects/{garden}/members/{bob.id}")
        page = await mirror.turn_page()
        assert [(item["entity"], item["id"], item["reason"]) for item in page["changes"]] == [
            ("project", garden, "no_access")
        ]
        assert mirror.rows == await read_everything(bob)

    @pytest.mark.parametrize("limit", [1, 200])
    async def test_who_was_away_meanwhile_loads_it_anew(
        self, alice: Person, bob: Person, garden: int, limit: int
    ) -> None:
        await share(alice, garden, bob)
        gone = await alice.new_task(garden, title="Gone")
        mirror = Mirror(bob, limit)
        await mirror.catch_up()
        await alice.delete(f"/projects/{garden}/members/{bob.id}")
        await alice.delete(f"/tasks/{gone['id']}")
        await alice.new_task(garden, title="New")
        await share(alice, garden, bob, "viewer")
        assert await mirror.catch_up() == await read_everything(bob)

    async def test_a_deleted_project_is_one_item_for_each_member(self, alice: Person, bob: Person, garden: int) -> None:
        await share(alice, garden, bob)
        await alice.new_task(garden)
        mirrors = [Mirror(person) for person in (alice, bob)]
        for mirror in mirrors:
            await mirror.catch_up()
        await alice.delete(f"/projects/{garden}")
        for mirror in mirrors:
            page = await mirror.turn_page()
            assert [(item["entity"], item["id"], item["version"], item["reason"]) for item in page["changes"]] == [
                ("project", garden, None, "deleted")
            ]
            assert mirror.rows == await read_everything(mirror.person)

    @pytest.mark.parametrize("limit", [1, 2, 200])
    async def test_a_moved_task_takes_its_comments_along(
        self, alice: Person, bob: Person, garden: int, limit: int
    ) -> None:
        secret = await alice.new_project("Secret")
        await share(alice, garden, bob)
        task = await alice.new_task(garden)
        for n in range(3):
            await comment(alice, task["id"], f"Comment {n}")
        mirrors = [Mirror(person, limit) for person in (alice, bob)]
        for mirror in mirrors:
            await mirror.catch_up()
        for target in (secret, garden, secret):
            await alice.patch(f"/tasks/{task['id']}", {"project_id": target})
            for mirror in mirrors:
                assert await mirror.catch_up() == await read_everything(mirror.person)

    async def test_a_task_that_is_moved_out_of_sight_is_said_to_be(
        self, alice: Person, bob: Person, garden: int
    ) -> None:
        await share(alice, garden, bob)
        task = await alice.new_task(garden)
        mirror = Mirror(bob)
        await mirror.catch_up()
        await alice.patch(f"/tasks/{task['id']}", {"project_id": alice.inbox_id})
        (item,) = (await mirror.turn_page())["changes"]
        assert (item["entity"], item["id"], item["project_id"], item["reason"]) == ("task", task["id"], garden, "moved")

    async def test_a_new_role_and_a_new_name_come(self, alice: Person, bob: Person, garden: int) -> None:
        await share(alice, garden, bob)
        mirrors = [Mirror(person) for person in (alice, bob)]
        for mirror in mirrors:
            await mirror.catch_up()
        await alice.put(f"/projects/{garden}/members/{bob.id}", {"role": "owner"})
        await bob.patch("/users/me", {"username": "robert"})
        for mirror in mirrors:
            assert await mirror.catch_up() == await read_everything(mirror.person)

    async def test_filters(self, alice: Person, garden: int) -> None:
        other = await alice.new_project("Other")
        mirror = Mirror(alice, project_id=[garden], entity=["task"])
        await alice.new_task(garden, title="Before")
        await alice.new_task(other, title="Not this")
        await mirror.catch_up()
        await alice.new_task(garden, title="After")
        await alice.new_task(other, title="Nor this")
        await alice.patch(f"/projects/{garden}", {"name": "Park"})
        await mirror.catch_up()
        assert sorted(row["title"] for row in mirror.rows.values()) == ["After", "Before"]
        await alice.get("/changes", 422, params={"entity": "label"})


class TestCursors:
    """What a cursor is good for."""

    async def test_it_is_the_same_for_everybody(self, alice: Person, bob: Person, garden: int) -> None:
        cursors = []
        for person in (alice, bob):
            mirror = Mirror(person)
            await mirror.catch_up()
            cursors.append(mirror.cursor)
        assert cursors[0] == cursors[1]

    async def test_a_bent_one_is_refused(self, alice: Person) -> None:
        mirror = Mirror(alice)
        await mirror.catch_up()
        assert mirror.cursor is not None
        for bent in (mirror.cursor[:-1], mirror.cursor[:-1] + "_", "x", "A" * 64, mirror.cursor + "AAAA"):
            answer = await alice.get("/changes", None, params={"since": bent})
            assert answer.status_code in {400, 410}
            assert answer.json()["code"] in {"invalid-cursor", "cursor-expired"}

    async def test_one_of_a_loading_belongs_to_its_user_and_filters(
        self, alice: Person, bob: Person, garden: int
    ) -> None:
        mirror = Mirror(alice, 1)
        await mirror.turn_page()
        await bob.get("/changes", 400, params={"since": mirror.cursor})
        await alice.get("/changes", 400, params={"since": mirror.cursor, "entity": "task"})

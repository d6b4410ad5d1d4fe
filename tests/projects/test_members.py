"""Members of a project: adding, reading and changing them."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.memberships import add, kind, roles
from tests.support.rows import digests
from tests.support.sessions import open_transaction


class TestAdd:
    """POST /projects/{project_id}/members."""

    @pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
    @pytest.mark.parametrize(
        "name",
        [
            {"username": "bob"},
            {"username": "BoB"},
            {"email": "bob@example.com"},
            {"email": "Bob@Example.COM"},
            {"username": "bob", "email": None},
            {"username": None, "email": "bob@example.com"},
        ],
    )
    async def test_by_name_or_address_in_any_case(
        self, alice: Person, bob: Person, project_id: int, database: Database, name: dict[str, Any], role: str
    ) -> None:
        answer = await alice.post(f"/projects/{project_id}/members", {**name, "role": role})
        member = answer.json()
        assert member == {
            "user_id": bob.id,
            "username": "bob",
            "display_name": None,
            "role": role,
            "created_at": member["created_at"],
            "version": 1,
        }
        assert answer.headers["Location"] == f"/api/v1/projects/{project_id}/members/{bob.id}"
        assert (await alice.client.get(answer.headers["Location"])).json() == member
        assert await roles(database, project_id) == {alice.id: "owner", bob.id: role}
        assert (await bob.get(f"/projects/{project_id}")).json()["role"] == role

    async def test_is_logged(self, alice: Person, bob: Person, project_id: int, database: Database) -> None:
        await add(alice, project_id, bob, "viewer")
        assert await events_of(database, "member", bob.id) == [
            {
                "project_id": project_id,
                "actor_id": alice.id,
                "version": 1,
                "action": "added",
                "changes": {"role": {"old": None, "new": "viewer"}},
            }
        ]

    @pytest.mark.parametrize(
        "name",
        [
            {"username": "nobody_here"},
            {"email": "nobody@example.com"},
            {"username": "bob@example.com"},
            {"email": "bob"},
            {"username": "b%"},
            {"username": "bo_"},
            {"username": "b ob"},
            {"username": "bób"},
        ],
    )
    async def test_an_unknown_person_is_404(
        self, alice: Person, bob: Person, project_id: int, database: Database, name: dict[str, Any]
    ) -> None:
        before = await digests(database)
        answer = await alice.post(f"/projects/{project_id}/members", {**name, "role": "viewer"}, expect=404)
        assert kind(answer) == "not-found"
        assert await digests(database) == before

    @pytest.mark.parametrize("again", ["viewer", "editor", "owner"])
    async def test_a_member_already_is_409_and_keeps_the_role(
        self, alice: Person, bob: Person, project_id: int, database: Database, again: str
    ) -> None:
        await add(alice, project_id, bob, "editor")
        before = await digests(database)
        for name in ({"username": "bob"}, {"email": "bob@example.com"}, {"username": "alice"}):
            answer = await alice.post(f"/projects/{project_id}/members", {**name, "role": again}, expect=409)
            assert kind(answer) == "already-member"
        assert await digests(database) == before

    @pytest.mark.parametrize(
        "body",
        [
            {"role": "viewer"},
            {"username": "bob", "email": "bob@example.com", "role": "viewer"},
            {"username": None, "email": None, "role": "viewer"},
            {"username": "bob"},
            {"username": "bob", "role": None},
            {"username": "bob", "role": "admin"},
            {"username": "bob", "role": "Owner"},
            {"username": "bob", "role": ["viewer"]},
            {"username": 1, "role": "viewer"},
            {"username": "b\x00b", "role": "viewer"},
            {"username": "x" * 256, "role": "viewer"},
            {"user_id": 1, "role": "viewer"},
            {"username": "bob", "role": "viewer", "created_at": "2026-01-01T00:00:00Z"},
            [],
        ],
    )
    async def test_other_bodies_are_422(
        self, alice: Person, bob: Person, project_id: int, database: Database, body: Any
    ) -> None:
        before = await digests(database)
        await alice.post(f"/projects/{project_id}/members", body, expect=422)
        assert await digests(database) == before

    async def test_of_many_at_once_one_adds(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        body = {"username": "bob", "role": "viewer"}
        path = f"/projects/{project_id}/members"
        answers = await asyncio.gather(*(alice.post(path, body, expect=None) for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [201, *[409] * 9]
        assert len(await events_of(database, "member", bob.id)) == 1

    async def test_a_project_deleted_meanwhile_is_404(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        async with open_transaction(database) as session:
            for table in ("events", "project_members"):
                await session.execute(text(f"DELETE FROM {table} WHERE project_id = {project_id}"))
            await session.execute(text(f"DELETE FROM projects WHERE id = {project_id}"))
            body = {"username": "bob", "role": "viewer"}
            adding = asyncio.create_task(alice.post(f"/projects/{project_id}/members", body, expect=None))
            await until_blocked(database)
        assert (await adding).status_code == 404


class TestRead:
    """GET /projects/{project_id}/members and one of them."""

    async def test_every_member_sees_all_longest_standing_first(
        self, alice: Person, bob: Person, carol: Person, project_id: int
    ) -> None:
        first, second = await add(alice, project_id, carol, "viewer"), await add(alice, project_id, bob, "owner")
        for person in (alice, bob, carol):
            answer = (await person.get(f"/projects/{project_id}/members")).json()
            owner = answer["members"][0]
            assert (owner["user_id"], owner["username"], owner["role"]) == (alice.id, "alice", "owner")
            assert answer["members"][1:] == [first, second]
            assert answer["next_cursor"] is None
            for member in answer["members"]:
                path = f"/projects/{project_id}/members/{member['user_id']}"
                assert (await person.get(path)).json() == member

    async def test_an_address_is_never_shown(self, alice: Person, bob: Person, project_id: int) -> None:
        await add(alice, project_id, bob)
        for path in (f"/projects/{project_id}/members", f"/projects/{project_id}/members/{bob.id}"):
            assert "example.com" not in (await alice.get(path)).text

    async def test_the_inbox_has_its_owner(self, alice: Person) -> None:
        members = (await alice.get(f"/projects/{alice.inbox_id}/members")).json()["members"]
        assert [(member["user_id"], member["role"]) for member in members] == [(alice.id, "owner")]

    async def test_a_renamed_member_has_the_new_name(self, alice: Person, bob: Person, project_id: int) -> None:
        await add(alice, project_id, bob)
        await bob.patch("/users/me", {"username": "robert"})
        assert (await alice.get(f"/projects/{project_id}/members/{bob.id}")).json()["username"] == "robert"


class TestChangeRole:
    """PUT /projects/{project_id}/members/{user_id}."""

    async def test_changes_and_is_logged(self, alice: Person, bob: Person, project_id: int, database: Database) -> None:
        added = await add(alice, project_id, bob, "viewer")
        changes = (("viewer", "editor"), ("editor", "owner"), ("owner", "viewer"))
        for version, (old, new) in enumerate(changes, 2):
            answer = await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": new})
            assert answer.json() == {**added, "role": new, "version": version}
            assert (await roles(database, project_id))[bob.id] == new
            assert (await events_of(database, "member", bob.id))[-1] == {
                "project_id": project_id,
                "actor_id": alice.id,
                "version": version,
                "action": "updated",
                "changes": {"role": {"old": old, "new": new}},
            }

    async def test_versions_go_on_when_somebody_comes_back(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        for version in (1, 3, 5):
            assert (await add(alice, project_id, bob, "viewer"))["version"] == version
            await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        assert [event["version"] for event in await events_of(database, "member", bob.id)] == [1, 2, 3, 4, 5, 6]

    async def test_the_same_role_writes_nothing(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        added = await add(alice, project_id, bob, "viewer")
        before = await digests(database)
        answer = await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "viewer"})
        assert answer.json() == added
        assert (await alice.put(f"/projects/{project_id}/members/{alice.id}", {"role": "owner"})).status_code == 200
        assert await digests(database) == before

    async def test_an_owner_may_step_down_beside_another(self, alice: Person, bob: Person, project_id: int) -> None:
        await add(alice, project_id, bob, "owner")
        await alice.put(f"/projects/{project_id}/members/{alice.id}", {"role": "viewer"})
        await alice.patch(f"/projects/{project_id}", {"name": "Mine"}, expect=403)

    async def test_a_demoted_assignee_keeps_the_task(self, alice: Person, bob: Person, project_id: int) -> None:
        await add(alice, project_id, bob, "editor")
        task = await alice.new_task(project_id, assignee_id=bob.id)
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "viewer"})
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    @pytest.mark.parametrize("body", [{}, {"role": None}, {"role": "boss"}, {"role": "viewer", "user_id": 1}, []])
    async def test_other_bodies_are_422(
        self, alice: Person, bob: Person, project_id: int, database: Database, body: Any
    ) -> None:
        await add(alice, project_id, bob)
        before = await digests(database)
        await alice.put(f"/projects/{project_id}/members/{bob.id}", body, expect=422)
        assert await digests(database) == before

"""Who may manage the members of a project, and that an owner is always left."""

import asyncio

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.memberships import add, kind, roles
from tests.support.rows import digests

ROUNDS = 6


ATTEMPTS = 50


class TestWhoMay:
    """Only owners manage members; everybody may leave."""

    @pytest.mark.parametrize("role", ["viewer", "editor"])
    async def test_others_are_403_and_change_nothing(
        self, alice: Person, bob: Person, carol: Person, project_id: int, database: Database, role: str
    ) -> None:
        await add(alice, project_id, bob, role)
        await add(alice, project_id, carol, "viewer")
        path = f"/projects/{project_id}/members"
        before = await digests(database)
        answers = [
            await bob.post(path, {"username": "carol", "role": "viewer"}, expect=403),
            await bob.post(path, {"username": "nobody_here", "role": "viewer"}, expect=403),
            await bob.put(f"{path}/{carol.id}", {"role": "owner"}, expect=403),
            await bob.put(f"{path}/{carol.id}", {"role": "viewer"}, expect=403),
            await bob.put(f"{path}/{alice.id}", {"role": "viewer"}, expect=403),
            await bob.put(f"{path}/{bob.id}", {"role": "owner"}, expect=403),
            await bob.put(f"{path}/{bob.id}", {"role": role}, expect=403),
            await bob.delete(f"{path}/{carol.id}", expect=403),
            await bob.delete(f"{path}/{alice.id}", expect=403),
        ]
        assert {kind(answer) for answer in answers} == {"role-too-low"}
        assert await digests(database) == before

    async def test_a_stranger_is_404_and_learns_nothing(
        self, alice: Person, bob: Person, carol: Person, project_id: int, database: Database
    ) -> None:
        await add(alice, project_id, carol)
        path = f"/projects/{project_id}/members"
        before = await digests(database)
        answers = [
            await bob.get(path, expect=404),
            await bob.get(f"{path}/{alice.id}", expect=404),
            await bob.get(f"{path}/{bob.id}", expect=404),
            await bob.post(path, {"username": "bob", "role": "owner"}, expect=404),
            await bob.post(path, {"username": "nobody_here", "role": "owner"}, expect=404),
            await bob.post(path, {"username": "carol", "role": "owner"}, expect=404),
            await bob.put(f"{path}/{carol.id}", {"role": "viewer"}, expect=404),
            await bob.put(f"{path}/{bob.id}", {"role": "owner"}, expect=404),
            await bob.delete(f"{path}/{alice.id}", expect=404),
            await bob.delete(f"{path}/{bob.id}", expect=404),
        ]
        for answer in answers:
            assert "alice" not in answer.text
            assert "carol" not in answer.text
        unknown = await bob.post(
            f"/projects/{project_id + 10**6}/members", {"username": "nobody_here", "role": "owner"}, expect=404
        )
        assert unknown.json()["detail"] == answers[4].json()["detail"]
        assert await digests(database) == before

    async def test_a_second_owner_may_do_everything(
        self, alice: Person, bob: Person, carol: Person, project_id: int, database: Database
    ) -> None:
        await add(alice, project_id, bob, "owner")
        await add(bob, project_id, carol, "viewer")
        await bob.put(f"/projects/{project_id}/members/{carol.id}", {"role": "editor"})
        await bob.delete(f"/projects/{project_id}/members/{alice.id}")
        assert await roles(database, project_id) == {bob.id: "owner", carol.id: "editor"}


class TestInbox:
    """The personal project is never shared."""

    async def test_every_change_is_409(self, alice: Person, bob: Person, database: Database) -> None:
        path = f"/projects/{alice.inbox_id}/members"
        before = await digests(database)
        for role in ("viewer", "editor", "owner"):
            for name in ({"username": "bob"}, {"email": "bob@example.com"}, {"username": "alice"}):
                answer = await alice.post(path, {**name, "role": role}, expect=409)
                assert kind(answer) == "personal-project"
        for role in ("viewer", "owner"):
            await alice.put(f"{path}/{alice.id}", {"role": role}, expect=409)
        await alice.delete(f"{path}/{alice.id}", expect=409)
        assert await digests(database) == before


class TestArchived:
    """In an archived project every write is 409, but bringing it back and deleting it."""

    @pytest.fixture
    async def archived(self, alice: Person, bob: Person, project_id: int) -> int:
        """An archived project of Alice's in which Bob is an owner too."""
        await add(alice, project_id, bob, "owner")
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        return project_id

    async def test_members_stay_as_they_are(
        self, alice: Person, bob: Person, carol: Person, archived: int, database: Database
    ) -> None:
        path = f"/projects/{archived}/members"
        before = await digests(database)
        answers = [
            await alice.post(path, {"username": "carol", "role": "viewer"}, expect=409),
            await alice.put(f"{path}/{bob.id}", {"role": "viewer"}, expect=409),
            await alice.put(f"{path}/{alice.id}", {"role": "viewer"}, expect=409),
            await alice.delete(f"{path}/{bob.id}", expect=409),
            await bob.delete(f"{path}/{bob.id}", expect=409),
        ]
        assert {kind(answer) for answer in answers} == {"project-archived"}
        assert await digests(database) == before
        await bob.get(path)

    @pytest.mark.parametrize("role", ["viewer", "editor"])
    async def test_whoever_may_not_manage_is_403_as_ever(
        self, alice: Person, carol: Person, project_id: int, database: Database, role: str
    ) -> None:
        await add(alice, project_id, carol, role)
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        path = f"/projects/{project_id}/members"
        before = await digests(database)
        answers = [
            await carol.post(path, {"username": "alice", "role": "viewer"}, expect=None),
            await carol.put(f"{path}/{alice.id}", {"role": "viewer"}, expect=None),
            await carol.put(f"{path}/{carol.id}", {"role": "owner"}, expect=None),
            await carol.delete(f"{path}/{alice.id}", expect=None),
        ]
        assert [(answer.status_code, kind(answer)) for answer in answers] == [(403, "role-too-low")] * 4
        assert await digests(database) == before

    async def test_brought_back_they_change_again(
        self, alice: Person, bob: Person, carol: Person, archived: int, database: Database
    ) -> None:
        await bob.patch(f"/projects/{archived}", {"archived": False})
        await add(alice, archived, carol)
        await bob.delete(f"/projects/{archived}/members/{bob.id}")
        assert await roles(database, archived) == {alice.id: "owner", carol.id: "editor"}

    async def test_it_can_be_deleted(self, alice: Person, bob: Person, archived: int) -> None:
        await bob.delete(f"/projects/{archived}")
        await alice.get(f"/projects/{archived}", expect=404)


class TestLastOwner:
    """A project keeps an owner, whatever happens at once."""

    async def test_can_neither_leave_nor_step_down(
        self, alice: Person, bob: Person, project_id: int, database: Database
    ) -> None:
        await add(alice, project_id, bob, "editor")
        path = f"/projects/{project_id}/members/{alice.id}"
        before = await digests(database)
        answers = [
            await alice.delete(path, expect=409),
            await alice.put(path, {"role": "editor"}, expect=409),
            await alice.put(path, {"role": "viewer"}, expect=409),
        ]
        assert {kind(answer) for answer in answers} == {"last-owner"}
        assert await digests(database) == before
        await alice.put(path, {"role": "owner"})

    async def test_with_a_second_owner_the_first_may_go(self, alice: Person, bob: Person, project_id: int) -> None:
        await add(alice, project_id, bob, "owner")
        await alice.delete(f"/projects/{project_id}/members/{alice.id}")
        await bob.delete(f"/projects/{project_id}/members/{bob.id}", expect=409)

    async def test_alone_in_a_project_one_cannot_leave(self, alice: Person, project_id: int) -> None:
        await alice.delete(f"/projects/{project_id}/members/{alice.id}", expect=409)

    @staticmethod
    async def attempt(actor: Person, target: Person, project_id: int, number: int) -> int:
        """Remove somebody or take their role away, and return the status."""
        path = f"/projects/{project_id}/members/{target.id}"
        if number % 2:
            return (await actor.put(path, {"role": ("viewer", "editor")[number % 4 // 2]}, expect=None)).status_code
        return (await actor.delete(path, expect=None)).status_code

    @pytest.mark.parametrize("way", ["each themselves", "each other", "everybody anybody"])
    async def test_two_owners_and_fifty_attempts_at_once_leave_one(
        self, alice: Person, bob: Person, database: Database, way: str
    ) -> None:
        outcomes: set[int] = set()
        for number in range(ROUNDS):
            project_id = await alice.new_project()
            await add(alice, project_id, bob, "owner")
            people = (alice, bob) if number % 2 else (bob, alice)
            attempts = []
            for n in range(ATTEMPTS):
                actor, other = people[n % 2], people[1 - n % 2]
                target = {"each themselves": actor, "each other": other}.get(way, people[n // 2 % 2])
                attempts.append(self.attempt(actor, target, project_id, n // 2))
            outcomes |= set(await asyncio.gather(*attempts))
            left = await roles(database, project_id)
            assert list(left.values()).count("owner") >= 1, left
        assert outcomes <= {200, 204, 403, 404, 409}
        # Somebody was refused for being the last, so the race was a race.
        assert outcomes & {200, 204}
        if way != "each other":
            assert 409 in outcomes

    async def test_five_owners_who_all_leave_at_once_leave_one(
        self, sign_up: SignUp, alice: Person, database: Database
    ) -> None:
        people = [alice, *[await sign_up(f"owner_{number}") for number in range(4)]]
        for _ in range(ROUNDS):
            project_id = await alice.new_project()
            for person in people[1:]:
                await add(alice, project_id, person, "owner")
            leaving = [p.delete(f"/projects/{project_id}/members/{p.id}", expect=None) for p in people]
            statuses = sorted(answer.status_code for answer in await asyncio.gather(*leaving))
            assert statuses == [204] * 4 + [409]
            assert list((await roles(database, project_id)).values()) == ["owner"]

    async def test_one_leaves_while_the_other_deletes_the_account(
        self, sign_up: SignUp, bob: Person, database: Database
    ) -> None:
        for number in range(4):
            owner = await sign_up(f"owner_{number}")
            project_id = await owner.new_project()
            await add(owner, project_id, bob, "owner")
            carol = await sign_up(f"carol_{number}")
            await add(owner, project_id, carol, "viewer")
            deletion = owner.post("/users/me/delete", {"password": "correct horse battery"}, expect=None)
            leaving = [bob.delete(f"/projects/{project_id}/members/{bob.id}", expect=None) for _ in range(3)]
            answers = await asyncio.gather(deletion, *leaving)
            assert all(answer.status_code < 500 for answer in answers)
            assert "owner" in (await roles(database, project_id)).values()

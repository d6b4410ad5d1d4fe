"""Only who can log in counts as an owner, and nobody else is added."""

import asyncio

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person
from tests.support.memberships import add, kind, roles
from tests.support.rows import digests, execute


async def disable(database: Database, person: Person, *, disabled: bool = True) -> None:
    """Shut somebody out, or let them in again."""
    await execute(database, "UPDATE users SET disabled = :disabled WHERE id = :id", disabled=disabled, id=person.id)


@pytest.fixture
async def shared(alice: Person, bob: Person, carol: Person, project_id: int, database: Database) -> int:
    """A project of Alice's and Bob's, who is disabled, with Carol as an editor."""
    await add(alice, project_id, bob, "owner")
    await add(alice, project_id, carol, "editor")
    await disable(database, bob)
    return project_id


class TestLastOwner:
    """The other owner is disabled."""

    async def _assert_refused(self, answer: httpx.Response, before: dict[str, str], database: Database) -> None:
        assert (answer.status_code, kind(answer)) == (409, "last-owner")
        assert await digests(database) == before

    async def test_can_neither_leave_nor_step_down(self, alice: Person, shared: int, database: Database) -> None:
        before = await digests(database)
        path = f"/projects/{shared}/members/{alice.id}"
        await self._assert_refused(await alice.delete(path, expect=409), before, database)
        await self._assert_refused(await alice.put(path, {"role": "viewer"}, expect=409), before, database)

    async def test_cannot_delete_the_account(self, alice: Person, shared: int, database: Database) -> None:
        before = await digests(database)
        answer = await alice.post("/users/me/delete", {"password": PASSWORD}, expect=409)
        assert kind(answer) == "owns-shared-projects"
        assert [project["id"] for project in answer.json()["projects"]] == [shared]
        assert await digests(database) == before

    async def test_can_go_once_there_is_another(
        self, alice: Person, bob: Person, carol: Person, shared: int, database: Database
    ) -> None:
        await alice.put(f"/projects/{shared}/members/{carol.id}", {"role": "owner"})
        await alice.delete(f"/projects/{shared}/members/{alice.id}")
        assert await roles(database, shared) == {bob.id: "owner", carol.id: "owner"}

    async def test_can_go_once_the_other_is_enabled(
        self, alice: Person, bob: Person, shared: int, database: Database
    ) -> None:
        await disable(database, bob, disabled=False)
        await alice.post("/users/me/delete", {"password": PASSWORD}, expect=204)
        assert (await bob.get(f"/projects/{shared}")).json()["role"] == "owner"

    async def test_removes_and_demotes_who_is_disabled(
        self, alice: Person, bob: Person, shared: int, database: Database
    ) -> None:
        path = f"/projects/{shared}/members/{bob.id}"
        await alice.put(path, {"role": "viewer"})
        await alice.delete(path)
        assert bob.id not in await roles(database, shared)

    async def test_others_can_leave_when_no_owner_can_log_in(
        self, alice: Person, carol: Person, shared: int, database: Database
    ) -> None:
        await disable(database, alice)
        await carol.delete(f"/projects/{shared}/members/{carol.id}")

    async def test_of_two_who_leave_together_one_stays(
        self, alice: Person, carol: Person, shared: int, database: Database
    ) -> None:
        await alice.put(f"/projects/{shared}/members/{carol.id}", {"role": "owner"})
        answers = await asyncio.gather(
            *(person.delete(f"/projects/{shared}/members/{person.id}", expect=None) for person in (alice, carol))
        )
        assert sorted(answer.status_code for answer in answers) == [204, 409]


class TestAdd:
    """A disabled person is not found."""

    @pytest.mark.parametrize("by", ["username", "email"])
    async def test_who_is_disabled_cannot_be_added(
        self, alice: Person, bob: Person, project_id: int, database: Database, by: str
    ) -> None:
        await disable(database, bob)
        before = await digests(database)
        body = {by: {"username": "bob", "email": "bob@example.com"}[by], "role": "viewer"}
        answer = await alice.post(f"/projects/{project_id}/members", body, expect=404)
        assert answer.json()["detail"] == "There is no such user."
        assert await digests(database) == before
        await disable(database, bob, disabled=False)
        await alice.post(f"/projects/{project_id}/members", body)

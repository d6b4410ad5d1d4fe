"""Administrators give a project an owner who can log in, and find the projects that have none."""

import asyncio
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person
from tests.support.credentials import API, Key
from tests.support.event_log import events_of
from tests.support.memberships import add, kind, roles
from tests.support.rows import digests, execute


async def set_role(
    client: httpx.AsyncClient, key: Key, project_id: int, user_id: int, role: str = "owner", **headers: str
) -> httpx.Response:
    """Give somebody a role in a project."""
    path = f"{API}/admin/projects/{project_id}/members/{user_id}"
    return await client.put(path, json={"role": role}, headers=key.in_header | headers)


async def disable(client: httpx.AsyncClient, key: Key, person: Person) -> None:
    """Shut somebody out."""
    answer = await client.post(f"{API}/admin/users/{person.id}/disable", headers=key.in_header)
    assert answer.status_code == 200


async def ownerless(client: httpx.AsyncClient, key: Key, **query: Any) -> list[dict[str, Any]]:
    """Return the projects without an owner who can log in."""
    answer = await client.get(f"{API}/admin/projects/without-owner", headers=key.in_header, params=query)
    projects: list[dict[str, Any]] = answer.json()["projects"]
    return projects


@pytest.fixture
async def stuck(client: httpx.AsyncClient, alice: Person, bob: Person, key: Key) -> int:
    """A project whose owner is disabled, with Bob as an editor."""
    project_id = await alice.new_project("Stuck")
    await add(alice, project_id, bob, "editor")
    await disable(client, key, alice)
    return project_id


class TestSetRole:
    """PUT /admin/projects/{project_id}/members/{user_id}."""

    async def test_makes_a_member_the_owner_and_is_logged(
        self, client: httpx.AsyncClient, administrator: Person, bob: Person, key: Key, stuck: int, database: Database
    ) -> None:
        answer = await set_role(client, key, stuck, bob.id)
        assert answer.status_code == 200
        assert answer.json() == (await bob.get(f"/projects/{stuck}/members/{bob.id}")).json()
        assert (await bob.get(f"/projects/{stuck}")).json()["role"] == "owner"
        await bob.patch(f"/projects/{stuck}", {"name": "Ours"})
        assert (await events_of(database, "member", bob.id))[-1] == {
            "project_id": stuck,
            "actor_id": administrator.id,
            "version": 2,
            "action": "updated",
            "changes": {"role": {"old": "editor", "new": "owner"}},
        }
        activity = (await bob.get(f"/projects/{stuck}/activity")).json()["events"]
        assert "administrator" in {event["actor"]["username"] for event in activity}

    async def test_adds_somebody_and_is_logged(
        self, client: httpx.AsyncClient, administrator: Person, carol: Person, key: Key, stuck: int, database: Database
    ) -> None:
        answer = await set_role(client, key, stuck, carol.id)
        assert (answer.status_code, answer.json()["role"]) == (200, "owner")
        await carol.get(f"/projects/{stuck}")
        (event,) = await events_of(database, "member", carol.id)
        assert (event["action"], event["changes"]) == ("added", {"role": {"old": None, "new": "owner"}})
        assert event["actor_id"] == administrator.id

    async def test_the_same_role_again_changes_nothing(
        self, client: httpx.AsyncClient, bob: Person, key: Key, stuck: int, database: Database
    ) -> None:
        first = await set_role(client, key, stuck, bob.id)
        before = await digests(database)
        again = await set_role(client, key, stuck, bob.id)
        assert (again.status_code, again.content) == (200, first.content)
        assert await digests(database) == before

    async def test_a_repeated_request_is_answered_from_what_is_kept(
        self, client: httpx.AsyncClient, bob: Person, key: Key, stuck: int, database: Database
    ) -> None:
        once = {"Idempotency-Key": "once"}
        first = await set_role(client, key, stuck, bob.id, **once)
        await set_role(client, key, stuck, bob.id, "owner")
        again = await set_role(client, key, stuck, bob.id, **once)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.content == first.content
        assert len(await events_of(database, "member", bob.id)) == 2
        assert (await set_role(client, key, stuck, bob.id, "viewer", **once)).status_code == 422

    async def test_works_in_an_archived_project_which_nobody_could_bring_back(
        self, client: httpx.AsyncClient, bob: Person, key: Key, stuck: int, database: Database
    ) -> None:
        await execute(database, "UPDATE projects SET archived = true WHERE id = :id", id=stuck)
        assert (await set_role(client, key, stuck, bob.id)).status_code == 200
        await bob.patch(f"/projects/{stuck}", {"archived": False})

    async def test_a_disabled_or_deleted_person_is_not_found(
        self, client: httpx.AsyncClient, carol: Person, administrator: Person, key: Key, stuck: int, database: Database
    ) -> None:
        await disable(client, key, carol)
        before = await digests(database)
        refused = await set_role(client, key, stuck, carol.id)
        assert (refused.status_code, refused.json()["detail"]) == (404, "There is no such user.")
        assert await digests(database) == before
        await client.post(f"{API}/admin/users/{carol.id}/enable", headers=key.in_header)
        await carol.post("/users/me/delete", {"password": PASSWORD}, expect=204)
        assert (await set_role(client, key, stuck, carol.id)).status_code == 404
        assert (await set_role(client, key, stuck, 2**52)).status_code == 404

    async def test_an_unknown_project_is_not_found_and_an_inbox_stays_personal(
        self, client: httpx.AsyncClient, alice: Person, bob: Person, key: Key, database: Database
    ) -> None:
        before = await digests(database)
        refused = await set_role(client, key, 2**52, bob.id)
        assert (refused.status_code, refused.json()["detail"]) == (404, "There is no such project.")
        refused = await set_role(client, key, alice.inbox_id, bob.id)
        assert (refused.status_code, kind(refused)) == (409, "personal-project")
        assert await digests(database) == before

    async def test_the_last_owner_who_can_log_in_keeps_the_role(
        self, client: httpx.AsyncClient, alice: Person, bob: Person, key: Key, stuck: int, database: Database
    ) -> None:
        # A disabled owner does not count, but is no less than nobody.
        assert kind(await set_role(client, key, stuck, alice.id, "viewer")) == "last-owner"
        await set_role(client, key, stuck, bob.id)
        assert kind(await set_role(client, key, stuck, bob.id, "editor")) == "last-owner"
        assert (await set_role(client, key, stuck, alice.id, "viewer")).status_code == 200
        assert await roles(database, stuck) == {alice.id: "viewer", bob.id: "owner"}

    @pytest.mark.parametrize("body", [{}, {"role": "boss"}, {"role": None}, {"role": "owner", "user_id": 1}])
    async def test_a_body_that_is_no_role_is_422(
        self, client: httpx.AsyncClient, bob: Person, key: Key, stuck: int, body: dict[str, Any]
    ) -> None:
        path = f"{API}/admin/projects/{stuck}/members/{bob.id}"
        assert (await client.put(path, json=body, headers=key.in_header)).status_code == 422

    async def test_meets_the_change_of_an_owner_without_leaving_none(
        self, client: httpx.AsyncClient, alice: Person, bob: Person, key: Key, database: Database
    ) -> None:
        for _ in range(5):
            project_id = await alice.new_project()
            await add(alice, project_id, bob, "owner")
            answers = await asyncio.gather(
                set_role(client, key, project_id, bob.id, "viewer"),
                alice.delete(f"/projects/{project_id}/members/{alice.id}", expect=None),
            )
            assert 409 in {answer.status_code for answer in answers}
            assert "owner" in (await roles(database, project_id)).values()


class TestOwnerless:
    """GET /admin/projects/without-owner."""

    async def test_lists_those_none_of_whose_owners_can_log_in(
        self, client: httpx.AsyncClient, alice: Person, bob: Person, key: Key
    ) -> None:
        alone, shared, theirs = [await alice.new_project(f"Project {n}") for n in range(3)]
        await add(alice, shared, bob, "owner")
        await add(alice, theirs, bob, "viewer")
        assert await ownerless(client, key) == []
        await disable(client, key, alice)
        found = await ownerless(client, key)
        assert [project["id"] for project in found] == [alone, theirs]
        assert found[0].keys() == {"id", "name", "archived", "created_at"}
        await set_role(client, key, theirs, bob.id)
        assert [project["id"] for project in await ownerless(client, key)] == [alone]
        await disable(client, key, bob)
        assert [project["id"] for project in await ownerless(client, key)] == [alone, shared, theirs]
        await client.post(f"{API}/admin/users/{alice.id}/enable", headers=key.in_header)
        assert await ownerless(client, key) == []

    async def test_by_page(self, client: httpx.AsyncClient, alice: Person, key: Key) -> None:
        ids = [await alice.new_project() for _ in range(3)]
        await disable(client, key, alice)
        path = f"{API}/admin/projects/without-owner"
        first = (await client.get(path, headers=key.in_header, params={"limit": 2})).json()
        rest = await ownerless(client, key, limit=2, cursor=first["next_cursor"])
        assert [project["id"] for project in [*first["projects"], *rest]] == ids

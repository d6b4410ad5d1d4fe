"""A right that is taken away is gone with the next request."""

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.credential_rings import KINDS, Ring, all_of, answers
from tests.support.credentials import API, new_key, status_of
from tests.support.rows import digests, execute


class TestMembership:
    """What a member may do ends with the membership and shrinks with the role."""

    @pytest.fixture
    async def shared(self, ring: Ring, bob: Person) -> int:
        """A project of Bob's in which Alice is an owner too."""
        project_id = await bob.new_project()
        await bob.post(f"/projects/{project_id}/members", {"username": "alice", "role": "owner"})
        return project_id

    async def test_a_removed_member_sees_nothing(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, shared: int
    ) -> None:
        task_id = (await bob.new_task(shared))["id"]
        await bob.post(f"/tasks/{task_id}/comments", {"body": "Hello"})
        paths = (
            f"/projects/{shared}",
            f"/projects/{shared}/members",
            f"/projects/{shared}/tasks",
            f"/projects/{shared}/tasks/{task_id}",
            f"/tasks/{task_id}",
            f"/tasks/{task_id}/comments",
        )
        for path in paths:
            assert await answers(client, ring, path) == all_of(200)
        await bob.delete(f"/projects/{shared}/members/{ring.person.id}")
        for path in paths:
            assert await answers(client, ring, path) == all_of(404), path
        for headers in ring.headers.values():
            listed = await client.get(f"{API}/tasks", headers=headers)
            assert listed.json()["total"] == 0
            projects = await client.get(f"{API}/projects", headers=headers)
            assert [p["id"] for p in projects.json()["projects"]] == [ring.person.inbox_id]

    async def test_a_removed_member_writes_nothing(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, shared: int, database: Database
    ) -> None:
        task_id = (await bob.new_task(shared))["id"]
        await bob.delete(f"/projects/{shared}/members/{ring.person.id}")
        before = await digests(database)
        for path in (f"/tasks/{task_id}", f"/projects/{shared}", f"/projects/{shared}/members/{bob.id}"):
            assert await answers(client, ring, path, "DELETE") == all_of(404)
        assert await digests(database) == before

    async def test_whoever_leaves_sees_nothing(self, client: httpx.AsyncClient, ring: Ring, shared: int) -> None:
        await ring.person.delete(f"/projects/{shared}/members/{ring.person.id}")
        assert await answers(client, ring, f"/projects/{shared}") == all_of(404)

    async def test_added_again_they_see_everything_again(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, shared: int
    ) -> None:
        await bob.delete(f"/projects/{shared}/members/{ring.person.id}")
        await bob.post(f"/projects/{shared}/members", {"username": "alice", "role": "viewer"})
        assert await answers(client, ring, f"/projects/{shared}") == all_of(200)

    async def test_a_viewer_writes_nothing_any_more(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, shared: int, database: Database
    ) -> None:
        task_ids = [(await bob.new_task(shared))["id"] for _ in KINDS]
        for task_id, headers in zip(task_ids, ring.headers.values(), strict=True):
            assert await status_of(client, f"/tasks/{task_id}", headers, "DELETE") == 204
        kept = (await bob.new_task(shared))["id"]
        await bob.put(f"/projects/{shared}/members/{ring.person.id}", {"role": "viewer"})
        before = await digests(database)
        assert await answers(client, ring, f"/tasks/{kept}", "DELETE") == all_of(403)
        assert await answers(client, ring, f"/tasks/{kept}") == all_of(200)
        assert await digests(database) == before

    async def test_an_editor_manages_nothing_any_more(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, shared: int, database: Database
    ) -> None:
        await bob.put(f"/projects/{shared}/members/{ring.person.id}", {"role": "editor"})
        before = await digests(database)
        assert await answers(client, ring, f"/projects/{shared}/members/{bob.id}", "DELETE") == all_of(403)
        assert await answers(client, ring, f"/projects/{shared}", "DELETE") == all_of(403)
        assert await digests(database) == before

    async def test_a_deleted_project_is_gone_for_every_member(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, shared: int
    ) -> None:
        await bob.delete(f"/projects/{shared}")
        assert await answers(client, ring, f"/projects/{shared}") == all_of(404)


class TestAdministrator:
    """The flag is asked for on every request."""

    async def test_without_the_flag_the_key_administers_nothing(
        self, client: httpx.AsyncClient, administrator: Person, alice: Person, database: Database
    ) -> None:
        key = await new_key(administrator, "admin", "tasks:read")
        for headers in (key.in_header, key.as_bearer):
            assert await status_of(client, "/admin/users", headers) == 200
        await execute(database, "UPDATE users SET is_admin = false")
        before = await digests(database)
        for headers in (key.in_header, key.as_bearer):
            assert await status_of(client, "/admin/users", headers) == 403
            assert await status_of(client, f"/admin/users/{alice.id}/disable", headers, "POST") == 403
            assert await status_of(client, "/admin/clear-tasks", headers, "DELETE") == 403
            assert await status_of(client, "/tasks", headers) == 200
        assert await digests(database) == before

    async def test_without_the_flag_no_such_key_can_be_made(self, administrator: Person, database: Database) -> None:
        await execute(database, "UPDATE users SET is_admin = false")
        await administrator.post("/users/me/api-keys", {"name": "A key", "scopes": ["admin"]}, expect=403)

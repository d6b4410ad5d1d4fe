"""What is kept for a key is told again only to those who may still see it, and no refusal or secret is kept."""

from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.roles import Role
from tests.conftest import PASSWORD, Person, SignUp, make_settings
from tests.support.applications import started
from tests.support.credentials import API, log_in
from tests.support.event_log import count_rows
from tests.support.keyed_writes import DELETIONS, NEEDED_ROLES, WITH_BODY, KeyedWrite, keys_of, make_write
from tests.support.problem_answers import kind_of
from tests.support.rows import execute
from tests.support.sessions import open_transaction

KINDS_IN_ONE_PROJECT = [kind for kind in WITH_BODY if kind != "move"]


class TestRefusal:
    """A refusal is not stored: the same request may succeed later."""

    async def _refused_then_done(self, person: Person, write: KeyedWrite, status: int, database: Database) -> None:
        headers = {"Idempotency-Key": "a-key"}
        for _ in range(2):
            refused = await person.post(write.path, write.body, status, headers=headers)
            assert "Idempotency-Replayed" not in refused.headers
        assert await keys_of(database) == []

    async def test_404(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        write = KeyedWrite("/tasks", {"title": "Once", "project_id": project_id})
        await self._refused_then_done(bob, write, 404, database)
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
        assert "Idempotency-Replayed" not in (await write.send(bob)).headers

    async def test_403_for_a_role(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once"})
        await self._refused_then_done(bob, write, 403, database)
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "editor"})
        assert "Idempotency-Replayed" not in (await write.send(bob)).headers

    async def test_422(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once", "assignee_id": bob.id})
        await self._refused_then_done(alice, write, 422, database)
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
        assert "Idempotency-Replayed" not in (await write.send(alice)).headers

    async def test_422_of_a_body_that_cannot_be_accepted(self, alice: Person, database: Database) -> None:
        await self._refused_then_done(alice, KeyedWrite("/tasks", {"title": ""}), 422, database)
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)

    async def test_409(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once"})
        await self._refused_then_done(alice, write, 409, database)
        await alice.patch(f"/projects/{project_id}", {"archived": False})
        assert "Idempotency-Replayed" not in (await write.send(alice)).headers

    async def test_401(self, alice: Person, client: httpx.AsyncClient, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await self._refused_then_done(replace(alice, client=client), write, 401, database)
        await write.send(alice)

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_503(self, alice: Person, database_url: str, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        app = create_app(make_settings(database_url=database_url, database_lock_timeout_ms=100))
        async with started(app) as client:
            client.headers["Authorization"] = f"Bearer {alice.token}"
            async with open_transaction(database) as session:
                await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": alice.inbox_id})
                await self._refused_then_done(replace(alice, client=client), write, 503, database)
            assert "Idempotency-Replayed" not in (await write.send(replace(alice, client=client))).headers


class TestCredentials:
    """Answers that hold secrets are never stored."""

    async def test_nothing_is_stored(self, alice: Person, client: httpx.AsyncClient, database: Database) -> None:
        headers = {"Idempotency-Key": "a-key"}
        account = {"username": "carol", "email": "carol@example.com", "password": PASSWORD}
        assert (await client.post(f"{API}/users", json=account, headers=headers)).status_code == 201
        assert (await client.post(f"{API}/users", json=account, headers=headers)).status_code == 409
        form = {"username": "carol", "password": PASSWORD}
        logins = [await client.post(f"{API}/token", data=form, headers=headers) for _ in range(2)]
        assert logins[0].json() != logins[1].json()
        spent = {"refresh_token": logins[0].json()["refresh_token"]}
        assert (await client.post(f"{API}/token/refresh", json=spent, headers=headers)).status_code == 200
        assert (await client.post(f"{API}/token/revoke", json=spent, headers=headers)).status_code == 204
        body = {"name": "A key", "scopes": ["tasks:read"]}
        keys = {(await alice.post("/users/me/api-keys", body, headers=headers)).json()["key"] for _ in range(2)}
        assert len(keys) == 2
        new = "another " + PASSWORD
        change = {"current_password": PASSWORD, "new_password": new, "confirm_password": new}
        await alice.post("/users/me/password", change, 204, headers=headers)
        await alice.post("/users/me/password", change, 403, headers=headers)
        tokens = await log_in(client, "carol")
        deletion = await client.post(
            f"{API}/users/me/delete", json={"password": PASSWORD}, headers={**headers, **tokens.headers}
        )
        assert deletion.status_code == 204
        assert await keys_of(database) == []

    async def test_deleting_an_account_deletes_its_stored_answers(self, alice: Person, database: Database) -> None:
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        await alice.post("/users/me/delete", {"password": PASSWORD}, 204)
        assert await keys_of(database) == []


class TestRights:
    """What one may not see any more is not told again either."""

    @pytest.mark.parametrize("kind", KINDS_IN_ONE_PROJECT)
    async def test_after_removal_it_is_404(self, alice: Person, bob: Person, sign_up: SignUp, kind: str) -> None:
        write, project_id = await self._sent_by_an_owner(kind, alice, bob, await sign_up("carol"))
        await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        assert kind_of(await write.send(bob, expect=404)) == "not-found"

    @pytest.mark.parametrize("kind", KINDS_IN_ONE_PROJECT)
    @pytest.mark.parametrize("role", ["editor", "viewer"])
    async def test_after_a_downgrade_it_needs_the_role_that_the_request_needs(
        self, alice: Person, bob: Person, sign_up: SignUp, kind: str, role: str
    ) -> None:
        write, project_id = await self._sent_by_an_owner(kind, alice, bob, await sign_up("carol"))
        members = f"/projects/{project_id}/members/{bob.id}"
        await alice.put(members, {"role": role})
        allowed = Role(role).includes(Role(NEEDED_ROLES.get(kind, "editor")))
        answer = await write.send(bob, expect=write.status if allowed else 403)
        if not allowed:
            assert kind_of(answer) == "role-too-low"
        await alice.put(members, {"role": "owner"})
        assert (await write.send(bob)).headers["Idempotency-Replayed"] == "true"

    async def test_of_a_move_the_target_is_asked_for(self, alice: Person, bob: Person, database: Database) -> None:
        write = await make_write("move", bob, alice)
        first = await write.send(bob)
        source_id = (await bob.get("/projects")).json()["projects"][-1]["id"]
        for project_id, status in ((source_id, 200), (first.json()["project_id"], 404)):
            await execute(database, "DELETE FROM project_members WHERE project_id = :id", id=project_id)
            assert (await write.send(bob, expect=status)).headers.get("Idempotency-Replayed") == (
                "true" if status == 200 else None
            )

    @pytest.mark.parametrize("kind", DELETIONS)
    async def test_what_is_deleted_needs_none(self, alice: Person, bob: Person, kind: str, database: Database) -> None:
        write = await make_write(kind, alice, bob)
        await write.send(alice)
        await execute(database, "DELETE FROM project_members WHERE user_id = :id", id=alice.id)
        again = await write.send(alice)
        assert (again.status_code, again.content, again.headers["Idempotency-Replayed"]) == (204, b"", "true")
        # Without its key it is an ordinary request, for what is not there.
        await write.send(alice, None, 404)

    async def test_after_the_project_is_gone_it_is_404(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once"})
        await write.send(alice)
        await alice.delete(f"/projects/{project_id}")
        await write.send(alice, expect=404)
        assert await count_rows(database, "tasks") == 0

    async def test_after_a_logout_it_is_401(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await write.send(alice)
        await execute(database, "UPDATE sessions SET revoked_at = now()")
        await write.send(alice, expect=401)

    @staticmethod
    async def _sent_by_an_owner(kind: str, alice: Person, bob: Person, carol: Person) -> tuple[KeyedWrite, int]:
        """Bob, an owner beside Alice, sends the request once."""
        write = await make_write(kind, alice, carol)
        if kind == "project":
            project_id = int((await write.send(bob)).json()["id"])
            await bob.post(f"/projects/{project_id}/members", {"username": "alice", "role": "owner"})
            return write, project_id
        newest = (await alice.get("/projects")).json()["projects"][-1]
        project_id = int(newest["id"])
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "owner"})
        await write.send(bob)
        return write, project_id

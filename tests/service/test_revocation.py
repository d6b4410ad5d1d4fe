"""What takes rights away holds from the very next request, on every kind of credential."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person, SignUp
from tests.support.credential_rings import Ring, all_of, answers
from tests.support.credentials import API, Key, Tokens, log_in, new_key, refresh, status_of
from tests.support.locks import until_blocked
from tests.support.rows import digests, execute
from tests.support.sessions import open_transaction

NEW_PASSWORD = "a brand new phrase"


@pytest.fixture
async def admin_key(administrator: Person) -> Key:
    """A key for administration."""
    return await new_key(administrator, "admin")


async def change_password(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Change Alice's password and return the status."""
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD}
    return (await client.post(f"{API}/users/me/password", json=body, headers=headers)).status_code


class TestDisabledUser:
    """POST /admin/users/{user_id}/disable and enable."""

    async def test_no_credential_of_theirs_works(self, client: httpx.AsyncClient, ring: Ring, admin_key: Key) -> None:
        assert await answers(client, ring) == all_of(200)
        path = f"/admin/users/{ring.person.id}/disable"
        assert await status_of(client, path, admin_key.in_header, "POST") == 200
        assert await answers(client, ring) == all_of(401)
        assert (await refresh(client, ring.this.refresh)).status_code == 401
        login = await client.post(f"{API}/token", data={"username": "alice", "password": PASSWORD})
        assert login.status_code == 401

    async def test_no_write_of_theirs_changes_anything(
        self, client: httpx.AsyncClient, ring: Ring, admin_key: Key, database: Database
    ) -> None:
        task_id = (await ring.person.new_task())["id"]
        await status_of(client, f"/admin/users/{ring.person.id}/disable", admin_key.in_header, "POST")
        before = await digests(database)
        assert await answers(client, ring, f"/tasks/{task_id}", "DELETE") == all_of(401)
        assert await digests(database) == before

    async def test_others_are_not_touched(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, admin_key: Key
    ) -> None:
        await status_of(client, f"/admin/users/{bob.id}/disable", admin_key.in_header, "POST")
        assert await answers(client, ring) == all_of(200)

    async def test_enabled_again_everything_works_again(
        self, client: httpx.AsyncClient, ring: Ring, admin_key: Key
    ) -> None:
        for action in ("disable", "enable"):
            path = f"/admin/users/{ring.person.id}/{action}"
            assert await status_of(client, path, admin_key.in_header, "POST") == 200
        assert await answers(client, ring) == all_of(200)
        assert (await refresh(client, ring.this.refresh)).status_code == 200
        await log_in(client, "alice")

    async def test_a_disabled_administrators_key_is_no_key(
        self, client: httpx.AsyncClient, administrator: Person, admin_key: Key, sign_up: SignUp
    ) -> None:
        second = await new_key(await sign_up("second", is_admin=True), "admin")
        path = f"/admin/users/{administrator.id}/disable"
        assert await status_of(client, path, second.in_header, "POST") == 200
        for headers in (admin_key.in_header, admin_key.as_bearer):
            assert await status_of(client, "/admin/users", headers) == 403


class TestPassword:
    """POST /users/me/password."""

    async def test_other_logins_end_and_this_one_and_the_keys_stay(self, client: httpx.AsyncClient, ring: Ring) -> None:
        assert await change_password(client, ring.this.headers) == 204
        assert await answers(client, ring) == {**all_of(200), "another login": 401}
        assert (await refresh(client, ring.other.refresh)).status_code == 401
        assert (await refresh(client, ring.this.refresh)).status_code == 200
        # The fixture's own login is another one too.
        await ring.person.get("/users/me", expect=401)

    async def test_changed_with_a_key_every_login_ends(self, client: httpx.AsyncClient, ring: Ring) -> None:
        assert await change_password(client, ring.key.in_header) == 204
        assert await answers(client, ring) == {**all_of(200), "this login": 401, "another login": 401}

    async def test_only_the_new_password_logs_in(self, client: httpx.AsyncClient, ring: Ring) -> None:
        assert await change_password(client, ring.this.headers) == 204
        old = await client.post(f"{API}/token", data={"username": "alice", "password": PASSWORD})
        assert old.status_code == 401
        await log_in(client, "alice", NEW_PASSWORD)

    async def test_a_refused_change_ends_nothing(self, client: httpx.AsyncClient, ring: Ring) -> None:
        body = {"current_password": "wrong", "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD}
        answer = await client.post(f"{API}/users/me/password", json=body, headers=ring.this.headers)
        assert answer.status_code == 403
        assert await answers(client, ring) == all_of(200)

    async def test_logins_of_others_stay(self, client: httpx.AsyncClient, ring: Ring, bob: Person) -> None:
        assert await change_password(client, ring.this.headers) == 204
        await bob.get("/users/me")

    async def test_a_login_with_the_old_password_that_is_under_way_ends_too(
        self, client: httpx.AsyncClient, ring: Ring, database: Database
    ) -> None:
        # The change has written the new hash and waits to end a login that is locked here; then somebody who
        # knows the old password logs in.
        async with open_transaction(database) as session:
            lock = text("SELECT id FROM sessions WHERE id = :id FOR UPDATE")
            await session.execute(lock, {"id": ring.person.session_id})
            change = asyncio.create_task(change_password(client, ring.this.headers))
            await until_blocked(database)
            form = {"username": "alice", "password": PASSWORD}
            login = asyncio.create_task(client.post(f"{API}/token", data=form))
            await asyncio.wait([login], timeout=0.5)
        assert await change == 204
        answer = await login
        if answer.status_code == 200:
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            assert await status_of(client, "/users/me", headers) == 401
        else:
            assert answer.status_code == 401


class TestSession:
    """DELETE /users/me/sessions/{session_id} and POST /token/revoke."""

    @staticmethod
    async def session_id(client: httpx.AsyncClient, tokens: Tokens) -> int:
        """Return the id of a login."""
        answer = await client.get(f"{API}/users/me/sessions", headers=tokens.headers)
        return next(int(session["id"]) for session in answer.json()["sessions"] if session["current"])

    async def test_a_revoked_session_is_refused_and_nothing_else_is(
        self, client: httpx.AsyncClient, ring: Ring
    ) -> None:
        path = f"/users/me/sessions/{await self.session_id(client, ring.other)}"
        assert await status_of(client, path, ring.this.headers, "DELETE") == 204
        assert await answers(client, ring) == {**all_of(200), "another login": 401}
        assert (await refresh(client, ring.other.refresh)).status_code == 401
        assert (await refresh(client, ring.this.refresh)).status_code == 200

    async def test_one_can_revoke_the_session_one_comes_with(self, client: httpx.AsyncClient, ring: Ring) -> None:
        path = f"/users/me/sessions/{await self.session_id(client, ring.this)}"
        assert await status_of(client, path, ring.this.headers, "DELETE") == 204
        assert await status_of(client, path, ring.this.headers, "DELETE") == 401
        assert await answers(client, ring) == {**all_of(200), "this login": 401}

    async def test_a_key_can_revoke_a_session(self, client: httpx.AsyncClient, ring: Ring) -> None:
        path = f"/users/me/sessions/{await self.session_id(client, ring.other)}"
        assert await status_of(client, path, ring.key.in_header, "DELETE") == 204
        assert await answers(client, ring) == {**all_of(200), "another login": 401}

    async def test_logging_out_ends_the_access_token_too(self, client: httpx.AsyncClient, ring: Ring) -> None:
        answer = await client.post(f"{API}/token/revoke", json={"refresh_token": ring.other.refresh})
        assert answer.status_code == 204
        assert await answers(client, ring) == {**all_of(200), "another login": 401}

    async def test_a_reused_refresh_token_ends_the_login(
        self, client: httpx.AsyncClient, ring: Ring, database: Database
    ) -> None:
        rotated = (await refresh(client, ring.other.refresh)).json()
        await execute(database, "UPDATE sessions SET last_used_at = last_used_at - interval '11 seconds'")
        assert await answers(client, ring) == all_of(200)
        assert (await refresh(client, ring.other.refresh)).status_code == 401
        assert await answers(client, ring) == {**all_of(200), "another login": 401}
        thief = {"Authorization": f"Bearer {rotated['access_token']}"}
        assert await status_of(client, "/users/me", thief) == 401


class TestKey:
    """DELETE /users/me/api-keys/{key_id}, and expiry."""

    async def test_a_deleted_key_is_refused_and_nothing_else_is(self, client: httpx.AsyncClient, ring: Ring) -> None:
        second = await new_key(ring.person, "account")
        await ring.person.delete(f"/users/me/api-keys/{ring.key.id}")
        assert await answers(client, ring) == {**all_of(401), "this login": 200, "another login": 200}
        assert await status_of(client, "/users/me", second.in_header) == 200

    async def test_a_key_can_delete_itself(self, client: httpx.AsyncClient, ring: Ring) -> None:
        path = f"/users/me/api-keys/{ring.key.id}"
        assert await status_of(client, path, ring.key.as_bearer, "DELETE") == 204
        assert await answers(client, ring) == {**all_of(401), "this login": 200, "another login": 200}

    async def test_an_expired_key_is_refused(self, client: httpx.AsyncClient, ring: Ring, database: Database) -> None:
        await execute(database, "UPDATE api_keys SET expires_at = now() + interval '1 minute'")
        assert await answers(client, ring) == all_of(200)
        await execute(database, "UPDATE api_keys SET expires_at = now()")
        assert await answers(client, ring) == {**all_of(401), "this login": 200, "another login": 200}

    async def test_a_bad_key_beside_a_good_login_is_refused(self, client: httpx.AsyncClient, ring: Ring) -> None:
        await ring.person.delete(f"/users/me/api-keys/{ring.key.id}")
        for key in (ring.key.text, "x", ring.other.access):
            assert await status_of(client, "/users/me", {**ring.this.headers, "X-API-Key": key}) == 401, key


class TestDeletedAccount:
    """POST /users/me/delete."""

    async def test_no_credential_of_theirs_works(self, client: httpx.AsyncClient, ring: Ring) -> None:
        await ring.person.post("/users/me/delete", {"password": PASSWORD}, expect=204)
        assert await answers(client, ring) == all_of(401)
        assert (await refresh(client, ring.this.refresh)).status_code == 401
        login = await client.post(f"{API}/token", data={"username": "alice", "password": PASSWORD})
        assert login.status_code == 401

    async def test_no_key_of_theirs_administers(
        self, client: httpx.AsyncClient, administrator: Person, admin_key: Key, sign_up: SignUp
    ) -> None:
        await sign_up("successor", is_admin=True)
        await administrator.post("/users/me/delete", {"password": PASSWORD}, expect=204)
        assert await status_of(client, "/admin/users", admin_key.in_header) == 403

    async def test_a_new_account_of_the_same_name_gives_nothing_back(
        self, client: httpx.AsyncClient, ring: Ring, bob: Person, sign_up: SignUp
    ) -> None:
        project_id = await bob.new_project()
        await bob.post(f"/projects/{project_id}/members", {"username": "alice", "role": "editor"})
        await ring.person.post("/users/me/delete", {"password": PASSWORD}, expect=204)
        again = await sign_up("alice")
        assert again.id != ring.person.id
        assert await answers(client, ring) == all_of(401)
        await again.get(f"/projects/{project_id}", expect=404)

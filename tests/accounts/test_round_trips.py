"""What accounts and administration send to the database: each write is one statement, alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person, SignUp
from tests.support.credentials import API, Key, log_in, new_key
from tests.support.event_log import count_rows
from tests.support.recorded_statements import recorded_statements
from tests.support.rows import fetch_one


@pytest.fixture
async def admin_key(sign_up: SignUp) -> Key:
    """A key for administration."""
    return await new_key(await sign_up("administrator", is_admin=True), "admin")


@contextmanager
def messages(database: Database, expected: int) -> Iterator[None]:
    """Check how many statements are sent, and that no COMMIT is among what the meter counts beside them."""
    before = database.meter.statements
    with recorded_statements(database) as statements:
        yield
    assert (len(statements), database.meter.statements - before) == (expected, expected), statements


class TestMessages:
    """A round trip each, and one more to look the caller up where the write cannot check that."""

    async def test_registration(self, client: httpx.AsyncClient, database: Database) -> None:
        body = {"username": "carol", "email": "carol@example.com", "password": PASSWORD}
        with messages(database, 1):
            answer = await client.post(f"{API}/users", json=body)
        assert answer.status_code == 201

    async def test_a_login_with_its_refreshes_and_its_end(
        self, client: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        with messages(database, 2):
            tokens = await log_in(client, "alice")
        with messages(database, 1):
            answer = await client.post(f"{API}/token/refresh", json={"refresh_token": tokens.refresh})
        assert answer.status_code == 200
        with messages(database, 1):
            answer = await client.post(f"{API}/token/revoke", json={"refresh_token": answer.json()["refresh_token"]})
        assert answer.status_code == 204

    async def test_changing_the_account(self, alice: Person, database: Database) -> None:
        with messages(database, 1):
            await alice.patch("/users/me", {"email": "new@example.com"})

    async def test_ending_a_login(self, alice: Person, database: Database) -> None:
        with messages(database, 1):
            await alice.delete(f"/users/me/sessions/{alice.session_id}")

    async def test_api_keys(self, alice: Person, database: Database) -> None:
        with messages(database, 2):
            key = await new_key(alice, "account")
        with messages(database, 1):
            await alice.delete(f"/users/me/api-keys/{key.id}")

    async def test_disabling_a_user(
        self, client: httpx.AsyncClient, alice: Person, admin_key: Key, database: Database
    ) -> None:
        await client.get(f"{API}/admin/users", headers=admin_key.in_header)  # notes the use of the key
        with messages(database, 2):
            await client.post(f"{API}/admin/users/{alice.id}/disable", headers=admin_key.in_header)
        assert (await fetch_one(database, "SELECT disabled FROM users WHERE id = :id", id=alice.id))["disabled"]


class TestRetries:
    """A write with an Idempotency-Key has one effect, and its answer is given again."""

    KEY = {"Idempotency-Key": "a-key"}

    @staticmethod
    def _assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"

    async def test_of_changing_the_account(self, alice: Person) -> None:
        first = await alice.patch("/users/me", {"username": "alicia"}, headers=self.KEY)
        await alice.patch("/users/me", {"username": "alison"})
        self._assert_replayed(first, await alice.patch("/users/me", {"username": "alicia"}, headers=self.KEY))
        assert (await alice.get("/users/me")).json()["username"] == "alison"

    async def test_of_ending_a_login(self, client: httpx.AsyncClient, alice: Person) -> None:
        await log_in(client, "alice")
        other = next(one for one in (await alice.get("/users/me/sessions")).json()["sessions"] if not one["current"])
        path = f"/users/me/sessions/{other['id']}"
        self._assert_replayed(await alice.delete(path, headers=self.KEY), await alice.delete(path, headers=self.KEY))
        await alice.delete(path, 404)

    async def test_of_deleting_a_key(self, alice: Person) -> None:
        path = f"/users/me/api-keys/{(await new_key(alice, 'account')).id}"
        self._assert_replayed(await alice.delete(path, headers=self.KEY), await alice.delete(path, headers=self.KEY))
        await alice.delete(path, 404)

    async def test_of_making_a_key_is_not_stored(self, alice: Person, database: Database) -> None:
        body = {"name": "A key", "scopes": ["account"]}
        keys = [(await alice.post("/users/me/api-keys", body, headers=self.KEY)).json()["key"] for _ in range(2)]
        assert keys[0] != keys[1]
        assert await count_rows(database, "idempotency_keys") == 0

    async def test_of_administration(self, client: httpx.AsyncClient, alice: Person, admin_key: Key) -> None:
        headers = {**admin_key.in_header, **self.KEY}

        async def call(method: str, path: str, **more: str) -> httpx.Response:
            return await client.request(method, f"{API}/admin{path}", headers={**headers, **more})

        path = f"/users/{alice.id}/disable"
        first = await call("POST", path)
        assert first.json()["disabled"] is True
        await call("POST", f"/users/{alice.id}/enable")
        self._assert_replayed(first, await call("POST", path))
        await alice.new_task()
        first = await call("DELETE", "/clear-tasks")
        assert first.json() == {"message": "All tasks deleted"}
        await alice.new_task()
        self._assert_replayed(first, await call("DELETE", "/clear-tasks"))
        assert (await alice.get("/tasks")).json()["total"] == 1


async def test_a_login_that_has_ended_changes_nothing(
    app: FastAPI, client: httpx.AsyncClient, alice: Person, database: Database
) -> None:
    key = await new_key(alice, "account")
    other = (await log_in(client, "alice")).headers
    await alice.delete(f"/users/me/sessions/{alice.session_id}")
    await alice.patch("/users/me", {"email": "new@example.com"}, 401)
    await alice.delete(f"/users/me/api-keys/{key.id}", 401)
    assert (await client.get(f"{API}/users/me", headers=other)).json()["email"] == "alice@example.com"
    assert len((await client.get(f"{API}/users/me/api-keys", headers=other)).json()["api_keys"]) == 1

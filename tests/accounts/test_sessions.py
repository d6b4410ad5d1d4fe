"""The sessions of an account can be listed and ended."""

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.credentials import API, Tokens, log_in
from tests.support.rows import digests, execute


class TestSessions:
    """GET /users/me/sessions and DELETE /users/me/sessions/{session_id}."""

    @pytest.fixture
    async def second(self, client: httpx.AsyncClient, alice: Person) -> Tokens:
        """Another login of Alice's, from a browser."""
        client.headers["User-Agent"] = "A browser/1.0"
        return await log_in(client, "alice")

    async def test_lists_every_login_newest_first(
        self, client: httpx.AsyncClient, alice: Person, second: Tokens
    ) -> None:
        answer = (await client.get(f"{API}/users/me/sessions", headers=second.headers)).json()
        newer, older = answer["sessions"]
        assert newer == {
            "id": newer["id"],
            "user_agent": "A browser/1.0",
            "created_at": newer["created_at"],
            "last_used_at": newer["created_at"],
            "current": True,
        }
        assert (older["id"], older["user_agent"], older["current"]) == (alice.session_id, "tests", False)
        assert answer["next_cursor"] is None

    async def test_the_current_one_is_that_of_the_request(self, alice: Person, second: Tokens) -> None:
        sessions = (await alice.get("/users/me/sessions")).json()["sessions"]
        assert [session["current"] for session in sessions] == [False, True]

    async def test_none_is_current_for_a_key(self, alice: Person, client: httpx.AsyncClient) -> None:
        key = (await alice.post("/users/me/api-keys", {"name": "A key", "scopes": ["account"]})).json()["key"]
        sessions = (await client.get(f"{API}/users/me/sessions", headers={"X-API-Key": key})).json()["sessions"]
        assert [session["current"] for session in sessions] == [False]

    async def test_a_refresh_is_a_use(self, client: httpx.AsyncClient, alice: Person, second: Tokens) -> None:
        answer = await client.post(f"{API}/token/refresh", json={"refresh_token": second.refresh})
        assert answer.status_code == 200
        session = (await alice.get("/users/me/sessions")).json()["sessions"][0]
        assert session["last_used_at"] > session["created_at"]

    async def test_a_revoked_one_is_listed_no_more(self, alice: Person, second: Tokens, database: Database) -> None:
        newer = (await alice.get("/users/me/sessions")).json()["sessions"][0]["id"]
        answer = await alice.delete(f"/users/me/sessions/{newer}")
        assert answer.content == b""
        sessions = (await alice.get("/users/me/sessions")).json()["sessions"]
        assert [session["id"] for session in sessions] == [alice.session_id]
        await alice.delete(f"/users/me/sessions/{newer}", expect=404)

    async def test_a_foreign_one_is_404_as_one_that_never_was(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        before = await digests(database)
        foreign = await alice.delete(f"/users/me/sessions/{bob.session_id}", expect=404)
        unknown = await alice.delete(f"/users/me/sessions/{bob.session_id + 10**6}", expect=404)
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert await digests(database) == before
        await bob.get("/users/me")

    async def test_lists_nobody_elses(self, alice: Person, bob: Person) -> None:
        sessions = (await bob.get("/users/me/sessions")).json()["sessions"]
        assert [session["id"] for session in sessions] == [bob.session_id]

    async def test_reading_with_a_token_writes_nothing(self, alice: Person, database: Database) -> None:
        await execute(database, "UPDATE sessions SET last_used_at = last_used_at - interval '1 day'")
        before = await digests(database)
        for _ in range(3):
            await alice.get("/users/me")
        assert await digests(database) == before

"""Refresh tokens are revoked, stored as hashes, and outlive a change of the secret."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import httpx

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import PASSWORD, SECRET, Person, make_settings
from tests.support.applications import started
from tests.support.credentials import Tokens, log_in, refresh, status_of
from tests.support.refresh_tokens import OTHER_SECRET, REVOKE, assert_refused, bent_tokens, rotated, stored
from tests.support.rows import digests, dump


class TestRevoke:
    """POST /token/revoke."""

    async def test_ends_the_login_with_its_access_tokens(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        new = await rotated(client, login.refresh)
        answer = await client.post(REVOKE, json={"refresh_token": new.refresh})
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await stored(database, login.refresh))["revoked_at"] is not None
        for tokens in (login, new):
            assert await status_of(client, "/users/me", tokens.headers) == 401
            assert_refused(await refresh(client, tokens.refresh))

    async def test_takes_a_spent_token_as_well(self, client: httpx.AsyncClient, login: Tokens) -> None:
        new = await rotated(client, login.refresh)
        assert (await client.post(REVOKE, json={"refresh_token": login.refresh})).status_code == 204
        assert_refused(await refresh(client, new.refresh))

    async def test_is_204_to_anything_well_formed_and_changes_nothing(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        before = await digests(database)
        for token in bent_tokens(login.refresh):
            answer = await client.post(REVOKE, json={"refresh_token": token})
            assert (answer.status_code, answer.content) == (204, b""), token
        assert await digests(database) == before

    async def test_a_second_time_changes_nothing(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        await client.post(REVOKE, json={"refresh_token": login.refresh})
        before = await digests(database)
        assert (await client.post(REVOKE, json={"refresh_token": login.refresh})).status_code == 204
        assert await digests(database) == before


class TestAtRest:
    """What a thief of the database has in hand."""

    async def test_nothing_like_a_token_is_stored(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        tokens = [login, await rotated(client, login.refresh)]
        rows = (await dump(database)).lower()
        assert "alice@example.com" in rows
        for token in tokens:
            for text in (token.access, token.refresh, *token.access.split("."), token.refresh.split("_", 3)[3]):
                code = text.encode()
                hashed = sha256(code).digest()
                for form in (text, hashed.hex(), base64.b64encode(hashed).decode(), code.hex()):
                    assert form.lower() not in rows


class TestTwoSecrets:
    """SECRET_KEY_PREVIOUS, while one secret replaces another."""

    @staticmethod
    @asynccontextmanager
    async def served(database_url: str, secret: str, previous: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """Run the service with these secrets."""
        settings = make_settings(database_url=database_url, secret_key=secret, secret_key_previous=previous)
        async with started(create_app(settings)) as client:
            yield client

    async def test_old_tokens_are_accepted_and_new_ones_signed_with_the_new_secret(
        self, database_url: str, client: httpx.AsyncClient, login: Tokens
    ) -> None:
        async with self.served(database_url, OTHER_SECRET, SECRET) as rotating:
            assert await status_of(rotating, "/users/me", login.headers) == 200
            new = await rotated(rotating, login.refresh)
            assert await status_of(rotating, "/users/me", new.headers) == 200
            fresh = await log_in(rotating, "alice")
        async with self.served(database_url, OTHER_SECRET) as after:
            for tokens in (new, fresh):
                assert await status_of(after, "/users/me", tokens.headers) == 200
                await rotated(after, tokens.refresh)
            assert await status_of(after, "/users/me", login.headers) == 401
            assert_refused(await refresh(after, login.refresh))
        # The application of the old secret alone knows none of them.
        for tokens in (new, fresh):
            assert await status_of(client, "/users/me", tokens.headers) == 401
            assert_refused(await refresh(client, tokens.refresh))

    async def test_a_repeated_refresh_gives_the_same_successor(self, database_url: str, login: Tokens) -> None:
        async with self.served(database_url, OTHER_SECRET, SECRET) as rotating:
            first = await rotated(rotating, login.refresh)
            assert (await rotated(rotating, login.refresh)).refresh == first.refresh

    async def test_an_old_token_can_be_revoked(self, database_url: str, login: Tokens) -> None:
        async with self.served(database_url, OTHER_SECRET, SECRET) as rotating:
            assert (await rotating.post(REVOKE, json={"refresh_token": login.refresh})).status_code == 204
            assert await status_of(rotating, "/users/me", login.headers) == 401

    async def test_keys_and_passwords_do_not_depend_on_the_secret(
        self, database_url: str, alice: Person, login: Tokens
    ) -> None:
        body = {"name": "A key", "scopes": ["account"]}
        key = (await alice.post("/users/me/api-keys", body)).json()["key"]
        async with self.served(database_url, OTHER_SECRET) as after:
            assert await status_of(after, "/users/me", {"X-API-Key": key}) == 200
            assert (await log_in(after, "alice", PASSWORD)).access

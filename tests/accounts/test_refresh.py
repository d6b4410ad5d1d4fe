"""Refreshing and ending a login: rotation, the grace for lost answers, reuse, and two signing secrets."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest

from taskmanager.accounts.tokens import RefreshClaims, TokenSigner
from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import PASSWORD, SECRET, Person, make_settings
from tests.support.applications import started
from tests.support.credentials import API, Tokens, bearer, log_in, refresh, status_of
from tests.support.rows import digests, dump, execute, fetch_one

OTHER_SECRET = "another secret for tests only, also of more than 32 bytes"
REVOKE = f"{API}/token/revoke"


@pytest.fixture
async def login(client: httpx.AsyncClient, alice: Person) -> Tokens:
    """A fresh login of Alice's."""
    return await log_in(client, "alice")


async def rotated(client: httpx.AsyncClient, token: str) -> Tokens:
    """Refresh, which has to succeed, and return the new tokens."""
    answer = await refresh(client, token)
    assert answer.status_code == 200, answer.text
    return Tokens(answer.json()["access_token"], answer.json()["refresh_token"])


def session_id(token: str) -> int:
    """Return the login that a refresh token belongs to."""
    return int(token.split("_")[1])


async def stored(database: Database, token: str) -> dict[str, Any]:
    """Return the row of a token's login."""
    return await fetch_one(database, "SELECT * FROM sessions WHERE id = :id", id=session_id(token))


async def let_pass(database: Database, token: str, interval: str) -> None:
    """Move the last use of a login back in time."""
    statement = f"UPDATE sessions SET last_used_at = last_used_at - interval '{interval}' WHERE id = :id"
    await execute(database, statement, id=session_id(token))


def assert_refused(answer: httpx.Response) -> None:
    """Check the one answer to every token that is not good."""
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["type"] == "urn:taskmanager:problem:invalid-token"


class TestRotation:
    """POST /token/refresh with the newest token."""

    async def test_answers_as_a_login_does(self, client: httpx.AsyncClient, login: Tokens) -> None:
        answer = await refresh(client, login.refresh)
        assert answer.status_code == 200
        assert set(answer.json()) == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 1800)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json()["refresh_token"] != login.refresh
        assert answer.json()["access_token"] != login.access

    async def test_old_and_new_access_tokens_are_good(self, client: httpx.AsyncClient, login: Tokens) -> None:
        new = await rotated(client, login.refresh)
        for tokens in (login, new):
            assert await status_of(client, "/users/me", tokens.headers) == 200

    async def test_stays_in_the_same_session_one_generation_on(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        await let_pass(database, login.refresh, "1 hour")
        before = await stored(database, login.refresh)
        new = await rotated(client, login.refresh)
        after = await stored(database, login.refresh)
        assert session_id(new.refresh) == session_id(login.refresh)
        assert after["generation"] == before["generation"] + 1
        assert after["last_used_at"] > before["last_used_at"]
        assert after["revoked_at"] is None

    async def test_goes_on_and_on(self, client: httpx.AsyncClient, login: Tokens, database: Database) -> None:
        tokens = [login.refresh]
        for _ in range(10):
            tokens.append((await rotated(client, tokens[-1])).refresh)
        assert len(set(tokens)) == 11
        assert (await stored(database, login.refresh))["generation"] == 10

    async def test_logins_rotate_on_their_own(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        other = await log_in(client, "alice")
        await rotated(client, login.refresh)
        assert (await stored(database, other.refresh))["generation"] == 0

    async def test_needs_no_access_token_and_minds_no_bad_one(self, client: httpx.AsyncClient, login: Tokens) -> None:
        body = {"refresh_token": login.refresh}
        answer = await client.post(f"{API}/token/refresh", json=body, headers=bearer("x"))
        assert answer.status_code == 200


class TestGrace:
    """A token that was spent a moment ago comes from a client whose answer got lost."""

    async def test_gives_the_same_successor(self, client: httpx.AsyncClient, login: Tokens, database: Database) -> None:
        first = await rotated(client, login.refresh)
        row = await stored(database, login.refresh)
        again = await rotated(client, login.refresh)
        assert again.refresh == first.refresh
        assert await status_of(client, "/users/me", again.headers) == 200
        assert await stored(database, login.refresh) == row
        await rotated(client, first.refresh)

    async def test_lasts_ten_seconds_from_the_rotation_however_often_it_is_used(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        first = await rotated(client, login.refresh)
        await let_pass(database, login.refresh, "8 seconds")
        assert (await rotated(client, login.refresh)).refresh == first.refresh
        await let_pass(database, login.refresh, "3 seconds")
        assert_refused(await refresh(client, login.refresh))

    async def test_is_for_the_last_spent_token_only(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        second = await rotated(client, (await rotated(client, login.refresh)).refresh)
        assert_refused(await refresh(client, login.refresh))
        assert_refused(await refresh(client, second.refresh))

    async def test_twenty_at_once_get_the_same_successor(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        answers = await asyncio.gather(*(refresh(client, login.refresh) for _ in range(20)))
        assert [answer.status_code for answer in answers] == [200] * 20
        assert len({answer.json()["refresh_token"] for answer in answers}) == 1
        row = await stored(database, login.refresh)
        assert (row["generation"], row["revoked_at"]) == (1, None)
        await rotated(client, answers[0].json()["refresh_token"])


class TestReuse:
    """After the grace a spent token shows that two hold the login, so it ends."""

    async def test_ends_the_login_and_the_end_is_committed(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        new = await rotated(client, login.refresh)
        await let_pass(database, login.refresh, "11 seconds")
        assert_refused(await refresh(client, login.refresh))
        row = await stored(database, login.refresh)
        assert (row["revoked_at"] is None, row["generation"]) == (False, 1)
        assert_refused(await refresh(client, new.refresh))
        for tokens in (login, new):
            assert await status_of(client, "/users/me", tokens.headers) == 401

    async def test_the_newest_token_is_good_after_any_time_within_the_limit(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        await let_pass(database, login.refresh, "29 days")
        await rotated(client, login.refresh)

    async def test_leaves_other_logins_alone(
        self, client: httpx.AsyncClient, login: Tokens, alice: Person, database: Database
    ) -> None:
        await rotated(client, login.refresh)
        await let_pass(database, login.refresh, "11 seconds")
        assert_refused(await refresh(client, login.refresh))
        await alice.get("/users/me")

    async def test_twenty_reuses_at_once_are_all_refused(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        await rotated(client, login.refresh)
        await let_pass(database, login.refresh, "11 seconds")
        for answer in await asyncio.gather(*(refresh(client, login.refresh) for _ in range(20))):
            assert_refused(answer)


class TestRefusal:
    """Tokens that are not good change nothing."""

    async def test_a_login_unused_for_thirty_days_has_ended(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        await let_pass(database, login.refresh, "30 days 1 second")
        before = await digests(database)
        assert_refused(await refresh(client, login.refresh))
        assert await digests(database) == before

    async def test_an_idle_login_is_not_listed(
        self, client: httpx.AsyncClient, login: Tokens, alice: Person, database: Database
    ) -> None:
        await let_pass(database, login.refresh, "30 days 1 second")
        sessions = (await alice.get("/users/me/sessions")).json()["sessions"]
        assert [session["id"] for session in sessions] == [alice.session_id]

    async def test_a_revoked_login_cannot_be_refreshed(self, client: httpx.AsyncClient, login: Tokens) -> None:
        assert (await client.post(REVOKE, json={"refresh_token": login.refresh})).status_code == 204
        assert_refused(await refresh(client, login.refresh))

    async def test_a_disabled_users_login_cannot_be_refreshed(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        await execute(database, "UPDATE users SET disabled = true")
        before = await digests(database)
        assert_refused(await refresh(client, login.refresh))
        assert await digests(database) == before

    async def test_a_login_that_is_gone(self, client: httpx.AsyncClient, login: Tokens, database: Database) -> None:
        await execute(database, "DELETE FROM sessions WHERE id = :id", id=session_id(login.refresh))
        assert_refused(await refresh(client, login.refresh))

    @staticmethod
    def bent(token: str) -> list[str]:
        """Return a token, changed in every part."""
        family, generation, code = re.fullmatch(r"tmr_(\d+)_(\d+)_(.+)", token).groups()  # type: ignore[union-attr]
        other_end = chr(ord(code[-1]) + 1)
        return [
            "",
            "x",
            "tmr_",
            token[:-1],
            f"{token}A",
            f"{token}=",
            f"{token}\n",
            f" {token}",
            f"tmr_{family}_{int(generation) + 1}_{code}",
            f"tmr_{int(family) + 1}_{generation}_{code}",
            f"tmr_0{family}_{generation}_{code}",
            f"tmr_{family}_0{generation}_{code}",
            f"tmr_{family}_-{generation}_{code}",
            f"tmr_{family}_{generation}_{code[:-2]}AA",
            f"tmr_{family}_{generation}_{code[:-1]}{other_end}",
            f"tmr_{family}_{generation}_{code.swapcase()}",
            f"tmr_{2**63}_{generation}_{code}",
            f"tmr_{family}_{10**9}_{code}",
            f"tmr_{family}_{10**30}_{code}",
            f"tmr_٣_{generation}_{code}",
            f"tm_{family}_{code}",
            token.upper(),
            "😀" * 20,
        ]

    async def test_a_bent_token(self, client: httpx.AsyncClient, login: Tokens, database: Database) -> None:
        before = await digests(database)
        for token in self.bent(login.refresh):
            assert_refused(await refresh(client, token))
        assert await digests(database) == before
        await rotated(client, login.refresh)

    async def test_a_token_of_another_secret(
        self, client: httpx.AsyncClient, login: Tokens, database: Database
    ) -> None:
        claims = RefreshClaims(session_id(login.refresh), 0)
        forger = TokenSigner([OTHER_SECRET.encode()], access_token_minutes=30)
        before = await digests(database)
        assert_refused(await refresh(client, forger.refresh_token(claims)))
        assert await digests(database) == before
        # The very same call with the right secret makes the good one.
        signer = TokenSigner([SECRET.encode()], access_token_minutes=30)
        assert signer.refresh_token(claims) == login.refresh

    async def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(
        self, client: httpx.AsyncClient, login: Tokens
    ) -> None:
        assert_refused(await refresh(client, login.access))
        assert await status_of(client, "/users/me", bearer(login.refresh)) == 401
        assert await status_of(client, "/users/me", {"X-API-Key": login.refresh}) == 401

    @pytest.mark.parametrize(
        "body", [{}, {"refresh_token": None}, {"refresh_token": 1}, {"refresh_token": "x" * 501}, [], {"token": "x"}]
    )
    @pytest.mark.parametrize("route", ["refresh", "revoke"])
    async def test_a_body_without_a_token_is_422(self, client: httpx.AsyncClient, route: str, body: Any) -> None:
        assert (await client.post(f"{API}/token/{route}", json=body)).status_code == 422

    @pytest.mark.parametrize("route", ["refresh", "revoke"])
    async def test_a_token_beside_unknown_fields_is_422(
        self, client: httpx.AsyncClient, login: Tokens, route: str
    ) -> None:
        body = {"refresh_token": login.refresh, "scope": "admin"}
        answer = await client.post(f"{API}/token/{route}", json=body)
        assert answer.status_code == 422
        assert login.refresh not in answer.text
        await rotated(client, login.refresh)


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
        for token in TestRefusal.bent(login.refresh):
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

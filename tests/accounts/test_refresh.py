"""Refreshing and ending a login: rotation, the grace for lost answers, reuse, and two signing secrets."""

import asyncio
from typing import Any

import httpx
import pytest

from taskmanager.accounts.tokens import RefreshClaims, TokenSigner
from taskmanager.database.database import Database
from tests.conftest import SECRET, Person
from tests.support.credentials import API, Tokens, bearer, log_in, refresh, status_of
from tests.support.refresh_tokens import OTHER_SECRET, REVOKE, assert_refused, bent_tokens, rotated, session_id, stored
from tests.support.rows import digests, execute


async def let_pass(database: Database, token: str, interval: str) -> None:
    """Move the last use of a login back in time."""
    statement = f"UPDATE sessions SET last_used_at = last_used_at - interval '{interval}' WHERE id = :id"
    await execute(database, statement, id=session_id(token))


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

    async def test_a_bent_token(self, client: httpx.AsyncClient, login: Tokens, database: Database) -> None:
        before = await digests(database)
        for token in bent_tokens(login.refresh):
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

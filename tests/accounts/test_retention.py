"""Logins and API keys that ended long ago are deleted, and nothing else is."""

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.accounts.retention import PURGE_API_KEYS, PURGE_SESSIONS
from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from taskmanager.maintenance.jobs import Batch, Job, Progress
from tests.conftest import Person
from tests.support.credentials import log_in, new_key, refresh
from tests.support.jobs import run_job
from tests.support.rows import execute, fetch_all

_ADD = """
INSERT INTO sessions (user_id, user_agent, created_at, last_used_at, revoked_at)
SELECT :user_id, :name, now() - interval '400 days', now() - make_interval(days => :unused),
       now() - make_interval(days => :ended)
"""


async def names_of(database: Database, table: str, column: str) -> set[str]:
    """Return what is left."""
    return {row["name"] for row in await fetch_all(database, f"SELECT {column} AS name FROM {table}")}


async def add_login(database: Database, person: Person, name: str, *, unused: int, ended: int | None = None) -> None:
    """Store a login that was last used, and revoked if at all, so many days ago."""
    await execute(database, _ADD, user_id=person.id, name=name, unused=unused, ended=ended)


class TestSessions:
    """SESSION_RETENTION_DAYS after their end, by revocation or for want of use."""

    @pytest.fixture(autouse=True)
    async def logins(self, alice: Person, database: Database) -> None:
        """Logins of all ages; REFRESH_TOKEN_DAYS is 30."""
        await execute(database, "UPDATE sessions SET created_at = now() - interval '400 days'")
        await add_login(database, alice, "in use", unused=29)
        await add_login(database, alice, "unused", unused=59)
        await add_login(database, alice, "unused for long", unused=61)
        await add_login(database, alice, "revoked", unused=100, ended=29)
        await add_login(database, alice, "revoked long ago", unused=31, ended=31)

    @pytest.mark.parametrize("limit", [1, 2, 200])
    async def test_those_that_ended_long_ago_go(
        self, alice: Person, database: Database, app: FastAPI, limit: int
    ) -> None:
        tally = await run_job(PURGE_SESSIONS, app, limit=limit)
        assert await names_of(database, "sessions", "user_agent") == {"tests", "in use", "unused", "revoked"}
        assert (tally.rows, tally.passes) == (2, 1)
        await alice.get("/users/me")
        assert (await run_job(PURGE_SESSIONS, app)).rows == 0

    async def test_zero_is_for_ever(self, database: Database, app: FastAPI) -> None:
        assert (await run_job(PURGE_SESSIONS, app, session_retention_days=0)).rows == 0
        assert len(await names_of(database, "sessions", "user_agent")) == 6

    async def test_what_is_locked_is_left_for_later(self, database: Database, app: FastAPI) -> None:
        async with app.state.writes.transaction() as run:
            await run.all(Statement("lock", "SELECT FROM sessions WHERE user_agent = 'revoked long ago' FOR UPDATE"))
            assert (await run_job(PURGE_SESSIONS, app)).rows == 1
        assert (await run_job(PURGE_SESSIONS, app)).rows == 1

    async def test_young_logins_are_not_looked_through(self, alice: Person, database: Database, app: FastAPI) -> None:
        statement = "INSERT INTO sessions (user_id) SELECT :id FROM generate_series(1, 200)"
        await execute(database, statement, id=alice.id)
        looked: list[object] = []
        original = PURGE_SESSIONS.run_batch

        async def count(batch: Batch) -> Progress:
            looked.append(batch.after)
            return await original(batch)

        await run_job(Job("count", count), app, limit=2)
        # Six old ones, two and four in a batch, and the first eight of the young ones.
        assert len(looked) == 3

    async def test_a_token_of_one_that_is_gone_is_refused(
        self, client: httpx.AsyncClient, alice: Person, database: Database, app: FastAPI
    ) -> None:
        tokens = await log_in(client, "alice")
        statement = (
            "UPDATE sessions SET revoked_at = now() - interval '31 days', created_at = now() - interval '1 year'"
        )
        await execute(database, f"{statement} WHERE user_agent LIKE 'python-httpx%'")
        assert (await run_job(PURGE_SESSIONS, app)).rows == 3
        assert (await client.get("/api/v1/users/me", headers=tokens.headers)).status_code == 401
        assert (await refresh(client, tokens.refresh)).status_code == 401


class TestApiKeys:
    """API_KEY_RETENTION_DAYS after their end."""

    @pytest.mark.parametrize("limit", [1, 200])
    async def test_those_that_ended_long_ago_go(
        self, alice: Person, database: Database, app: FastAPI, limit: int
    ) -> None:
        for name, days in (("endless", None), ("ended", 29), ("ended long ago", 31), ("ending", -1)):
            await new_key(alice, "account", name=name)
            statement = "UPDATE api_keys SET expires_at = now() - make_interval(days => :days) WHERE name = :name"
            await execute(database, statement, days=days, name=name)
        assert (await run_job(PURGE_API_KEYS, app, api_key_retention_days=0)).rows == 0
        tally = await run_job(PURGE_API_KEYS, app, limit=limit)
        assert (tally.rows, tally.passes) == (1, 1)
        assert await names_of(database, "api_keys", "name") == {"endless", "ended", "ending"}

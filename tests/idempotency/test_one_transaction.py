"""The effect of a request with a key and its kept answer are one transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from taskmanager.accounts.request_writes import _RequestTransaction
from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from tests.conftest import Person
from tests.support.event_log import count_rows
from tests.support.keyed_writes import KINDS, KeyedWrite, keys_of, make_write
from tests.support.locks import until_blocked
from tests.support.rows import digests, fetch_one
from tests.support.sessions import open_session, open_transaction


class TestOneTransaction:
    """Effect and stored answer are committed together or not at all."""

    async def _assert_nothing_then_once(self, person: Person, database: Database, write: KeyedWrite) -> None:
        assert await count_rows(database, "tasks") == 0
        assert await keys_of(database) == []
        assert (await fetch_one(database, "SELECT count(*) FROM events WHERE entity = 'task'"))["count"] == 0
        assert "Idempotency-Replayed" not in (await write.send(person)).headers
        assert (await write.send(person)).headers["Idempotency-Replayed"] == "true"
        assert await count_rows(database, "tasks") == 1

    async def test_a_backend_killed_between_the_two_leaves_neither(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        async with open_session(database) as killer, open_transaction(database) as session:
            # The task is there; storing the key waits for this one.
            await session.execute(
                text("""
                INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, headers, body)
                VALUES (:id, 'POST', '/api/v1/tasks', 'a-key', '', 201, '{}', '')
                """),
                {"id": alice.id},
            )
            sending = asyncio.create_task(write.send(alice, expect=503))
            await until_blocked(database)
            killed = await killer.execute(
                text("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                """)
            )
            assert len(killed.all()) == 1
            await sending
            await session.rollback()
        await self._assert_nothing_then_once(alice, database, write)

    async def test_a_backend_killed_before_commit_leaves_neither(
        self, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = await make_write("move", alice, alice)
        before = await digests(database)
        last = _RequestTransaction.last

        async def last_and_die(self: Any, statement: Statement, **values: Any) -> asyncpg.Record | None:
            row = await last(self, statement, **values)
            monkeypatch.setattr(_RequestTransaction, "last", last)
            await self.all(Statement("die", "SELECT pg_terminate_backend(pg_backend_pid())"))
            return row

        monkeypatch.setattr(_RequestTransaction, "last", last_and_die)
        assert (await write.send(alice, expect=503)).headers["Retry-After"] == "1"
        assert await digests(database) == before
        assert "Idempotency-Replayed" not in (await write.send(alice)).headers

    @pytest.mark.parametrize("kind", ["task", "task change", "task deletion", "move"])
    async def test_one_lost_after_commit_is_replayed(
        self, alice: Person, bob: Person, kind: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = await make_write(kind, alice, bob)
        name = "transaction" if kind == "move" else "one"
        commit: Any = getattr(Writes, name)

        async def one_and_fail(self: Writes, statement: Statement, **values: Any) -> Any:
            await commit(self, statement, **values)
            monkeypatch.setattr(Writes, name, commit)
            raise ConnectionResetError("nobody knows")

        @asynccontextmanager
        async def commit_and_fail(self: Writes, *, long: bool = False) -> AsyncIterator[Any]:
            async with commit(self, long=long) as run:
                yield run
            monkeypatch.setattr(Writes, name, commit)
            raise ConnectionResetError("nobody knows")

        monkeypatch.setattr(Writes, name, commit_and_fail if kind == "move" else one_and_fail)
        await write.send(alice, expect=503)
        before = await digests(database)
        assert (await write.send(alice)).headers["Idempotency-Replayed"] == "true"
        assert await digests(database) == before

    async def test_a_key_costs_no_message_before_it_is_used_again(
        self, alice: Person, query_recorder: list[str]
    ) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await write.send(alice)
        (done,) = query_recorder
        assert "FROM sessions" in done
        assert "INSERT INTO tasks" in done
        query_recorder.clear()
        await write.send(alice)
        refused, look_up = query_recorder
        assert "INSERT INTO tasks" in refused
        assert "FROM idempotency_keys" in look_up

    @pytest.mark.parametrize("kind", KINDS)
    async def test_no_write_is_more_than_seven_messages(
        self, alice: Person, bob: Person, kind: str, query_recorder: list[str]
    ) -> None:
        several = {"move": 4, "role": 2, "removal": 2, "leaving": 2, "bulk change": 2, "bulk deletion": 2}
        several |= {"place": 2, "place of section": 3, "section": 2, "section deletion": 2}
        expected = {**several, "project deletion": 2}.get(kind, 1)
        # A long one looks for an answer before it waits for its connection.
        looked_up = kind in {"project deletion", "section deletion"}
        for key in ("a-key", None):
            write = await make_write(kind, alice, bob)
            query_recorder.clear()
            await write.send(alice, key)
            # BEGIN and COMMIT are not recorded.
            assert len(query_recorder) == expected + (looked_up and key is not None)

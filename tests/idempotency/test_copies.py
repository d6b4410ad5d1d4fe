"""Copies of a request with a key that arrive while it runs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from taskmanager.accounts import request_writes
from taskmanager.accounts.request_writes import RequestWrites
from taskmanager.database.database import Database
from taskmanager.idempotency import kept_answers
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import Person
from tests.support.applications import started
from tests.support.event_log import count_rows
from tests.support.keyed_writes import KINDS, KeyedWrite, make_write
from tests.support.locks import until_blocked
from tests.support.problem_answers import kind_of
from tests.support.rows import digests, fetch_all
from tests.support.sessions import open_transaction
from tests.support.storms import backends_killed, effects_missing_or_repeated, send_copies

# So that a busy machine does not make a storm a test of time-outs.
PATIENCE = {
    "database_connect_timeout_seconds": 20.0,
    "database_pool_wait_seconds": 5.0,
    "database_statement_timeout_ms": 20_000,
    "database_command_timeout_seconds": 25.0,
}


class TestRunning:
    """The same request while the first is still at work."""

    async def test_is_409_at_once_and_replayed_afterwards(self, alice: Person, bob: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        async with open_transaction(database) as session:
            # A new task waits for its project's row.
            await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": alice.inbox_id})
            first = asyncio.create_task(write.send(alice))
            await until_blocked(database)
            refused = await write.send(alice, expect=409)
            assert (kind_of(refused), refused.headers["Retry-After"]) == ("idempotency-key-in-use", "1")
            assert (await replace(write, body={"title": "Other"}).send(alice, expect=409)).status_code == 409
            # Nobody else has to wait for it.
            await write.send(bob)
            await KeyedWrite("/projects", {"name": "Once"}).send(alice)
        created = await first
        again = await write.send(alice)
        assert (again.content, again.headers["Idempotency-Replayed"]) == (created.content, "true")

    async def test_is_409_for_every_kind(self, alice: Person, write: KeyedWrite, database: Database) -> None:
        async with open_transaction(database) as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": write.lock_id(alice)})
            before = await digests(database)
            assert kind_of(await write.send(alice, expect=409)) == "idempotency-key-in-use"
            assert await digests(database) == before
        await write.send(alice)

    async def test_one_that_was_faster_is_replayed(
        self, alice: Person, write: KeyedWrite, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before: dict[str, str] = {}
        faster: list[httpx.Response] = []

        def overtaken(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def be_overtaken_and_call(*arguments: Any, **options: Any) -> Any:
                if not faster and not before:
                    before["overtaken"] = ""
                    faster.append(await write.send(alice))
                    before.clear()
                    before.update(await digests(database))
                return await call(*arguments, **options)

            return be_overtaken_and_call

        # The first is called by a deletion that takes long, before it waits for its connection.
        monkeypatch.setattr(request_writes, "refuse_answered", overtaken(kept_answers.refuse_answered))
        monkeypatch.setattr(RequestWrites, "run", overtaken(RequestWrites.run))
        again = await write.send(alice)
        assert "Idempotency-Replayed" not in faster[0].headers
        assert (again.content, again.headers["Idempotency-Replayed"]) == (faster[0].content, "true")
        assert await digests(database) == before

    @pytest.mark.parametrize(("path", "body"), [("/projects", {"name": "Once"}), ("/tasks", {"title": "Once"})])
    async def test_one_that_commits_behind_the_snapshot_undoes_the_effect_and_is_replayed(
        self, alice: Person, database: Database, path: str, body: dict[str, str]
    ) -> None:
        write = KeyedWrite(path, body)
        faster = await write.send(alice, "other-key")
        async with open_transaction(database) as session:
            await session.execute(
                text("""
                INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, headers, body)
                SELECT user_id, method, path, 'a-key', fingerprint, status, headers, body
                FROM idempotency_keys WHERE key = 'other-key'
                """)
            )
            before = await digests(database)
            sending = asyncio.create_task(write.send(alice))
            await until_blocked(database)
            await session.commit()
        again = await sending
        assert (again.content, again.headers["Idempotency-Replayed"]) == (faster.content, "true")
        after = await digests(database)
        assert {name for name in before if before[name] != after[name]} == {"idempotency_keys"}

    async def test_copies_of_an_answered_one_do_not_get_in_each_others_way(
        self, alice: Person, database: Database
    ) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        created = await write.send(alice)
        async with open_transaction(database) as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": write.lock_id(alice)})
            assert (await write.send(alice)).content == created.content
        answers = await asyncio.gather(*(write.send(alice) for _ in range(20)))
        assert {answer.content for answer in answers} == {created.content}

    async def test_of_fifty_at_once_one_is_executed(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        answers = await asyncio.gather(*(write.send(alice, expect=None) for _ in range(50)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        executed = [a for a in answers if a.status_code == 201 and "Idempotency-Replayed" not in a.headers]
        assert len(executed) == await count_rows(database, "tasks") == 1


class TestStorm:
    """Parallel copies of many requests; the large one is under tests/long."""

    async def test_20_keys_with_50_copies_have_one_effect_each(
        self, alice: Person, database: Database, settings: Settings
    ) -> None:
        async with started(create_app(settings.model_copy(update=PATIENCE))) as client:
            client.headers.update(alice.client.headers)
            report = await send_copies(replace(alice, client=client), keys=20, copies=50)
        print(report)
        assert report.differing == await effects_missing_or_repeated(database, keys=20) == []
        assert report.statuses.keys() <= {201, 409}
        assert (report.executed, report.replayed) == (20, 20 * 49)

    async def test_20_keys_of_all_kinds_with_20_copies_have_one_effect_each(
        self, alice: Person, bob: Person, database: Database, settings: Settings
    ) -> None:
        kinds = (KINDS * 2)[: max(20, len(KINDS))]
        writes = [await make_write(kind, alice, bob) for kind in kinds]
        before = await self._effects(database)
        for number, write in enumerate(writes):
            await write.send(alice, f"alone-{number}")
        alone = await self._effects(database) - before
        writes = [await make_write(kind, alice, bob) for kind in kinds]
        before = await self._effects(database)
        async with started(create_app(settings.model_copy(update=PATIENCE))) as client:
            client.headers.update(alice.client.headers)
            patient = replace(alice, client=client)
            answers = await asyncio.gather(
                *(self._until_answered(write, patient, f"{n}") for n, write in enumerate(writes) for _ in range(20))
            )
        for number, write in enumerate(writes):
            copies = answers[number * 20 : number * 20 + 20]
            assert {answer.status_code for answer in copies} == {write.status}, kinds[number]
            assert len({answer.content for answer in copies}) == 1, kinds[number]
            assert [answer.headers.get("Idempotency-Replayed") for answer in copies].count(None) == 1, kinds[number]
        assert await self._effects(database) - before == alone

    @staticmethod
    async def _until_answered(write: KeyedWrite, person: Person, key: str) -> httpx.Response:
        while (answer := await write.send(person, key, None)).status_code == 409:
            assert kind_of(answer) == "idempotency-key-in-use"
            await asyncio.sleep(0.01)
        return answer

    @staticmethod
    async def _effects(database: Database) -> Counter[tuple[str, str]]:
        rows = await fetch_all(database, "SELECT entity, action, count(*) AS n FROM events GROUP BY entity, action")
        found = Counter({(row["entity"], row["action"]): row["n"] for row in rows})
        found["keys", "stored"] = await count_rows(database, "idempotency_keys")
        return found

    async def test_also_while_backends_are_killed(self, alice: Person, database: Database, database_url: str) -> None:
        async with backends_killed(database_url, every_seconds=0.05, at_once=1) as killings:
            report = await send_copies(alice, keys=5, copies=50)
        print(report, killings)
        assert killings.count > 0
        assert report.differing == await effects_missing_or_repeated(database, keys=5) == []
        assert report.statuses.keys() <= {201, 409, 503}

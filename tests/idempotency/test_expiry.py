"""Keys are kept for 24 hours."""

import asyncio

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.idempotency import kept_answers
from tests.conftest import Person
from tests.support.event_log import count_rows
from tests.support.jobs import run_job
from tests.support.keyed_writes import KeyedWrite, keys_of, make_write
from tests.support.rows import execute


class TestExpiry:
    """Keys are kept for 24 hours."""

    async def _age(self, database: Database, interval: str) -> None:
        await execute(
            database, "UPDATE idempotency_keys SET created_at = now() - CAST(:age AS text)::interval", age=interval
        )

    async def test_until_then_it_is_replayed(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await write.send(alice)
        await self._age(database, "23 hours 59 minutes")
        assert (await write.send(alice)).headers["Idempotency-Replayed"] == "true"

    async def test_afterwards_it_is_executed_and_stored_again(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        first = await write.send(alice)
        await self._age(database, "24 hours 1 second")
        second = await write.send(alice)
        assert "Idempotency-Replayed" not in second.headers
        assert second.json()["id"] != first.json()["id"]
        third = await write.send(alice)
        assert (third.json(), third.headers["Idempotency-Replayed"]) == (second.json(), "true")
        assert await count_rows(database, "tasks") == 2
        assert await keys_of(database) == ["a-key"]

    @pytest.mark.parametrize("kind", ["task", "task change", "role", "all notifications"])
    async def test_afterwards_one_of_many_copies_is_executed_and_stored_again(
        self, alice: Person, bob: Person, kind: str, database: Database
    ) -> None:
        write = await make_write(kind, alice, bob)
        await write.send(alice)
        await self._age(database, "24 hours 1 second")
        answers = await asyncio.gather(*(write.send(alice, expect=None) for _ in range(20)))
        assert {answer.status_code for answer in answers} <= {write.status, 409}
        done = [answer for answer in answers if answer.status_code == write.status]
        assert [answer.headers.get("Idempotency-Replayed") for answer in done].count(None) == 1
        assert len({answer.content for answer in done}) == 1
        assert await keys_of(database) == ["a-key"]
        assert (await write.send(alice)).headers["Idempotency-Replayed"] == "true"

    async def test_afterwards_what_is_deleted_is_not_found(self, alice: Person, database: Database) -> None:
        write = KeyedWrite(f"/tasks/{(await alice.new_task())['id']}", status=204, method="DELETE")
        await write.send(alice)
        await self._age(database, "24 hours 1 second")
        await write.send(alice, expect=404)

    async def test_afterwards_another_body_is_fine(self, alice: Person, database: Database) -> None:
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        await self._age(database, "24 hours 1 second")
        other = KeyedWrite("/tasks", {"title": "Other"})
        created = await other.send(alice)
        assert (await other.send(alice)).content == created.content

    async def test_expired_ones_are_purged(self, alice: Person, database: Database, app: FastAPI) -> None:
        for number in range(12):
            await KeyedWrite("/projects", {"name": "Old"}).send(alice, f"old-{number}")
        await self._age(database, "24 hours 1 second")
        await KeyedWrite("/projects", {"name": "Young"}).send(alice, "young")
        await run_job(kept_answers.PURGE, app)
        assert await keys_of(database) == ["young"]

    async def test_an_expired_key_that_is_purged_meanwhile_is_no_trouble(
        self, alice: Person, bob: Person, database: Database, app: FastAPI
    ) -> None:
        writes = {name: KeyedWrite("/projects", {"name": name}) for name in ("a", "b", "c", "d")}
        for _ in range(5):
            sent = [write.send(person, name) for name, write in writes.items() for person in (alice, bob)]
            await asyncio.gather(*sent, run_job(kept_answers.PURGE, app))
            await self._age(database, "24 hours 1 second")

"""A transaction that loses against others is run again, as a whole, and its client does not notice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import make_url, text

from taskmanager.accounts.dependencies import AppWrites, TasksWriter, Writing
from taskmanager.database.database import Database
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import Runner, WriteRunner, Written
from taskmanager.field_types import RequestModel, ResponseModel
from taskmanager.http.answers import JsonAnswer, answer_write
from taskmanager.http.dependencies import AppReads
from taskmanager.http.routing import StrictRoute
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import Person, SignUp, client_for, make_settings
from tests.support.applications import started
from tests.support.event_log import count_rows
from tests.support.invariants import violations
from tests.support.locks import until_blocked
from tests.support.server import connect
from tests.support.sessions import open_transaction
from tests.support.storms import ConflictStorm

Connection: TypeAlias = "asyncpg.Connection[Any]"
Lose: TypeAlias = "Callable[[Runner, Connection], Coroutine[Any, Any, None]]"
_LOSE = Statement("lose", "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$")
_STORE = Write(
    "store note",
    "noted AS (INSERT INTO notes SELECT :text WHERE :user_id IS NOT NULL RETURNING text)",
    """
SELECT true AS done, CAST(NULL AS bigint) AS id, CAST(NULL AS bigint) AS project_id, CAST(NULL AS integer) AS version,
       convert_to(CAST(json_build_object('text', text) AS text), 'UTF8') AS body
FROM noted
""",
    {"text": "text"},
)
OPERATIONS = 1_500
WRITERS = 32


class Note(RequestModel):
    """What is sent."""

    text: str


class Stored(ResponseModel):
    """What is answered."""

    text: str


async def _do(run: Runner, sql: str) -> None:
    await run.one(Statement("fight", sql))


async def _lose_deadlock(run: Runner, other: Connection) -> None:
    # Who waits first looks for a deadlock first, and gives way.
    await other.execute("BEGIN")
    await other.execute("SELECT pg_advisory_xact_lock(1)")
    await _do(run, "SELECT pg_advisory_xact_lock(2)")
    waiting = asyncio.ensure_future(_do(run, "SELECT pg_advisory_xact_lock(1)"))
    await asyncio.sleep(0.1)
    crossing = asyncio.ensure_future(other.execute("SELECT pg_advisory_xact_lock(2)"))
    try:
        await waiting
    finally:
        await crossing
        await other.execute("COMMIT")


async def _lose_update(run: Runner, other: Connection) -> None:
    await _do(run, "SELECT n FROM fight")
    await other.execute("UPDATE fight SET n = n + 1")
    await _do(run, "UPDATE fight SET n = n + 1")


async def _lose_at_commit(run: Runner, other: Connection) -> None:
    await _do(run, "SELECT sum(n) FROM fight")
    await _do(run, "INSERT INTO fight VALUES (1)")
    await other.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    await other.execute("SELECT sum(n) FROM fight")
    await other.execute("INSERT INTO fight VALUES (1)")
    await other.execute("COMMIT")


# What to do, under which isolation.
LOSSES: dict[str, tuple[str, Lose]] = {
    "40P01": ("READ COMMITTED", _lose_deadlock),
    "40001": ("REPEATABLE READ", _lose_update),
    "40001 at commit": ("SERIALIZABLE", _lose_at_commit),
}


@dataclass
class Fight:
    """A route whose first transactions lose against another connection."""

    app: FastAPI
    other: Connection
    kind: str = "40001"
    losses: int = 0
    texts: list[str] = field(default_factory=list)

    async def store(self, note: Note, writes: AppWrites) -> Stored:
        """Store a text, in a transaction that loses so many times."""
        await self._store(note, writes, user_id=1)
        return Stored(text=note.text)

    async def store_once(self, caller: TasksWriter, note: Note, write: Writing) -> JsonAnswer:
        """Store a text whose answer may be given again."""
        return await answer_write(write, self._store(note, write, user_id=caller.user_id), status=201)

    async def read(self, reads: AppReads) -> Stored:
        """Fail like a lost transaction."""
        self.texts.append("read")
        await reads.one(_LOSE)
        return Stored(text="read")

    async def _store(self, note: Note, writes: WriteRunner, *, user_id: int) -> Written:
        isolation, lose = LOSSES[self.kind]
        async with writes.transaction() as run:
            self.texts.append(note.text)
            if len(self.texts) <= self.losses and isolation != "READ COMMITTED":
                await _do(run, f"SET TRANSACTION ISOLATION LEVEL {isolation}")
            row = await run.last(_STORE, text=note.text, user_id=user_id)
            if len(self.texts) <= self.losses:
                await lose(run, self.other)
        assert row is not None
        return Written(None, None, row["body"])


@pytest.fixture
async def fight(database_url: str, database: Database) -> AsyncIterator[Fight]:
    """An application with those routes, and the tables that they write to."""
    other = await connect(make_url(database_url))
    await other.execute("CREATE TABLE notes (text text); CREATE TABLE fight (n integer); INSERT INTO fight VALUES (0)")
    app = create_app(make_settings(database_url=database_url, rate_limit_user_per_minute=100))
    fight = Fight(app, other)
    router = APIRouter(route_class=StrictRoute)
    router.add_api_route("/notes", fight.store, methods=["POST"], status_code=201)
    router.add_api_route("/notes/once", fight.store_once, methods=["POST"], status_code=201)
    router.add_api_route("/notes", fight.read, methods=["GET"])
    app.include_router(router)
    yield fight
    await other.execute("DROP TABLE notes, fight")
    await other.close()


@pytest.fixture
async def fighter(fight: Fight, alice: Person) -> AsyncIterator[httpx.AsyncClient]:
    """Alice's client of it."""
    async with started(fight.app) as client:
        client.headers["Authorization"] = f"Bearer {alice.token}"
        yield client


class TestRetry:
    """A deadlock or a serialisation failure."""

    @pytest.mark.parametrize(("kind", "losses"), [("40P01", 1), ("40001", 1), ("40001", 2), ("40001 at commit", 2)])
    async def test_the_next_try_succeeds_with_the_same_body_and_nothing_is_done_twice(
        self, fight: Fight, fighter: httpx.AsyncClient, database: Database, kind: str, losses: int
    ) -> None:
        fight.kind, fight.losses = kind, losses
        answer = await fighter.post("/notes", json={"text": "Hello"})
        assert (answer.status_code, answer.json()) == (201, {"text": "Hello"})
        assert fight.texts == ["Hello"] * (losses + 1)
        assert await count_rows(database, "notes") == 1

    async def test_all_tries_count_as_one_request(self, fight: Fight, fighter: httpx.AsyncClient) -> None:
        fight.losses = 2
        answer = await fighter.post("/notes/once", json={"text": "Hello"})
        assert fight.texts == ["Hello"] * 3
        assert answer.headers["RateLimit"].startswith('"default";r=99;t=')

    @pytest.mark.parametrize("kind", LOSSES)
    async def test_after_three_tries_it_is_503_and_nothing_is_done(
        self, fight: Fight, fighter: httpx.AsyncClient, database: Database, kind: str
    ) -> None:
        fight.kind, fight.losses = kind, 100
        answer = await fighter.post("/notes", json={"text": "Hello"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert fight.texts == ["Hello"] * 3
        assert await count_rows(database, "notes") == 0

    async def test_a_body_that_came_in_pieces_is_read_again(
        self, fight: Fight, fighter: httpx.AsyncClient, database: Database
    ) -> None:
        fight.losses = 2
        long = "x" * 200_000

        async def pieces() -> AsyncIterator[bytes]:
            whole = f'{{"text": "{long}"}}'.encode()
            for start in range(0, len(whole), 10_000):
                yield whole[start : start + 10_000]

        headers = {"Content-Type": "application/json"}
        answer = await fighter.post("/notes", content=pieces(), headers=headers)
        assert (answer.status_code, answer.json()["text"] == long) == (201, True)
        assert [len(text) for text in fight.texts] == [len(long)] * 3
        assert await count_rows(database, "notes") == 1

    async def test_with_a_key_the_answer_is_stored_once(
        self, fight: Fight, fighter: httpx.AsyncClient, database: Database
    ) -> None:
        fight.losses = 2
        fight.kind = "40P01"
        headers = {"Idempotency-Key": "a-key"}
        first = await fighter.post("/notes/once", json={"text": "Hello"}, headers=headers)
        assert (first.status_code, "Idempotency-Replayed" in first.headers) == (201, False)
        again = await fighter.post("/notes/once", json={"text": "Hello"}, headers=headers)
        assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
        # The first write of the last one finds the answer.
        assert len(fight.texts) == 4
        assert await count_rows(database, "notes") == await count_rows(database, "idempotency_keys") == 1

    async def test_a_read_is_tried_again_too(self, fight: Fight, fighter: httpx.AsyncClient) -> None:
        assert (await fighter.get("/notes")).status_code == 503
        assert fight.texts == ["read"] * 3

    async def test_other_failures_are_not_tried_again(
        self, fight: Fight, fighter: httpx.AsyncClient, database: Database
    ) -> None:
        await fight.other.execute("CREATE UNIQUE INDEX ON notes (text)")
        for status in (201, 500):
            assert (await fighter.post("/notes", json={"text": "Hello"})).status_code == status
        assert fight.texts == ["Hello"] * 2
        async with open_transaction(database) as session:
            await session.execute(text("LOCK TABLE notes"))
            writing = asyncio.create_task(fighter.post("/notes", json={"text": "Late"}))
            await until_blocked(database)
            assert (await writing).status_code == 503
        assert fight.texts == ["Hello", "Hello", "Late"]

    async def test_the_answer_has_one_request_id(self, fight: Fight, fighter: httpx.AsyncClient) -> None:
        fight.losses = 1
        answer = await fighter.post("/notes", json={"text": "Hello"}, headers={"X-Request-ID": "mine"})
        assert answer.headers.get_list("X-Request-ID") == ["mine"]


async def test_32_writers_who_get_in_each_others_way_see_no_failure_and_break_no_rule(
    sign_up: SignUp, database: Database, settings: Settings
) -> None:
    # Patient, so that a busy machine does not make it a test of time-outs.
    patience = {
        "database_connect_timeout_seconds": 20.0,
        "database_pool_wait_seconds": 5.0,
        "database_lock_timeout_ms": 20_000,
        "database_statement_timeout_ms": 20_000,
        "database_command_timeout_seconds": 25.0,
        "database_pool_size": WRITERS,
    }
    app = create_app(settings.model_copy(update=patience))
    async with started(app):
        people = [await sign_up(f"person_{number}") for number in range(8)]
        patient = [replace(person, client=client_for(app, headers=person.client.headers)) for person in people]
        storm = ConflictStorm(patient)
        await storm.prepare(projects=3)
        report = await storm.run(writers=WRITERS, operations=OPERATIONS)
    assert report.failures == []
    assert await violations(database) == {}
    # It is only worth something if most of it was really done.
    done = sum(count for status, count in report.statuses.items() if status < 300)
    assert done > OPERATIONS / 4, report

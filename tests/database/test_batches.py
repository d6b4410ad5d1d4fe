"""Batches: concurrent requests with the same write, sent in one message and committed together."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database import write_kinds
from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.statements import Arguments, Statement, Write
from taskmanager.database.writes import Writes
from taskmanager.errors import DatabaseUnavailableError
from tests.conftest import Person, make_settings
from tests.support.locks import until_blocked
from tests.support.project_writes import names
from tests.support.rows import execute, fetch_one
from tests.support.sessions import open_session, open_transaction

INSERT = Write(
    "insert",
    "new AS (INSERT INTO projects (name) SELECT :name WHERE :name <> 'nothing' RETURNING id, name)",
    "SELECT id, name, 60 / (length(name) - 7) AS quotient, pg_current_xact_id() AS xid FROM new",
    {"name": "text"},
)
RENAME = Write(
    "rename",
    """
renamed AS (
    UPDATE projects SET name = name || :more, version = version + 1 WHERE id = :project_id RETURNING name, version
)""",
    "SELECT name, version, pg_backend_pid() AS pid FROM renamed",
    {"more": "text"},
)
# By a parameter that is not known to name a row.
RENAME_ANYWHERE = Write(
    "rename anywhere", RENAME.steps.replace(":project_id", ":which"), RENAME.answer, {"more": "text", "which": "bigint"}
)
SLOW = Write(
    "insert slowly",
    "new AS (INSERT INTO projects (name) VALUES (:name) RETURNING id)",
    "SELECT id, pg_sleep(0.2) FROM new",
    {"name": "text"},
)
_END_SLEEPING = """
    SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE '%pg_sleep(0.2)%' AND pid <> pg_backend_pid()
"""


@asynccontextmanager
async def opened(database_url: str, **settings: Any) -> AsyncIterator[Writes]:
    """Yield writes that go together."""
    database = Database(make_settings(database_url=database_url, **settings))
    writes = Writes(database, SharedConnections(database))
    yield writes
    await writes.close()
    await database.dispose()


@pytest.fixture
async def batching(database_url: str, database: Database) -> AsyncIterator[Writes]:
    """Writes that go together, patient, so that a busy machine does not make a test one of time-outs."""
    patience = {"database_statement_timeout_ms": 20_000, "database_command_timeout_seconds": 25.0}
    async with opened(database_url, **patience) as writes:
        yield writes


async def together(writes: Writes, write: Write, requests: Sequence[dict[str, Any]]) -> list[Any]:
    """Send the requests at the same time and return their rows, or what they raise, in their order."""
    sent = (writes.one(write, **request) for request in requests)
    return list(await asyncio.gather(*sent, return_exceptions=True))


def named(*names: str) -> list[dict[str, Any]]:
    """Return a request for each name."""
    return [{"name": name} for name in names]


class TestResults:
    """Each request gets what it would get alone."""

    async def test_each_gets_its_own_in_few_transactions(self, batching: Writes, database: Database) -> None:
        rows = await together(batching, INSERT, named(*(f"n{number}" for number in range(30))))
        assert [row["name"] for row in rows] == [f"n{number}" for number in range(30)]
        assert len({row["id"] for row in rows}) == 30
        # The first alone.
        assert len({row["xid"] for row in rows}) == 2
        assert sorted(await names(database)) == sorted(row["name"] for row in rows)

    async def test_one_that_does_nothing_has_no_row(self, batching: Writes, database: Database) -> None:
        rows = await together(batching, INSERT, named("a", "nothing", "b", "nothing", "c"))
        assert [row and row["name"] for row in rows] == ["a", None, "b", None, "c"]
        assert sorted(await names(database)) == ["a", "b", "c"]

    async def test_changes_of_one_row_build_on_each_other(self, batching: Writes, database: Database) -> None:
        row: Any = await batching.one(INSERT, name="n")
        letters = [chr(ord("a") + number) for number in range(20)]
        rows = await together(batching, RENAME, [{"project_id": row["id"], "more": letter} for letter in letters])
        assert sorted(row["version"] for row in rows) == list(range(2, 22))
        assert sorted(map(len, (row["name"] for row in rows))) == list(range(2, 22))
        assert await names(database) == [max((row["name"] for row in rows), key=len)]

    async def test_rows_are_changed_in_the_order_of_their_ids(
        self, batching: Writes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = [row["id"] for row in await together(batching, INSERT, named(*"abcdef"))]
        sent: list[int] = []
        fetch_each = SharedConnection.fetch_each

        async def note_and_fetch(
            connection: SharedConnection, sql: str, requests: Sequence[Arguments]
        ) -> Sequence[asyncpg.Record]:
            sent.extend(request[RENAME.one_row.names.index("project_id")] for request in requests)
            return await fetch_each(connection, sql, requests)

        monkeypatch.setattr(SharedConnection, "fetch_each", note_and_fetch)
        asked = [ids[0], ids[4], ids[2], ids[5], ids[2], ids[1]]
        rows = await together(batching, RENAME, [{"project_id": row_id, "more": str(row_id)} for row_id in asked])
        assert sent == sorted(asked[1:])
        assert [row["name"].endswith(str(row_id)) for row, row_id in zip(rows, asked, strict=True)] == [True] * 6

    async def test_a_lone_request_needs_no_connection_for_batches(self, batching: Writes) -> None:
        for _ in range(3):
            assert await batching.one(INSERT, name="n") is not None
        assert batching.batches.kinds[0].statements == 0

    async def test_all_are_counted(self, batching: Writes) -> None:
        told: list[None] = []
        batching.on_commit.append(lambda: told.append(None))
        await together(batching, INSERT, named(*"abcdef"))
        assert (batching.rows, len(told)) == (6, 6)

    def test_a_statement_that_may_give_no_row_is_refused(self, database: Database) -> None:
        with pytest.raises(AssertionError):
            write_kinds.Batches(Statement("none", "SELECT 1"), SharedConnections(database), lambda: None)


class TestFaults:
    """What is wrong with one request affects that request alone."""

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            ("refused", asyncpg.DivisionByZeroError),
            ("", asyncpg.CheckViolationError),
            ("a\0b", asyncpg.CharacterNotInRepertoireError),
        ],
    )
    async def test_one_that_is_refused_is_alone(
        self, batching: Writes, database: Database, bad: str, error: type[Exception]
    ) -> None:
        rows = await together(batching, INSERT, named("a", "b", bad, "c", "d"))
        assert isinstance(rows[2], error)
        good = [row["name"] for row in rows if not isinstance(row, BaseException)]
        assert good == ["a", "b", "c", "d"] == sorted(await names(database))

    async def test_after_a_refusal_others_run_alone_for_a_moment(
        self, batching: Writes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def transactions() -> int:
            rows = await together(batching, INSERT, named(*"abcdef"))
            return len({row["xid"] for row in rows})

        now = 1.0
        monkeypatch.setattr(write_kinds, "time", SimpleNamespace(monotonic=lambda: now))
        assert await transactions() <= 2
        await together(batching, INSERT, named("a", "b", "refused"))
        now += 0.9 * write_kinds._REST_SECONDS
        assert await transactions() == 6
        now += 0.2 * write_kinds._REST_SECONDS
        assert await transactions() <= 2

    async def test_a_lock_that_one_waits_for_does_not_hold_the_others(
        self, batching: Writes, database: Database
    ) -> None:
        ids = [row["id"] for row in await together(batching, INSERT, named(*"abcde"))]
        async with open_transaction(database) as session:
            await session.execute(text("UPDATE projects SET name = 'x' WHERE id = :id"), {"id": ids[2]})
            waiting = [asyncio.create_task(batching.one(RENAME, project_id=project_id, more="!")) for project_id in ids]
            done, pending = await asyncio.wait(waiting, timeout=0.5)
            assert pending == {waiting[2]}
            assert {row["version"] for task in done if (row := task.result())} == {2}
            await session.commit()
        last: Any = await waiting[2]
        assert (last["name"], last["version"]) == ("x!", 2)

    @pytest.mark.parametrize(("write", "name"), [(RENAME, "project_id"), (RENAME_ANYWHERE, "which")])
    async def test_two_that_want_the_same_rows_both_have_their_effect(
        self, batching: Writes, database_url: str, database: Database, write: Write, name: str
    ) -> None:
        ids = [row["id"] for row in await together(batching, INSERT, named(*"abcdefgh"))]
        async with opened(database_url) as other:
            for _ in range(5):
                changes = [{name: row_id, "more": "!"} for row_id in ids]
                # PostgreSQL looks for deadlocks after a second.
                async with asyncio.timeout(0.9):
                    rows = await asyncio.gather(
                        together(batching, write, changes), together(other, write, changes[::-1])
                    )
                assert not [row for row in rows[0] + rows[1] if isinstance(row, BaseException)]
                await asyncio.sleep(write_kinds._REST_SECONDS)
        assert {*await names(database)} == {f"{letter}{'!' * 10}" for letter in "abcdefgh"}

    async def test_one_that_takes_long_runs_alone(self, database_url: str, database: Database) -> None:
        sleeping = Write(
            "insert slowly",
            "new AS (INSERT INTO projects (name) VALUES (:name) RETURNING name)",
            "SELECT name, pg_sleep(:seconds) FROM new",
            {"name": "text", "seconds": "float8"},
        )
        # Together longer than the client waits for one statement.
        seconds = [0.05, 0.05, 1.4, *[0.05] * 25]
        async with opened(database_url, database_pool_size=len(seconds)) as writes:
            requests = [{"name": f"n{n}", "seconds": one} for n, one in enumerate(seconds)]
            rows = await together(writes, sleeping, requests)
        assert [row["name"] for row in rows] == [f"n{n}" for n in range(28)]
        assert len(await names(database)) == 28

    @pytest.mark.parametrize("place", [1, 3, 5])
    async def test_an_argument_that_cannot_be_sent_is_refused_alone(
        self, batching: Writes, database: Database, place: int
    ) -> None:
        requests: list[dict[str, Any]] = named(*"abcdef")
        requests[place] = {"name": 7}
        rows = await together(batching, INSERT, requests)
        assert [isinstance(row, asyncpg.DataError) for row in rows] == [n == place for n in range(6)]
        assert len(await names(database)) == 5

    async def test_a_fault_of_one_that_is_no_constraint_is_refused_alone(self, batching: Writes) -> None:
        several = Write(
            "several",
            "one AS (SELECT 1)",
            "SELECT (SELECT n FROM generate_series(1, :most) AS n) AS n",
            {"most": "integer"},
        )
        rows = await together(batching, several, [{"most": most} for most in (1, 1, 2, 1)])
        assert [isinstance(row, asyncpg.CardinalityViolationError) for row in rows] == [False, False, True, False]

    async def test_those_that_wait_behind_a_refusal_run_alone_too(
        self, batching: Writes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(write_kinds, "MOST_IN_BATCH", 4)
        rows = await together(batching, INSERT, named("a", "refused", *"bcdefghijkl"))
        good = [row for row in rows if not isinstance(row, BaseException)]
        assert len(good) == len({row["xid"] for row in good}) == 12

    async def test_one_that_is_cancelled_disturbs_no_other(self, batching: Writes, database: Database) -> None:
        sent = [asyncio.create_task(batching.one(SLOW, name=name)) for name in "abcd"]
        await asyncio.sleep(0.3)  # the first alone, the others now under way
        sent[2].cancel()
        rows = await asyncio.gather(*sent, return_exceptions=True)
        assert [isinstance(row, BaseException) for row in rows] == [False, False, True, False]
        assert sorted(await names(database)) == ["a", "b", "c", "d"]

    async def test_one_whose_connection_is_lost_is_not_repeated(self, batching: Writes, database: Database) -> None:
        sent = [asyncio.create_task(batching.one(SLOW, name=name)) for name in "abcd"]
        await sent[0]
        await asyncio.sleep(0.1)
        async with open_session(database) as session:
            await session.execute(text(_END_SLEEPING))
        lost = await asyncio.gather(*sent[1:], return_exceptions=True)
        assert [type(error) for error in lost] == [DatabaseUnavailableError] * 3
        assert await names(database) == ["a"]
        # The next ones get another connection.
        rows = await together(batching, INSERT, named("e", "f", "g"))
        assert [row["name"] for row in rows] == ["e", "f", "g"]

    async def test_without_room_for_their_connections_each_runs_alone(
        self, batching: Writes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: object) -> SharedConnection:
            raise asyncpg.TooManyConnectionsError("too many connections")

        monkeypatch.setattr(batching.batches, "_connect", refuse)
        rows = await together(batching, INSERT, named(*"abcdef"))
        assert [row["name"] for row in rows] == [*"abcdef"]

    async def test_no_other_takes_a_connection_that_is_in_a_failed_transaction(
        self, batching: Writes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(write_kinds, "_REST_SECONDS", 0.0)
        for _ in range(3):
            rows = await together(batching, INSERT, named("a", "b", "refused", "c"))
            assert [isinstance(row, BaseException) for row in rows] == [False, False, True, False]


class TestRequests:
    """Requests of the API that are sent at the same time."""

    async def _together(
        self, client: httpx.AsyncClient, method: str, path: str, requests: Sequence[dict[str, Any]]
    ) -> list[httpx.Response]:
        return await asyncio.gather(*(client.request(method, f"/api/v1{path}", **request) for request in requests))

    async def test_whose_login_has_ended_is_refused_alone(
        self, app: FastAPI, alice: Person, bob: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        project_id = await alice.new_project()
        await execute(database, "UPDATE sessions SET revoked_at = now() WHERE user_id = :id", id=bob.id)
        people = [alice, alice, bob, alice, bob, alice]
        answers = await self._together(
            client,
            "PATCH",
            f"/projects/{project_id}",
            [
                {"json": {"name": f"n{number}"}, "headers": {"Authorization": f"Bearer {person.token}"}}
                for number, person in enumerate(people)
            ],
        )
        assert [answer.status_code for answer in answers] == [401 if one is bob else 200 for one in people]
        assert sorted(answer.json()["version"] for answer in answers if answer.status_code == 200) == [2, 3, 4, 5]
        kinds = [kind for kind in app.state.writes.batches.kinds if kind.requests]
        assert kinds

    async def test_copies_of_one_request_have_one_effect(self, alice: Person, database: Database) -> None:
        headers = {"Idempotency-Key": "once", "Authorization": f"Bearer {alice.token}"}
        answers = await self._together(
            alice.client, "POST", "/projects", [{"json": {"name": "Once"}, "headers": headers}] * 12
        )
        assert {answer.status_code for answer in answers} <= {201, 409}
        made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
        assert len(set(made)) == 1
        found = await fetch_one(database, "SELECT count(*) FROM projects WHERE name = 'Once'")
        assert found["count"] == 1

    async def test_an_answer_that_is_stored_behind_the_snapshot_undoes_one_of_many(
        self, alice: Person, database: Database
    ) -> None:
        def request(key: str) -> dict[str, Any]:
            headers = {"Idempotency-Key": key, "Authorization": f"Bearer {alice.token}"}
            return {"json": {"name": "Once"}, "headers": headers}

        path = "/projects"
        (first,) = await self._together(alice.client, "POST", path, [request("k0")])
        async with open_transaction(database) as session:
            await session.execute(
                text("""
                INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, headers, body)
                SELECT user_id, method, path, 'k3', fingerprint, status, headers, body FROM idempotency_keys
                """)
            )
            sent = asyncio.create_task(
                self._together(alice.client, "POST", path, [request(f"k{n}") for n in range(1, 7)])
            )
            await until_blocked(database)
            await asyncio.sleep(0.2)
            await session.commit()
        answers = await sent
        assert [answer.status_code for answer in answers] == [201] * 6
        assert ["Idempotency-Replayed" in answer.headers for answer in answers] == [n == 3 for n in range(1, 7)]
        assert answers[2].content == first.content
        found = await fetch_one(database, "SELECT count(*) FROM projects WHERE name = 'Once'")
        assert found["count"] == 6

    async def test_other_keys_are_other_requests(self, alice: Person, database: Database) -> None:
        requests = [
            {
                "json": {"name": f"n{number}"},
                "headers": {"Idempotency-Key": f"k{number % 6}", "Authorization": f"Bearer {alice.token}"},
            }
            for number in range(6)
        ]
        answers = await self._together(alice.client, "POST", "/projects", requests)
        assert [answer.json()["name"] for answer in answers] == [f"n{number}" for number in range(6)]
        again = await self._together(alice.client, "POST", "/projects", requests)
        assert [answer.content for answer in again] == [answer.content for answer in answers]
        assert all(answer.headers["Idempotency-Replayed"] == "true" for answer in again)
        found = await fetch_one(database, "SELECT count(*) FROM projects WHERE name LIKE 'n_'")
        assert found["count"] == 6

    async def test_one_stale_version_among_many(self, alice: Person) -> None:
        project_id = await alice.new_project()
        headers = {"If-Match": '"1"', "Authorization": f"Bearer {alice.token}"}
        answers = await self._together(
            alice.client,
            "PATCH",
            f"/projects/{project_id}",
            [{"json": {"name": f"n{number}"}, "headers": headers} for number in range(8)],
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7

"""Requests with an Idempotency-Key share statements, and are answered as if each were alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import Person
from tests.support.applications import started
from tests.support.event_log import count_rows
from tests.support.keyed_writes import KeyedWrite
from tests.support.locks import until_blocked
from tests.support.rows import digests, execute, fetch_all
from tests.support.sessions import open_transaction
from tests.support.storms import effects_missing_or_repeated, send_copies

_MANY = 20


async def _many(kind: str, person: Person) -> list[KeyedWrite]:
    """Return as many requests of one kind as are sent together, each with something of its own."""
    if kind == "task":
        return [KeyedWrite("/tasks", {"title": f"Task {n}"}) for n in range(_MANY)]
    if kind == "bulk":
        return [KeyedWrite("/tasks/bulk", {"tasks": [{"title": f"{n} a"}, {"title": f"{n} b"}]}) for n in range(_MANY)]
    tasks = [(await person.new_task())["id"] for _ in range(_MANY)]
    if kind == "comment":
        return [KeyedWrite(f"/tasks/{task}/comments", {"body": f"Comment {task}"}) for task in tasks]
    return [KeyedWrite(f"/tasks/{task}", {"title": f"Title {task}"}, 200, method="PATCH") for task in tasks]


async def _send_all(
    person: Person, writes: Sequence[KeyedWrite], expect: int | None = -1, *, key: str = "key"
) -> list[httpx.Response]:
    return await asyncio.gather(*(write.send(person, f"{key}-{n}", expect) for n, write in enumerate(writes)))


def _shown(answer: httpx.Response) -> tuple[int, bytes, str | None, str | None, str | None]:
    headers = (answer.headers.get(name) for name in ("Content-Type", "ETag", "Location"))
    return answer.status_code, answer.content, *headers


@pytest.mark.parametrize("kind", ["task", "task change", "comment", "bulk"])
async def test_they_are_fewer_statements_and_replayed_as_they_were_answered(
    alice: Person, kind: str, database: Database, query_recorder: list[str]
) -> None:
    writes = await _many(kind, alice)
    query_recorder.clear()
    answers = await _send_all(alice, writes)
    # One runs alone, behind a look-up of its key; bulk requests share four at a time.
    assert len(query_recorder) <= (2 + _MANY / 4 + 2 if kind == "bulk" else 6)
    assert len({answer.content for answer in answers}) == _MANY
    before = await digests(database)
    again = await _send_all(alice, writes)
    assert [_shown(answer) for answer in again] == [_shown(answer) for answer in answers]
    assert {answer.headers["Idempotency-Replayed"] for answer in again} == {"true"}
    assert await digests(database) == before


async def test_what_is_refused_does_not_concern_the_others(alice: Person, bob: Person, database: Database) -> None:
    hidden = await alice.new_project()
    writes = await _many("task", bob)
    await KeyedWrite("/tasks", {"title": "Another"}).send(bob, "key-3")
    writes[7] = KeyedWrite("/tasks", {"title": "Hidden", "project_id": hidden})
    answers = await _send_all(bob, writes, None)
    statuses = {n: answer.status_code for n, answer in enumerate(answers) if answer.status_code != 201}
    assert statuses == {3: 422, 7: 404}
    assert [answer.json()["title"] for n, answer in enumerate(answers) if n not in statuses] == [
        f"Task {n}" for n in range(_MANY) if n not in statuses
    ]
    stored = await fetch_all(database, "SELECT key FROM idempotency_keys")
    assert len(stored) == await count_rows(database, "tasks") == _MANY - 1


async def test_a_login_that_has_ended_does_not_concern_the_others(
    alice: Person, bob: Person, database: Database
) -> None:
    await execute(database, "UPDATE sessions SET revoked_at = now() WHERE user_id = :id", id=bob.id)
    writes = await _many("task", alice)
    refused, answers = await asyncio.gather(_send_all(bob, writes, 401), _send_all(alice, writes))
    assert (len(refused), len(answers)) == (_MANY, _MANY)
    assert await count_rows(database, "tasks") == await count_rows(database, "idempotency_keys") == _MANY


async def test_an_expired_one_is_executed_again_beside_the_others(alice: Person, database: Database) -> None:
    writes = await _many("task", alice)
    first = await writes[5].send(alice, "key-5")
    await execute(database, "UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    answers = await _send_all(alice, writes)
    assert answers[5].json()["id"] != first.json()["id"]
    assert not any("Idempotency-Replayed" in answer.headers for answer in answers)
    again = await _send_all(alice, writes)
    assert [_shown(answer) for answer in again] == [_shown(answer) for answer in answers]


async def test_a_copy_that_another_process_commits_meanwhile_changes_no_other_answer(
    alice: Person, database: Database
) -> None:
    writes = await _many("task", alice)
    async with open_transaction(database) as session:
        # As a process leaves it that has taken and given back the lock of the key since the statement's snapshot.
        await session.execute(
            text("""
            INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, headers, body)
            VALUES (:id, 'POST', '/api/v1/tasks', 'key-9', :fingerprint, 201, '{}', 'as it was')
            """),
            {"id": alice.id, "fingerprint": sha256(b"\n" + b'{"title":"Task 9"}').digest()},
        )
        sending = asyncio.create_task(_send_all(alice, writes))
        await until_blocked(database)
        await session.commit()
    answers = await sending
    assert (answers[9].content, answers[9].headers["Idempotency-Replayed"]) == (b"as it was", "true")
    others = [answer for n, answer in enumerate(answers) if n != 9]
    assert [answer.json()["title"] for answer in others] == [f"Task {n}" for n in range(_MANY) if n != 9]
    assert not any("Idempotency-Replayed" in answer.headers for answer in others)
    assert await count_rows(database, "tasks") == _MANY - 1
    assert await count_rows(database, "idempotency_keys") == _MANY


async def test_copies_in_two_processes_have_one_effect_each(
    alice: Person, database: Database, settings: Settings
) -> None:
    async with started(create_app(settings)) as first, started(create_app(settings)) as second:
        people = []
        for client in (first, second):
            client.headers.update(alice.client.headers)
            people.append(replace(alice, client=client))
        reports = await asyncio.gather(*(send_copies(one, keys=20, copies=10, keys_at_once=20) for one in people))
    assert await effects_missing_or_repeated(database, keys=20) == []
    assert [report.differing for report in reports] == [[], []]
    assert sum(report.executed for report in reports) == 20
    assert {status for report in reports for status in report.statuses} <= {201, 409}

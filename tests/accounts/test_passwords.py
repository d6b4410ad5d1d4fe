"""Password hashes and the queue for making them."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from argon2 import PasswordHasher as Argon2
from argon2 import Type, extract_parameters
from fastapi import FastAPI

from taskmanager.accounts.password import hashing
from taskmanager.accounts.password.hashing import PasswordHasher, Verdict
from taskmanager.accounts.password.rules import MAX_CHARACTERS
from taskmanager.accounts.repository import AccountReader, StoredLogin
from taskmanager.errors import OverloadedError
from taskmanager.main import create_app
from tests.conftest import PASSWORD, PASSWORD_HASH, Person, make_settings
from tests.support.applications import started

pytestmark = pytest.mark.usefixtures("costly_hashes")


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    """A hasher with one thread and room for one more to wait."""
    hasher = PasswordHasher(threads=1, queue=1)
    yield hasher
    hasher.close()


async def test_hashes_are_argon2id_with_19_mib_two_passes_and_one_lane(hasher: PasswordHasher) -> None:
    parameters = extract_parameters(await hasher.hash(PASSWORD))
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 1)
    assert parameters.salt_len >= 16
    assert parameters.hash_len >= 32


async def test_the_same_password_never_has_the_same_hash(hasher: PasswordHasher) -> None:
    assert await hasher.hash(PASSWORD) != await hasher.hash(PASSWORD)


async def test_only_the_password_itself_matches(hasher: PasswordHasher) -> None:
    assert (await hasher.verify(PASSWORD, PASSWORD_HASH)).matches
    for other in ("", PASSWORD.upper(), PASSWORD + " ", PASSWORD[:-1], PASSWORD + "\x00"):
        assert not (await hasher.verify(other, PASSWORD_HASH)).matches


async def test_without_a_stored_hash_nothing_matches(hasher: PasswordHasher) -> None:
    for password in ("", PASSWORD, "never anyone's password"):
        assert not (await hasher.verify(password, None)).matches


async def test_without_a_stored_hash_no_takes_as_long_as_with_one(hasher: PasswordHasher) -> None:
    async def shortest(stored: str | None) -> float:
        took = []
        for _ in range(5):
            started = time.process_time()
            await hasher.verify("wrong", stored)
            took.append(time.process_time() - started)
        return min(took)

    assert 0.5 < await shortest(None) / await shortest(await hasher.hash(PASSWORD)) < 2


@pytest.mark.parametrize(
    "garbage", ["!", "plain text", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$short", "$2b$12$x"]
)
async def test_a_stored_hash_that_is_none_never_matches(hasher: PasswordHasher, garbage: str) -> None:
    assert not (await hasher.verify(garbage, garbage)).matches


@pytest.mark.parametrize(
    ("time_cost", "memory_cost", "parallelism", "expected"),
    [(2, 19_456, 1, False), (1, 19_456, 1, True), (2, 1_024, 1, True), (2, 19_456, 2, True), (3, 65_536, 4, True)],
)
async def test_other_parameters_ask_for_a_new_hash(
    hasher: PasswordHasher, time_cost: int, memory_cost: int, parallelism: int, expected: bool
) -> None:
    stored = Argon2(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism).hash(PASSWORD)
    assert await hasher.verify(PASSWORD, stored) == (True, expected)


COMPOSED, DECOMPOSED = "gr\u00fc\u00df Gott", "gru\u0308\u00df Gott"


async def test_a_password_is_the_same_in_every_spelling_of_unicode(hasher: PasswordHasher) -> None:
    for stored in (await hasher.hash(COMPOSED), await hasher.hash(DECOMPOSED)):
        for given in (COMPOSED, DECOMPOSED):
            assert await hasher.verify(given, stored) == (True, False)
    for given, same in (
        ("\ufb01re \u2460 \uff21\u3000x", "fire 1 A x"),
        ("\u212bngstr\u00f6m", "A\u030angstro\u0308m"),
    ):
        assert await hasher.verify(given, await hasher.hash(same)) == (True, False)


async def test_a_password_is_never_trimmed_nor_its_case_folded(hasher: PasswordHasher) -> None:
    stored = await hasher.hash(f" {COMPOSED} ")
    for given in (COMPOSED, f" {COMPOSED}", f"{COMPOSED} ", f" {COMPOSED.upper()} "):
        assert not (await hasher.verify(given, stored)).matches


async def test_a_hash_of_another_spelling_matches_and_asks_for_a_new_one(hasher: PasswordHasher) -> None:
    stored = hashing._ARGON2.hash(DECOMPOSED)  # as older versions did
    assert await hasher.verify(DECOMPOSED, stored) == (True, True)
    assert await hasher.verify(COMPOSED, stored) == (False, False)
    # Normal, this one is too long to be hashed.
    long = "\ufdfa" * 100
    assert await hasher.verify(long, hashing._ARGON2.hash(long)) == (True, False)


async def test_too_long_a_password_never_matches(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("x" * MAX_CHARACTERS)
    assert (await hasher.verify("x" * MAX_CHARACTERS, stored)).matches
    for given in ("x" * (MAX_CHARACTERS + 1), "x" * 100_000, "\ufdfa" * 100_000):
        assert not (await hasher.verify(given, stored)).matches
    assert (
        await hasher.verify("\u1112\u1161\u11ab" * MAX_CHARACTERS, await hasher.hash("\ud55c" * MAX_CHARACTERS))
    ).matches


async def test_a_full_queue_refuses_and_then_recovers(hasher: PasswordHasher) -> None:
    results = await asyncio.gather(*(hasher.hash(PASSWORD) for _ in range(5)), return_exceptions=True)
    assert [isinstance(result, OverloadedError) for result in results] == [False, False, True, True, True]
    assert (await hasher.verify(PASSWORD, PASSWORD_HASH)).matches


async def test_callers_who_give_up_make_room_again(hasher: PasswordHasher) -> None:
    for _ in range(3):
        waiting = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert (await hasher.verify(PASSWORD, PASSWORD_HASH)).matches


async def test_the_event_loop_goes_on_while_a_password_is_hashed(hasher: PasswordHasher) -> None:
    hashing = asyncio.create_task(hasher.hash(PASSWORD))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    # On the loop itself it would be a handful.
    assert turns > 50


async def test_a_crowd_enters_one_by_one_and_no_more_than_may_wait() -> None:
    hasher = PasswordHasher(threads=1, queue=9)
    entered: list[int] = []
    turn = 0

    async def enter() -> None:
        await hasher.enter()
        entered.append(turn)

    crowd = [asyncio.create_task(enter()) for _ in range(12)]
    while len(entered) < 10:
        await asyncio.sleep(0)
        turn += 1
    # Others have a turn of the event loop before each of them.
    assert len(set(entered)) == 10
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [OverloadedError] * 2
    await hasher.enter()
    hasher.close()


async def test_logins_beyond_the_queue_are_503_and_the_others_are_answered(database_url: str) -> None:
    settings = make_settings(database_url=database_url, password_hash_threads=1, password_hash_queue=1)
    form = {"username": "nobody", "password": "wrong password"}
    async with started(create_app(settings)) as client:
        answers = await asyncio.gather(*(client.post("/api/v1/token", data=form) for _ in range(12)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {401, 503}
        assert statuses.count(401) >= 2
        refused = answers[statuses.index(503)]
        assert refused.headers["Retry-After"] == "1"
        assert refused.json()["type"] == "/docs/problems#overloaded"
        assert (await client.post("/api/v1/token", data=form)).status_code == 401


async def test_a_crowd_of_logins_leaves_connections_for_everybody_else(
    alice: Person, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0
    begin = AccountReader.find_login

    async def count(reader: AccountReader, username: str) -> StoredLogin | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        return await begin(reader, username)

    async def verify(_hasher: PasswordHasher, _password: str, _stored: str | None) -> Verdict:
        nonlocal under_way
        await asyncio.sleep(0.01)
        under_way -= 1
        return Verdict(matches=False)

    monkeypatch.setattr(AccountReader, "find_login", count)
    monkeypatch.setattr(PasswordHasher, "verify", verify)
    form = {"username": "alice", "password": "wrong password"}
    answers = await asyncio.gather(*(alice.client.post("/api/v1/token", data=form) for _ in range(30)))
    assert [answer.status_code for answer in answers] == [401] * 30
    assert most == app.state.settings.password_hash_threads


async def test_all_who_bring_a_password_wait_in_one_line(alice: Person, app: FastAPI) -> None:
    hasher: PasswordHasher = app.state.password_hasher
    new = {"username": "newcomer", "email": "newcomer@example.com", "password": PASSWORD}
    change = {"current_password": PASSWORD, "new_password": "another password", "confirm_password": "another password"}
    async with AsyncExitStack() as turns:
        for _ in range(app.state.settings.password_hash_threads):
            await turns.enter_async_context(hasher.turn())
        waiting = [
            asyncio.create_task(alice.client.post("/api/v1/users", json=new)),
            asyncio.create_task(alice.client.post("/api/v1/token", data={"username": "alice", "password": "wrong"})),
            asyncio.create_task(alice.post("/users/me/password", change, expect=204)),
            asyncio.create_task(alice.post("/users/me/delete", {"password": "wrong"}, expect=403)),
        ]
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in waiting)
        assert hasher.pending == len(waiting) + app.state.settings.password_hash_threads
    answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [201, 401, 204, 403]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads a priority of their own")
async def test_hashing_has_a_lower_priority_than_the_event_loop(hasher: PasswordHasher) -> None:
    niceness = await hasher._run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert niceness == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)

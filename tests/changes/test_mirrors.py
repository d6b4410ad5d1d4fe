"""Pages applied to nothing are the same as all the GETs, whatever happens meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.mirrors import Mirror, Rows, read_everything
from tests.support.random_work import LateCommits, RandomWork, new_mirror
from tests.support.sessions import open_session

STEPS = int(os.environ.get("CHANGES_STEPS", "400"))
_OWN = text("SELECT project_id FROM project_members WHERE user_id = :user_id")


@pytest.fixture
async def people(sign_up: SignUp) -> list[Person]:
    """Some people."""
    return [await sign_up(name) for name in ("alice", "bob", "carol", "dave")]


@pytest.fixture
async def late(database_url: str) -> AsyncIterator[LateCommits]:
    """Transactions that are committed late."""
    late = LateCommits(database_url)
    yield late
    await late.commit_all()


def _by_id(rows: Rows) -> Rows:
    """Return rows whose authors have no name: a new name of a person comes with their memberships."""
    return {
        key: {**row, "author": row["author"] and row["author"]["id"]} if key[0] == "comment" else row
        for key, row in rows.items()
    }


async def agree(mirrors: list[Mirror]) -> int:
    """Compare each mirror with what its person sees, once nothing happens any more, and return how many rows differ."""
    different = 0
    for mirror in mirrors:
        rows, truth = _by_id(await mirror.catch_up()), _by_id(await read_everything(mirror.person))
        different += sum(rows.get(key) != truth.get(key) for key in rows.keys() | truth.keys())
        assert rows == truth, {
            key: (rows.get(key), truth.get(key))
            for key in rows.keys() | truth.keys()
            if rows.get(key) != truth.get(key)
        }
    return different


@pytest.mark.parametrize("seed", [1, 2])
async def test_one_step_after_the_other(
    people: list[Person], sign_up: SignUp, database: Database, late: LateCommits, seed: int
) -> None:
    work = RandomWork(people, sign_up, seed)
    mirrors = [new_mirror(person, work) for person in people]
    # Of its own, since whoever changes the members of a project waits for those that write into it.
    late_project = await people[0].new_project("Late")
    for person in people[1:]:
        await people[0].post(f"/projects/{late_project}/members", {"username": person.username, "role": "viewer"})
    compared = 0
    for step in range(STEPS):
        await work.do()
        if work.chance(0.03):
            await late.begin(late_project)
        if work.chance(0.03):
            await late.commit()
        if work.chance(0.01):
            await late.commit_all()
            newcomer = await work.leave()
            mirrors = [mirror for mirror in mirrors if mirror.person in people]
            if newcomer not in [mirror.person for mirror in mirrors]:
                mirrors.append(new_mirror(newcomer, work))
        for mirror in mirrors:
            if work.chance(0.3):
                page = await mirror.turn_page()
                async with open_session(database) as session:
                    mine = set((await session.execute(_OWN, {"user_id": mirror.person.id})).scalars())
                seen = {item["project_id"] for item in page["changes"] if not item["deleted"]}
                assert seen <= mine, "a row of a project that is not mine"
        if step % 100 == 99:
            await late.commit_all()
            compared += len(mirrors)
            await agree(mirrors)
    await late.commit_all()
    print(f"{work.done} operations, {compared} comparisons, {await agree(mirrors)} differences")


async def test_clients_that_die_between_a_page_and_its_cursor(people: list[Person], sign_up: SignUp) -> None:
    work = RandomWork(people, sign_up, 3)
    mirrors = [new_mirror(person, work) for person in people]
    died = 0
    for step in range(STEPS):
        await work.do()
        for mirror in mirrors:
            if work.chance(0.3):
                kept = mirror.cursor
                await mirror.turn_page()
                if work.chance(0.5):  # the page is stored, the cursor is not
                    mirror.cursor = kept
                    died += 1
        if step % 100 == 99:
            await agree(mirrors)
    assert died > 20


async def test_all_at_the_same_time(people: list[Person], sign_up: SignUp) -> None:
    work = RandomWork(people, sign_up, 3)
    mirrors = [new_mirror(person, work) for person in people for _ in range(2)]
    is_over = False

    async def write() -> None:
        while work.done < STEPS:
            await work.do()

    async def follow(mirror: Mirror) -> None:
        while not is_over:
            await mirror.turn_page()

    async def work_on() -> None:
        nonlocal is_over
        await asyncio.gather(*(write() for _ in range(4)))
        is_over = True

    await asyncio.gather(work_on(), *(follow(mirror) for mirror in mirrors))
    print(f"{work.done} operations, {await agree(mirrors)} differences")

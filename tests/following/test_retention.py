"""Events that are old go, and whoever has not read them by then is told."""

from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.following.retention import DELETE_EVENTS, MOVE_FLOOR
from tests.conftest import Person
from tests.support.event_log import count_rows
from tests.support.jobs import run_job
from tests.support.mirrors import Mirror, read_everything
from tests.support.sessions import open_transaction


async def age(database: Database, days: int) -> None:
    """Let everything that has happened be older."""
    async with open_transaction(database) as session:
        await session.execute(text(f"UPDATE events SET created_at = created_at - interval '{days} days'"))


async def sweep(app: FastAPI, days: int, limit: int | None = None) -> None:
    """Run the jobs once."""
    for job in (MOVE_FLOOR, DELETE_EVENTS):
        await run_job(job, app, limit=limit, event_retention_days=days)


async def test_old_events_go_and_cursors_below_them_are_refused(
    alice: Person, app: FastAPI, database: Database
) -> None:
    left_behind, current = Mirror(alice), Mirror(alice)
    await left_behind.catch_up()
    for n in range(7):
        await alice.new_task(title=f"Old {n}")
    await current.catch_up()
    await age(database, 31)
    await alice.new_task(title="New")
    await sweep(app, 30, limit=3)
    assert await count_rows(database, "events") == 1
    answer = await alice.get("/changes", 410, params={"since": left_behind.cursor})
    assert answer.json()["reason"] == "retention"
    assert await current.catch_up() == await read_everything(alice)
    assert await Mirror(alice).catch_up() == await read_everything(alice)


async def test_an_idle_client_stays_above_the_floor(
    alice: Person, bob: Person, app: FastAPI, database: Database
) -> None:
    mirror = Mirror(alice)
    await mirror.catch_up()
    await bob.new_task()
    await mirror.catch_up()  # nothing for Alice, but her cursor goes on
    await age(database, 31)
    await sweep(app, 30)
    assert await mirror.catch_up() == await read_everything(alice)


async def test_nothing_goes_unless_the_settings_say_so(alice: Person, app: FastAPI, database: Database) -> None:
    await alice.new_task()
    await age(database, 10_000)
    before = await count_rows(database, "events")
    await sweep(app, 0)
    assert await count_rows(database, "events") == before


async def test_an_event_that_stays_keeps_what_comes_behind_it(alice: Person, app: FastAPI, database: Database) -> None:
    async with open_transaction(database) as session:
        await session.execute(text("DELETE FROM events"))
    for n in range(4):
        await alice.new_task(title=f"Task {n}")
    async with open_transaction(database) as session:
        await session.execute(
            text(
                "UPDATE events SET created_at = created_at - interval '31 days' "
                "WHERE id <> (SELECT id FROM events ORDER BY id OFFSET 1 LIMIT 1)"
            )
        )
    await sweep(app, 30)
    assert await count_rows(database, "events") == 3

"""When cursors of the event log end: another server, another database, another timeline, or an operator's word."""

import asyncio
import time

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.following.epochs import EpochPendingError, Epochs, start_epoch
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import Person, client_for
from tests.support.mirrors import Mirror, read_everything
from tests.support.sessions import open_transaction

_CHANGES = {
    "another server": "UPDATE event_log SET system_id = system_id + 1",
    "another database": "UPDATE event_log SET database_id = database_id + 1",
    "a promotion": "UPDATE event_log SET timeline = timeline + 1",
}


async def execute(database: Database, statement: str) -> None:
    """Run a statement and commit it."""
    async with open_transaction(database) as session:
        await session.execute(text(statement))


async def expired(person: Person, mirror: Mirror) -> str:
    """Return the reason for which a client's cursor is refused."""
    answer = await person.get("/changes", 410, params={"since": mirror.cursor})
    assert answer.json()["type"] == "/docs/problems#cursor-expired"
    return str(answer.json()["reason"])


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize("limit", [1, 200])
async def test_a_log_that_is_another_one_starts_another_epoch(
    alice: Person, database: Database, change: str, limit: int
) -> None:
    mirror = Mirror(alice, limit)
    await mirror.turn_page()  # of everything that is loaded, or of the log
    await execute(database, _CHANGES[change])
    assert await expired(alice, mirror) == "epoch"
    fresh = Mirror(alice)
    assert await fresh.catch_up() == await read_everything(alice)
    # Once is enough: the new cursor stays good.
    await alice.new_task()
    assert await fresh.catch_up() == await read_everything(alice)


async def test_an_operator_starts_another_epoch(alice: Person, app: FastAPI) -> None:
    mirror = Mirror(alice)
    await mirror.catch_up()
    assert await start_epoch(app.state.writes)
    assert await expired(alice, mirror) == "epoch"


async def test_processes_that_notice_it_together_start_one(app: FastAPI, database: Database) -> None:
    await execute(database, _CHANGES["another server"])
    async with open_transaction(database) as session:
        before = (await session.execute(text("SELECT era FROM event_log"))).scalar_one()
    many = [Epochs(app.state.reads, app.state.writes) for _ in range(8)]
    found = await asyncio.gather(*(epochs.look() for epochs in many))
    async with open_transaction(database) as session:
        after = (await session.execute(text("SELECT era FROM event_log"))).scalar_one()
    assert after == before + 1
    assert len({(await epochs.look()).id for epochs in many}) == 1
    assert len({epoch.id for epoch in found}) == 1


async def test_a_long_transaction_that_has_read_the_log_holds_up_no_writer(
    alice: Person, app: FastAPI, database: Database, settings: Settings
) -> None:
    epochs = Epochs(app.state.reads, app.state.writes)
    async with open_transaction(database) as session:
        await session.execute(text("SELECT count(*) FROM events"))  # as pg_dump does
        await execute(database, _CHANGES["another server"])
        started = time.monotonic()
        with pytest.raises(asyncpg.LockNotAvailableError):
            await epochs.look()
        # Nobody tries again immediately.
        for _ in range(20):
            with pytest.raises(EpochPendingError):
                await epochs.look()
        await alice.new_task()
        assert time.monotonic() - started < 1
        # A process that starts now serves nevertheless.
        other = create_app(settings)
        async with other.router.lifespan_context(other):
            client = client_for(other, headers={"Authorization": f"Bearer {alice.token}"})
            assert (await client.get("/api/v1/changes")).status_code == 503
            assert (await client.post("/api/v1/tasks", json={"title": "x"})).status_code == 201
    epochs._failed_at -= 10
    assert (await epochs.look()).id != (await app.state.epochs.current()).id


async def test_a_log_that_is_being_vacuumed_is_waited_for(app: FastAPI, database: Database) -> None:
    epochs = Epochs(app.state.reads, app.state.writes)
    before = (await epochs.look()).id
    await execute(database, _CHANGES["another server"])
    async with open_transaction(database) as session:
        await session.execute(text("LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE"))
        looking = asyncio.create_task(epochs.look())
        await asyncio.sleep(0.4)
        assert not looking.done()
    assert (await looking).id != before


async def test_what_happens_in_a_younger_server_comes_after_what_is_there(
    alice: Person, app: FastAPI, database: Database
) -> None:
    garden = await alice.new_project("Garden")
    for n in range(3):
        await alice.new_task(garden, title=f"Before {n}")
    # As after a restore: rows of transactions that this server has not reached by far.
    await execute(database, "UPDATE events SET xid = CAST('4000000000000' AS xid8)")
    await execute(database, _CHANGES["another server"])
    mirror = Mirror(alice)
    assert await mirror.catch_up() == await read_everything(alice)
    for n in range(3):
        await alice.new_task(garden, title=f"After {n}")
    page = await mirror.turn_page()
    assert [item["task"]["title"] for item in page["changes"]] == ["After 0", "After 1", "After 2"]
    titles = []
    cursor = None
    while True:
        parameters = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        answer = (await alice.get(f"/projects/{garden}/activity", params=parameters)).json()
        titles += [event["changes"].get("title", {}).get("new") for event in answer["events"]]
        if (cursor := answer["next_cursor"]) is None:
            break
    assert titles == ["After 2", "After 1", "After 0", "Before 2", "Before 1", "Before 0", None]


async def test_a_cursor_of_what_has_not_happened_here_is_refused(alice: Person, app: FastAPI) -> None:
    mirror = Mirror(alice)
    await mirror.catch_up()
    epoch = await app.state.epochs.look()
    position = epoch.read(mirror.cursor)
    mirror.cursor = epoch.write(position._replace(xid=position.xid + 1_000_000))
    assert await expired(alice, mirror) == "ahead"

"""No stream has a gap, wherever it begins and in whatever order transactions are committed."""

import asyncio
import random
import signal
from pathlib import Path

import asyncpg
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import SECRET, Person, client_for
from tests.support.live_server import LiveServer
from tests.support.rows import fetch_all
from tests.support.streams import OnSocket, broker_of, listening

LASTING = {"taskmanager.stream.feed.LONGEST_SECONDS": 3_600.0}
WRITERS, WRITES, LISTENERS = 8, 25, 20
_WRITE = """
INSERT INTO events (project_id, entity, entity_id, version, action) VALUES ($1, 'task', $2, 1, 'created')
"""
_ORDER = "SELECT entity_id FROM events WHERE project_id = :id AND entity = 'task' ORDER BY era, xid, id"


async def write_late(url: str, project_id: int, first: int, chance: random.Random) -> None:
    """Write events in transactions that stay open for different times."""
    connection = await asyncpg.connect(url)
    try:
        for n in range(WRITES):
            async with connection.transaction():
                await connection.execute(_WRITE, project_id, first + n)
                await asyncio.sleep(chance.random() * 0.03)
    finally:
        await connection.close()


async def test_streams_that_begin_while_commits_come_out_of_order(
    app: FastAPI, alice: Person, database: Database, database_url: str
) -> None:
    url = database_url.replace("postgresql+asyncpg", "postgresql")
    chance = random.Random(7)
    garden = await alice.new_project("Garden")
    total = WRITERS * WRITES

    async def hear(last_id: str) -> list[int]:
        """Return what a client hears from a place on, with interruptions."""
        heard: list[int] = []
        while 1_000 + total not in heard:
            async with listening(app, alice, last_event_id=last_id, ready=False) as stream:
                await asyncio.sleep(0.02 + chance.random() * 0.2)
                if chance.random() < 0.3:
                    broker_of(app).ring.begin(broker_of(app).position)
            heard += [event["id"] for event in stream.events]
            last_id = stream.last_id or last_id
        return heard

    async with listening(app, alice) as beginning:
        pass
    listeners = [asyncio.create_task(hear(beginning.last_id)) for _ in range(LISTENERS // 4)]
    writers = [write_late(url, garden, 1_000 + n * WRITES, chance) for n in range(WRITERS)]
    async with asyncio.timeout(60):
        await asyncio.gather(*writers)
        connection = await asyncpg.connect(url)
        await connection.execute(_WRITE, garden, 1_000 + total)
        await connection.close()
        heard = await asyncio.gather(*listeners)
    order = [row["entity_id"] for row in await fetch_all(database, _ORDER, id=garden)]
    assert order != sorted(order), "they were committed out of order"
    for one in heard:
        assert one == order


async def test_a_commit_behind_an_open_transaction_comes_after_it(
    app: FastAPI, alice: Person, database_url: str
) -> None:
    garden = await alice.new_project("Garden")
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        async with listening(app, alice) as stream:
            await connection.execute("BEGIN")
            await connection.execute(_WRITE, garden, 1)
            await alice.new_task(garden, title="Second")
            async with listening(app, alice) as other:
                assert other.events == stream.events == []
                await connection.execute("COMMIT")
                for one in (stream, other):
                    assert (await one.next_event())["id"] == 1
                    assert (await one.next_event())["task"]["title"] == "Second"
    finally:
        await connection.close()


async def test_what_another_process_commits_is_heard(app: FastAPI, alice: Person, settings: Settings) -> None:
    other = create_app(settings)
    async with other.router.lifespan_context(other), listening(app, alice) as stream:
        client = client_for(other, headers={"Authorization": f"Bearer {alice.token}"})
        await client.post("/api/v1/tasks", json={"title": "From there"})
        assert await stream.titles(1) == ["From there"]


async def test_a_client_goes_on_at_another_process_after_a_kill(
    alice: Person, database_url: str, tmp_path: Path
) -> None:
    servers = [
        LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET}, tmp_path / f"log{n}", constants=LASTING)
        for n in range(2)
    ]
    headers = {"Authorization": f"Bearer {alice.token}"}
    listener = OnSocket()
    try:
        for server in servers:
            server.start()
        async with listener.open(servers[0].url, headers):
            await listener.named("ready")
            await alice.new_task(title="Heard")
            assert await listener.titles(1) == ["Heard"]
            servers[0].stop(signal.SIGKILL)
            await asyncio.wait_for(listener.is_over.wait(), 10)
        for n in range(3):
            await alice.new_task(title=f"Missed {n}")
        async with listener.open(servers[1].url, headers):
            assert await listener.titles(3) == ["Missed 0", "Missed 1", "Missed 2"]
            await alice.new_task(title="New")
            assert await listener.titles(1) == ["New"]
    finally:
        for server in servers:
            server.kill()
    assert [event["changes"]["title"]["new"] for event in listener.events] == [
        "Heard",
        *(f"Missed {n}" for n in range(3)),
        "New",
    ]


async def test_an_interruption_of_the_database_leaves_no_gap(app: FastAPI, alice: Person, database_url: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        async with listening(app, alice) as stream:
            for n in range(3):
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await connection.execute(_WRITE, alice.inbox_id, n + 1)
            for n in range(3):
                assert (await stream.next_event())["id"] == n + 1
            assert not [frame for frame in stream.frames if frame.event == "reset"]
    finally:
        await connection.close()

"""A server that takes no more connections: those that are open serve all."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.pools import Pool
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.errors import DatabaseUnavailableError
from tests.conftest import make_settings
from tests.support.coalescers import ask, echo
from tests.support.databases import temporary_role


@pytest.fixture
async def narrow(database_url: str) -> AsyncIterator[Database]:
    """The database for a role that may have two connections."""
    async with temporary_role(database_url, "ALTER ROLE {role} CONNECTION LIMIT 2") as url:
        database = Database(make_settings(database_url=url))
        yield database
        await database.dispose()


async def lend_and_wait(connections: SharedConnections) -> int:
    """Return the number of the server's process that ran a short statement."""
    async with connections.lend() as connection:
        return int((await connection.fetch("SELECT pg_backend_pid() FROM pg_sleep(0.002)"))[0][0])


async def take(connections: SharedConnections) -> SharedConnection:
    """Return a connection, which the caller has to give back."""
    now = time.perf_counter()
    return await connections.connect(now, await connections.take_turn(now))


async def test_all_wait_for_the_connections_that_are_open(narrow: Database) -> None:
    connections = SharedConnections(narrow, Pool.WRITING)
    assert connections.limit > 2
    # One after the other, since backends that start at the same time count each other and may all be refused.
    held = [await take(connections) for _ in range(2)]
    for connection in held:
        connections.put_back(connection)
    pids = await asyncio.gather(*(lend_and_wait(connections) for _ in range(50)))
    assert len(set(pids)) == 2
    assert (connections.in_use, connections.waiting) == (0, 0)
    await connections.close()


async def test_one_that_is_being_opened_is_waited_for_too(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = SharedConnections(own_database, limit=3)
    connect, asked, go_on = own_database.connect, asyncio.Semaphore(0), asyncio.Event()
    is_first = True

    async def connect_or_refuse(pool: Pool) -> SharedConnection:
        nonlocal is_first
        asked.release()
        if not is_first:
            raise asyncpg.TooManyConnectionsError("too many connections")
        is_first = False
        await go_on.wait()
        return await connect(pool)

    monkeypatch.setattr(own_database, "connect", connect_or_refuse)
    asking = [asyncio.create_task(lend_and_wait(connections)) for _ in range(9)]
    for _ in range(3):
        await asked.acquire()
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in asking)
    go_on.set()
    assert len(set(await asyncio.gather(*asking))) == 1
    assert (connections.in_use, connections.waiting) == (0, 0)
    await connections.close()


async def test_where_another_pool_has_them_all_each_is_refused(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmanager.database.shared_connections._FULL_SECONDS", 0.1)
    others, connections = SharedConnections(narrow, Pool.SHARED), SharedConnections(narrow, Pool.WRITING)
    async with others.lend(), others.lend() as last:
        refused = await asyncio.gather(*(lend_and_wait(connections) for _ in range(9)), return_exceptions=True)
        assert {type(error) for error in refused} <= {DBAPIError, asyncpg.TooManyConnectionsError}
        await last.discard()
        await asyncio.sleep(0.1)
        assert await lend_and_wait(connections)
        assert connections.in_use == 0
    await connections.close()
    await others.close()


async def test_one_that_is_discarded_makes_room_at_once(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, connect = 2, own_database.connect

    async def connect_within(pool: Pool) -> SharedConnection:
        nonlocal room
        if not room:
            raise asyncpg.TooManyConnectionsError("too many connections")
        room -= 1
        return await connect(pool)

    monkeypatch.setattr(own_database, "connect", connect_within)
    monkeypatch.setattr("taskmanager.database.shared_connections._FULL_SECONDS", 60.0)
    connections = SharedConnections(own_database, limit=3)
    held = [await take(connections) for _ in range(2)]
    waiting = [asyncio.create_task(lend_and_wait(connections)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    room += 1
    await connections.discard(held[0])
    async with asyncio.timeout(5):
        assert len(set(await asyncio.gather(*waiting))) == 1
    connections.put_back(held[1])
    await connections.close()


async def test_who_waits_for_one_that_is_open_waits_no_longer_than_for_a_turn(database_url: str) -> None:
    async with temporary_role(database_url, "ALTER ROLE {role} CONNECTION LIMIT 1") as url:
        database = Database(make_settings(database_url=url, database_pool_wait_seconds=0.6))
        connections = SharedConnections(database, Pool.WRITING)
        begun = time.monotonic()
        async with connections.lend():
            failed = await asyncio.gather(*(lend_and_wait(connections) for _ in range(3)), return_exceptions=True)
            assert {type(error) for error in failed} == {PoolTimeoutError}
        assert 0.5 < time.monotonic() - begun < 1.1
        assert await lend_and_wait(connections)
        await connections.close()
        await database.dispose()


async def test_who_is_cancelled_with_a_turn_passes_it_on(own_database: Database) -> None:
    connections = SharedConnections(own_database, limit=1)
    held = await take(connections)
    cancelled, other = (asyncio.create_task(lend_and_wait(connections)) for _ in range(2))
    await asyncio.sleep(0)
    connections.put_back(held)
    cancelled.cancel()
    assert await other
    assert cancelled.cancelled()
    assert (connections.in_use, connections.waiting) == (0, 0)
    await connections.close()


class TestSharedStatements:
    """Requests that would share a statement."""

    async def test_each_that_was_not_sent_runs_alone(
        self, own_database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Pool] = []

        async def refuse(_: Database, pool: Pool) -> SharedConnection:
            asked.append(pool)
            raise asyncpg.TooManyConnectionsError("too many connections")

        monkeypatch.setattr("taskmanager.database.shared_connections._FULL_SECONDS", 0.1)
        connections = SharedConnections(own_database, limit=1)
        coalescer = Coalescer[int, int]("echo", connections, echo)
        with monkeypatch.context() as patch:
            patch.setattr(Database, "connect", refuse)
            for _ in range(3):
                assert await asyncio.gather(*(ask(coalescer, number) for number in range(3))) == [None] * 3
        # It is not asked again so soon.
        assert len(asked) == 1
        await asyncio.sleep(0.1)
        assert await asyncio.gather(*(ask(coalescer, number) for number in range(3))) == [0, 1, 2]
        await connections.close()

    async def test_what_was_sent_is_not_run_again(self, own_database: Database) -> None:
        async def lose(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            raise asyncpg.TooManyConnectionsError(f"too many connections for {items}")

        connections = SharedConnections(own_database, limit=1)
        asked = [ask(Coalescer[int, int]("lost", connections, lose), number) for number in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseUnavailableError] * 3
        await connections.close()

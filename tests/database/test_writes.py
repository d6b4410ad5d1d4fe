"""Writes: each alone on a connection that is held, sent once, and committed or rolled back as a whole."""

import asyncio

import asyncpg
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.statements import SharedWrite, Statement
from taskmanager.database.writes import Writes, Written
from taskmanager.errors import NotFoundError
from tests.conftest import make_settings
from tests.support.project_writes import INSERT, names
from tests.support.rows import execute, fetch_all

BACKEND = Statement("backend", "SELECT pg_backend_pid() AS pid")
SLOW_INSERT = Statement(
    "insert slowly",
    "WITH new AS (INSERT INTO projects (name) VALUES (:name) RETURNING id) SELECT id, pg_sleep(1) FROM new",
    {"name": "text"},
)
DIVIDE = Statement("divide", "SELECT 60 / :divisor AS quotient", {"divisor": "integer"})
SLEEPING = "datname = current_database() AND query LIKE '%pg_sleep(1)%' AND pid <> pg_backend_pid()"
_FIND_SLEEPING = f"SELECT pid FROM pg_stat_activity WHERE state = 'active' AND {SLEEPING}"
_KILL_SLEEPING = f"SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE {SLEEPING}"


async def backend(writes: Writes) -> int:
    """Return the process id of the server's end of the connection that is used next."""
    row = await writes.one(BACKEND)
    assert row is not None
    return int(row["pid"])


async def until_sleeping(database: Database) -> None:
    """Return once a statement sleeps."""
    async with asyncio.timeout(2):
        while not await fetch_all(database, _FIND_SLEEPING):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class TestConnections:
    """Connections that stay open."""

    async def test_one_is_used_again(self, writes: Writes) -> None:
        assert len({await backend(writes) for _ in range(5)}) == 1

    async def test_one_that_is_lost_before_anything_is_sent_is_replaced(
        self, writes: Writes, database: Database
    ) -> None:
        for _ in range(3):
            pid = await backend(writes)
            await execute(database, "SELECT pg_terminate_backend(:pid, 2000)", pid=pid)
            await asyncio.sleep(0.01)  # the driver reads that it is closed
            assert await writes.one(INSERT, name="New") is not None
        assert await names(database) == ["New"] * 3

    async def test_one_that_was_idle_is_looked_at_first(
        self, writes: Writes, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("taskmanager.database.shared_connections._TRUSTED_SECONDS", 0.0)
        pid = await backend(writes)
        # Nothing tells the driver, as when a router in between forgets the connection.
        monkeypatch.setattr(SharedConnection, "is_lost", False)
        await execute(database, "SELECT pg_terminate_backend(:pid, 2000)", pid=pid)
        assert await writes.one(INSERT, name="New") is not None
        assert await names(database) == ["New"]

    @pytest.mark.parametrize("in_transaction", [False, True])
    async def test_one_that_is_lost_under_way_is_discarded_and_the_write_not_repeated(
        self, writes: Writes, database: Database, *, in_transaction: bool
    ) -> None:
        async def write() -> None:
            if not in_transaction:
                await writes.one(SLOW_INSERT, name="New")
                return
            async with writes.transaction() as run:
                await run.one(INSERT, name="Before")
                await run.one(SLOW_INSERT, name="New")

        pid = await backend(writes)
        writing = asyncio.create_task(write())
        await until_sleeping(database)
        await fetch_all(database, _KILL_SLEEPING)
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
            await writing
        assert writes.connections.in_use == 0
        assert await names(database) == []
        assert await backend(writes) != pid

    @pytest.mark.parametrize("in_transaction", [False, True])
    @pytest.mark.server_itself("connections by the number of their process")
    async def test_one_whose_request_is_cancelled_is_discarded(
        self, writes: Writes, database: Database, *, in_transaction: bool
    ) -> None:
        async def write() -> None:
            if not in_transaction:
                await writes.one(SLOW_INSERT, name="New")
                return
            async with writes.transaction() as run:
                await run.one(SLOW_INSERT, name="New")

        pid = await backend(writes)
        writing = asyncio.create_task(write())
        await until_sleeping(database)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert writes.connections.in_use == 0
        assert await backend(writes) != pid
        assert not await fetch_all(database, _FIND_SLEEPING)
        assert await names(database) == []

    async def test_one_whose_statement_is_refused_is_as_good_as_before(self, writes: Writes) -> None:
        pid = await backend(writes)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await writes.one(DIVIDE, divisor=0)
        assert await backend(writes) == pid


class TestTransactions:
    """Several statements, together or not at all."""

    async def test_what_the_block_wrote_is_there_when_it_has_ended(self, writes: Writes, database: Database) -> None:
        async with writes.transaction() as run:
            await run.one(INSERT, name="One")
            await run.last(INSERT, name="Two")
            assert await names(database) == []
        assert await names(database) == ["One", "Two"]

    async def test_an_error_of_the_service_rolls_it_back_and_keeps_the_connection(
        self, writes: Writes, database: Database
    ) -> None:
        pid = await backend(writes)

        async def insert_and_raise() -> None:
            async with writes.transaction() as run:
                await run.one(INSERT, name="New")
                raise NotFoundError("project")

        for _ in range(3):
            with pytest.raises(NotFoundError):
                await insert_and_raise()
        assert await names(database) == []
        assert await backend(writes) == pid
        # It is in no transaction any more.
        await writes.one(INSERT, name="Kept")
        assert await names(database) == ["Kept"]

    async def test_a_statement_that_is_refused_rolls_it_back(self, writes: Writes, database: Database) -> None:
        async def insert_and_fail() -> None:
            async with writes.transaction() as run:
                await run.one(INSERT, name="New")
                await run.one(DIVIDE, divisor=0)

        pid = await backend(writes)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await insert_and_fail()
        assert (await names(database), await backend(writes)) == ([], pid)

    async def test_one_inside_of_another_is_a_part_of_it(self, writes: Writes, database: Database) -> None:
        async def insert_and_raise() -> None:
            async with writes.transaction() as run:
                async with run.transaction() as inner:
                    await inner.one(INSERT, name="Inner")
                raise NotFoundError("project")

        with pytest.raises(NotFoundError):
            await insert_and_raise()
        assert await names(database) == []

    async def test_a_long_one_takes_no_connection_from_the_others(self, writes: Writes) -> None:
        async with writes.transaction(long=True) as run:
            assert writes.connections.in_use == 0
            assert await run.one(BACKEND) is not None
            with pytest.raises(PoolTimeoutError):
                async with writes.transaction(long=True):
                    pass
            await backend(writes)


class TestLimits:
    """Two connections, and who waits for them."""

    async def test_who_waits_too_long_is_refused(self, writes: Writes) -> None:
        async with writes.transaction(), writes.transaction():
            assert (writes.connections.limit, writes.connections.in_use, writes.connections.waiting) == (2, 2, 0)
            third = asyncio.create_task(backend(writes))
            await asyncio.sleep(0.05)
            assert (writes.connections.in_use, writes.connections.waiting) == (2, 1)
            with pytest.raises(PoolTimeoutError):
                await third
            assert writes.connections.waiting == 0
        assert writes.connections.in_use == 0
        await backend(writes)

    async def test_who_gives_up_leaves_the_turn_to_the_next(self, writes: Writes) -> None:
        async with writes.transaction():
            async with writes.transaction():
                first, second = asyncio.create_task(backend(writes)), asyncio.create_task(backend(writes))
                await asyncio.sleep(0.02)
                first.cancel()
            await second
        assert (writes.connections.in_use, writes.connections.waiting) == (0, 0)

    async def test_the_number_of_requests_is_known(self, writes: Writes) -> None:
        await backend(writes)
        async with writes.transaction() as run:
            await run.one(BACKEND)
        assert writes.rows == 2

    async def test_without_a_server_nobody_is_answered_for_ever(self) -> None:
        database = Database(make_settings(database_url="postgresql://nobody@127.0.0.1:1/nothing"))
        writes = Writes(database, None)
        for _ in range(3):
            with pytest.raises(OSError, match=r"refused|Connect"):
                await backend(writes)
        assert writes.connections.in_use == 0
        await writes.close()
        await database.dispose()


class TestSharing:
    """A write that is declared for many requests."""

    async def test_without_shared_connections_each_runs_alone(self, writes: Writes) -> None:
        async def alone() -> Written:
            await asyncio.sleep(0)
            return Written(7, None, None)

        never = SharedWrite("never", {"user_id": "bigint"}, "nothing AS (SELECT 1 / 0)", "SELECT * FROM nothing")
        answers = await asyncio.gather(*(writes.share(never, alone, user_id=number) for number in range(3)))
        assert [answer.id for answer in answers] == [7, 7, 7]

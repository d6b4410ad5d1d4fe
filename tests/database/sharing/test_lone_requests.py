"""A request that finds its kind idle runs its statement itself."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.pools import Pool
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.sharing import Coalescer
from tests.support.coalescers import Statements, ask, until
from tests.support.sessions import open_connections


class TestLoneRequests:
    """A request that finds its kind idle runs its statement itself."""

    async def test_it_starts_no_task(self, own_database: Database) -> None:
        tasks = list[int]()

        async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            tasks.append(len(asyncio.all_tasks()))
            return [row["n"] for row in await connection.fetch("SELECT CAST($1 AS int) AS n", *items)]

        connections = SharedConnections(own_database)
        kind = Coalescer[int, int]("lone", connections, run)
        assert await kind.run_now(1) == 1
        before = len(asyncio.all_tasks())
        assert [await kind.run_now(2), await kind.run_now(3)] == [2, 3]
        assert tasks[1:] == [before, before]
        assert (kind.statements, kind.requests, kind.is_idle) == (3, 3, True)
        await connections.close()

    async def test_those_who_come_meanwhile_share_the_next_statement(
        self, own_database: Database, statements: Statements
    ) -> None:
        connections = SharedConnections(own_database)
        kind = Coalescer[int, int]("lone", connections, statements.run)
        lone = asyncio.create_task(kind.run_now(1))
        await until(lambda: statements.batches == [[1]])
        assert not kind.is_idle
        later = [ask(kind, 2), ask(kind, 3)]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(connections.close())
        await asyncio.sleep(0.01)
        assert (statements.batches, closing.done()) == ([[1]], False)
        statements.go_on.set()
        await closing
        assert await asyncio.gather(lone, *later) == [2, 4, 6]
        assert statements.batches == [[1], [2, 3]]
        # Since several came together, the next ones look for others first.
        for number in range(8):
            assert not kind.is_idle
            assert await ask(kind, number) == 2 * number
        assert kind.is_idle
        await connections.close()

    async def test_none_runs_itself_where_others_have_all_connections(
        self, own_database: Database, statements: Statements
    ) -> None:
        connections = SharedConnections(own_database, limit=1)
        busy, kind = (Coalescer[int, int](name, connections, statements.run) for name in ("busy", "lone"))
        asked = ask(busy, 1)
        await until(lambda: statements.batches == [[1]])
        assert not kind.is_idle
        statements.go_on.set()
        assert await asked == 2
        assert kind.is_idle
        await connections.close()

    @pytest.mark.server_itself("connections by the number of their process")
    async def test_one_that_is_cancelled_leaves_neither_its_connection_nor_the_others_behind(
        self, own_database: Database
    ) -> None:
        pids = list[int]()

        async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            pids.append((await connection.fetch("SELECT pg_backend_pid()"))[0][0])
            await connection.fetch("SELECT pg_sleep($1)", 10 if items == [1] else 0)
            return items

        connections = SharedConnections(own_database, limit=1)
        kind = Coalescer[int, int]("lone", connections, run)
        lone = asyncio.create_task(kind.run_now(1))
        await until(lambda: len(pids) == 1)
        later = ask(kind, 2)
        await asyncio.sleep(0.05)
        lone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lone
        assert await later == 2
        assert pids[0] != pids[1]
        await until(lambda: kind.is_idle)
        assert open_connections(own_database, Pool.SHARED) == 1
        await connections.close()

    async def test_behind_one_that_takes_long_the_next_goes_ahead(
        self, own_database: Database, statements: Statements, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("taskmanager.database.sharing._LONG_SECONDS", 0.01)
        connections = SharedConnections(own_database)
        kind = Coalescer[int, int]("lone", connections, statements.run)
        lone = asyncio.create_task(kind.run_now(1))
        await until(lambda: statements.batches == [[1]])
        later = ask(kind, 2)
        await until(lambda: statements.batches == [[1], [2]])
        statements.go_on.set()
        assert (await lone, await later) == (2, 4)
        await connections.close()

    async def test_what_it_meets_is_its_own(self, own_database: Database) -> None:
        async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            if items == [0]:
                await connection.fetch("SELECT 1 / $1", 0)
            await connection.fetch("SELECT no_such_column")
            return items

        connections = SharedConnections(own_database)
        kind = Coalescer[int, int]("lone", connections, run)
        assert await kind.run_now(0) is None  # to be run alone
        with pytest.raises(asyncpg.UndefinedColumnError):
            await kind.run_now(1)
        assert kind.is_idle
        await connections.close()

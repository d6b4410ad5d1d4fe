"""What requests that share a statement get when its connection, its server or their turn is lost."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.pools import Pool
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.errors import DatabaseUnavailableError
from tests.conftest import make_settings
from tests.support.coalescers import ask, echo, until
from tests.support.sessions import open_session


class TestDatabaseGone:
    """Nothing whose outcome is unknown is repeated."""

    async def test_a_lost_connection_is_told_to_all_who_wait_and_the_next_get_a_new_one(
        self, own_database: Database
    ) -> None:
        runs: list[list[int]] = []

        async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            runs.append(list(items))
            await connection.fetch("SELECT pg_sleep(10)" if len(runs) == 1 else "SELECT 1")
            return items

        connections = SharedConnections(own_database, limit=1)
        coalescer = Coalescer[int, int]("lost", connections, run, max_batch=2)
        asked = [ask(coalescer, number) for number in (1, 2, 3)]
        await until(lambda: runs == [[1, 2]])
        await asyncio.sleep(0.05)
        async with open_session(own_database) as reader:
            killed = await reader.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE query = 'SELECT pg_sleep(10)' AND datname = current_database()"
                )
            )
            assert killed.scalars().all() == [True]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseUnavailableError] * 3
        assert runs == [[1, 2]]
        assert await ask(coalescer, 4) == 4
        await connections.close()

    async def test_requests_of_other_kinds_that_wait_are_told_too(self, own_database: Database) -> None:
        connections = SharedConnections(own_database, limit=1)
        go_on = asyncio.Event()

        async def lose(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            await go_on.wait()
            raise ConnectionResetError

        lost, other = Coalescer[int, int]("lost", connections, lose), Coalescer[int, int]("other", connections, echo)
        asked = [ask(lost, 1)]
        await until(lambda: lost.statements == 1)
        asked += [ask(lost, 2), ask(other, 3)]
        await asyncio.sleep(0.05)
        go_on.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseUnavailableError] * 3
        assert other.statements == 0
        assert await ask(other, 4) == 4
        await connections.close()

    async def test_a_silent_server_is_given_up(self, database_url: str) -> None:
        settings = make_settings(
            database_url=database_url, database_statement_timeout_ms=100, database_command_timeout_seconds=0.3
        )
        database = Database(settings)

        async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            await connection.fetch("SELECT set_config('statement_timeout', '0', false)")
            await connection.fetch("SELECT pg_sleep(10)")
            return items

        connections = SharedConnections(database)
        coalescer = Coalescer[int, int]("silent", connections, run)
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            await ask(coalescer, 1)
        assert time.monotonic() - begun < 5
        await connections.close()
        await database.dispose()

    @pytest.mark.parametrize(
        "sql", ["SELECT pg_sleep(10)", "DO $$ BEGIN RAISE lock_not_available; END $$"], ids=["57014", "55P03"]
    )
    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_a_statement_that_the_server_cancels_concerns_only_its_own_requests(
        self, database_url: str, sql: str
    ) -> None:
        database = Database(make_settings(database_url=database_url, database_statement_timeout_ms=100))

        async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            if 1 in items:
                await connection.fetch(sql)
            return items

        connections = SharedConnections(database)
        coalescer = Coalescer[int, int](
            "slow", connections, run, max_batch=2, conflict_keys=lambda number: (number % 10,)
        )
        asked = [ask(coalescer, number) for number in (1, 2, 3, 11, 4)]
        *refused, third, behind, fourth = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in (*refused, behind)] == [DatabaseUnavailableError] * 3
        assert (third, fourth) == (3, 4)
        await connections.close()
        await database.dispose()

    async def test_where_nobody_listens_all_are_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        database = Database(make_settings(database_url="postgresql://nobody@127.0.0.1:1/nothing"))
        asked: list[Pool] = []
        connect = database.connect

        async def count(pool: Pool) -> SharedConnection:
            asked.append(pool)
            return await connect(pool)

        monkeypatch.setattr(database, "connect", count)
        connections = SharedConnections(database)
        coalescer = Coalescer[int, int]("nowhere", connections, echo, max_batch=1)
        answers = await asyncio.gather(*(ask(coalescer, number) for number in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseUnavailableError] * 3
        assert (len(asked), coalescer.statements) == (1, 0)
        await database.dispose()


async def test_a_connection_that_was_idle_and_died_meanwhile_is_replaced(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        return [(await connection.fetch("SELECT pg_backend_pid()"))[0][0] for _ in items]

    connections = SharedConnections(own_database)
    coalescer = Coalescer[int, int]("idle", connections, run)
    pid = await ask(coalescer, 1)
    assert await ask(coalescer, 1) == pid
    async with open_session(own_database) as reader:
        await reader.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    monkeypatch.setattr("taskmanager.database.shared_connections._TRUSTED_SECONDS", 0)
    assert await ask(coalescer, 1) not in {None, pid}
    await connections.close()


async def test_who_gets_no_turn_in_time_is_refused_and_the_next_try_succeeds(database_url: str) -> None:
    database = Database(make_settings(database_url=database_url, database_pool_wait_seconds=0.2))
    connections = SharedConnections(database, limit=1)
    go_on = asyncio.Event()

    async def wait(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        await go_on.wait()
        return items

    slow, other = Coalescer[int, int]("slow", connections, wait), Coalescer[int, int]("other", connections, echo)
    slow_one = ask(slow, 1)
    await until(lambda: slow.statements == 1)
    answers = await asyncio.gather(ask(other, 2), ask(other, 3), return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailableError] * 2
    go_on.set()
    assert list(await asyncio.gather(slow_one, ask(other, 4))) == [1, 4]
    await connections.close()
    await database.dispose()

"""Statements that requests share: whoever is in one, none may harm another."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import asyncpg
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.errors import DatabaseUnavailableError
from tests.conftest import make_settings
from tests.support.sessions import open_session, open_transaction

Run = Callable[[SharedConnection, Sequence[int]], Awaitable[Sequence[int | None]]]


class Statements:
    """What a coalescer ran: the items of each statement; the first waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def run(self, _: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        """Double each item, but leave negative ones alone."""
        self.batches.append(list(items))
        await self.go_on.wait()
        return [None if item < 0 else 2 * item for item in items]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement takes long, however slow the machine is."""
    monkeypatch.setattr("taskmanager.database.sharing._LONG_SECONDS", 60)


@pytest.fixture
async def own_database(database_url: str) -> AsyncIterator[Database]:
    """A database with pools of its own."""
    database = Database(make_settings(database_url=database_url))
    yield database
    await database.dispose()


@pytest.fixture
async def statements() -> Statements:
    """What was run."""
    return Statements()


@pytest.fixture
async def doubled(own_database: Database, statements: Statements) -> AsyncIterator[Coalescer[int, int]]:
    """A coalescer that doubles numbers, at most four at a time; no statement has two of one last digit."""
    connections = SharedConnections(own_database)
    coalescer = Coalescer[int, int](
        "double", connections, statements.run, max_batch=4, conflict_key=lambda number: number % 10
    )
    yield coalescer
    statements.go_on.set()
    await connections.close()


def ask(coalescer: Coalescer[int, int], item: int) -> asyncio.Task[int | None]:
    """Submit an item; the task returns its answer."""

    async def answer() -> int | None:
        return await coalescer.enqueue(item).answer

    return asyncio.create_task(answer())


async def echo(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
    """Answer each item with itself."""
    return items


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_those_who_come_together_share_a_statement_and_get_their_own_answers(
    doubled: Coalescer[int, int], statements: Statements
) -> None:
    statements.go_on.set()
    assert await asyncio.gather(*(ask(doubled, number) for number in (1, 2, 3))) == [2, 4, 6]
    assert statements.batches == [[1, 2, 3]]
    assert (doubled.statements, doubled.requests) == (1, 3)


async def test_who_comes_while_a_statement_runs_waits_for_the_next_one(
    doubled: Coalescer[int, int], statements: Statements
) -> None:
    first = ask(doubled, 1)
    await until(lambda: statements.batches == [[1]])
    later = [ask(doubled, number) for number in (2, 3)]
    await asyncio.sleep(0.01)
    assert statements.batches == [[1]]
    statements.go_on.set()
    assert await asyncio.gather(*(first, *later)) == [2, 4, 6]
    assert statements.batches == [[1], [2, 3]]


async def test_who_comes_while_a_statement_takes_long_does_not_wait_for_its_end(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmanager.database.sharing._LONG_SECONDS", 0.01)
    connections = SharedConnections(own_database, limit=2)
    begun: list[list[int]] = []
    go_on = {item: asyncio.Event() for item in range(1, 8)}

    async def run(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        begun.append(list(items))
        await go_on[items[0]].wait()
        return items

    kind = Coalescer[int, int]("slow", connections, run)
    asked = [ask(kind, 1), ask(kind, 2)]
    await until(lambda: begun == [[1, 2]])
    asked += [ask(kind, 3)]  # waits already when the statement turns out to take long
    await until(lambda: begun[1:] == [[3]])
    await asyncio.sleep(0.05)
    asked += [ask(kind, 4), ask(kind, 5)]  # come later, but there are two turns only
    await asyncio.sleep(0.05)
    assert begun == [[1, 2], [3]]
    go_on[3].set()
    await until(lambda: begun[2:] == [[4, 5]])
    go_on[4].set()
    assert await asyncio.gather(*asked[2:]) == [3, 4, 5]
    # The first is still under way, and whoever closes waits for it and for those who come meanwhile.
    assert not asked[0].done()
    closing = asyncio.create_task(connections.close())
    asked += [ask(kind, 6)]
    await until(lambda: begun[3:] == [[6]])
    go_on[6].set()
    await asyncio.sleep(0.05)
    assert not closing.done()
    go_on[1].set()
    await closing
    assert await asyncio.gather(*asked) == [1, 2, 3, 4, 5, 6]


async def test_a_statement_that_took_long_leaves_the_next_ones_to_one_worker(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmanager.database.sharing._LONG_SECONDS", 0.01)
    connections = SharedConnections(own_database, limit=2)
    begun: list[list[int]] = []
    go_on = asyncio.Semaphore(0)

    async def run(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        begun.append(list(items))
        await go_on.acquire()
        return items

    kind = Coalescer[int, int]("slow", connections, run, max_batch=1)
    asked = [ask(kind, 1), ask(kind, 2)]
    await until(lambda: begun == [[1], [2]])
    # No other takes long from here on.
    monkeypatch.setattr("taskmanager.database.sharing._LONG_SECONDS", 60)
    await asyncio.sleep(0.05)
    asked += [ask(kind, number) for number in range(3, 7)]
    for _ in range(2):
        go_on.release()
    await until(lambda: len(begun) == 3)
    await asyncio.sleep(0.05)
    assert begun == [[1], [2], [3]]  # the two that took long have ended, and neither has taken another
    for _ in range(4):
        go_on.release()
    assert await asyncio.gather(*asked) == [1, 2, 3, 4, 5, 6]
    await connections.close()


async def test_behind_a_statement_that_takes_long_only_those_wait_that_conflict_with_it(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmanager.database.sharing._LONG_SECONDS", 0.01)
    connections = SharedConnections(own_database, limit=2)
    begun: list[list[int]] = []
    go_on = asyncio.Event()

    async def run(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        begun.append(list(items))
        if items[0] == 1:
            await go_on.wait()
        return items

    kind = Coalescer[int, int]("slow", connections, run, conflict_key=lambda number: number % 10)
    first = ask(kind, 1)
    await until(lambda: begun == [[1]])
    behind = [ask(kind, 11)]
    await asyncio.sleep(0.05)
    behind.append(ask(kind, 21))
    assert list(await asyncio.gather(ask(kind, 2), ask(kind, 3))) == [2, 3]
    await asyncio.sleep(0.05)
    assert begun == [[1], [2, 3]]
    closing = asyncio.create_task(connections.close())
    go_on.set()
    await closing
    assert await asyncio.gather(first, *behind) == [1, 11, 21]
    assert begun[2:] == [[11], [21]]


async def test_a_statement_has_only_so_many_and_they_keep_their_order(
    doubled: Coalescer[int, int], statements: Statements
) -> None:
    statements.go_on.set()
    await asyncio.gather(*(ask(doubled, number) for number in range(10)))
    assert statements.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_two_that_conflict_never_share_a_statement_and_the_first_comes_first(
    doubled: Coalescer[int, int], statements: Statements
) -> None:
    statements.go_on.set()
    answers = await asyncio.gather(*(ask(doubled, number) for number in (1, 11, 2, 21, 12)))
    assert answers == [2, 22, 4, 42, 24]
    assert statements.batches == [[1, 2], [11, 12], [21]]


async def test_one_who_gives_up_leaves_the_others_alone(doubled: Coalescer[int, int], statements: Statements) -> None:
    running, staying = ask(doubled, 1), ask(doubled, 2)
    await until(lambda: statements.batches == [[1, 2]])
    waiting, patient = ask(doubled, 3), ask(doubled, 4)
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    statements.go_on.set()
    assert list(await asyncio.gather(staying, patient)) == [4, 8]
    # Whoever gave up before the statement was sent has no part in it.
    assert statements.batches == [[1, 2], [4]]


async def test_none_is_for_one_that_must_run_alone(doubled: Coalescer[int, int], statements: Statements) -> None:
    statements.go_on.set()
    assert await asyncio.gather(*(ask(doubled, number) for number in (1, -2, 3))) == [2, None, 6]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 / $1",
        "SELECT CAST(CAST($1 AS integer) || 'x' AS integer)",
        "INSERT INTO sessions (user_id) SELECT $1",
        "DO $$ BEGIN RAISE deadlock_detected; END $$",
    ],
    ids=["22012", "22P02", "23503", "40P01"],
)
async def test_what_one_request_may_have_caused_sends_each_to_run_alone(own_database: Database, sql: str) -> None:
    async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        await connection.fetch(sql, *([0] if "$1" in sql else []))
        return items

    connections = SharedConnections(own_database)
    coalescer = Coalescer[int, int]("wrong", connections, run)
    assert await asyncio.gather(*(ask(coalescer, number) for number in (1, 2))) == [None, None]
    # The connection is as good as before.
    assert own_database.shared_connections == 1
    await connections.close()


async def test_a_mistake_in_the_statement_is_told_to_its_requests_only(own_database: Database) -> None:
    async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        if 1 in items:
            await connection.fetch("SELECT no_such_column")
        return items

    connections = SharedConnections(own_database)
    coalescer = Coalescer[int, int]("mistaken", connections, run, max_batch=1)
    first, second = await asyncio.gather(ask(coalescer, 1), ask(coalescer, 2), return_exceptions=True)
    assert isinstance(first, asyncpg.UndefinedColumnError)
    assert second == 2
    await connections.close()


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
        assert own_database.shared_connections == 1
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
    async def test_a_statement_that_the_server_cancels_concerns_only_its_own_requests(
        self, database_url: str, sql: str
    ) -> None:
        database = Database(make_settings(database_url=database_url, database_statement_timeout_ms=100))

        async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            if 1 in items:
                await connection.fetch(sql)
            return items

        connections = SharedConnections(database)
        coalescer = Coalescer[int, int]("slow", connections, run, max_batch=2, conflict_key=lambda number: number % 10)
        asked = [ask(coalescer, number) for number in (1, 2, 3, 11, 4)]
        *refused, third, behind, fourth = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in (*refused, behind)] == [DatabaseUnavailableError] * 3
        assert (third, fourth) == (3, 4)
        await connections.close()
        await database.dispose()

    async def test_where_nobody_listens_all_are_told_at_once(self) -> None:
        database = Database(make_settings(database_url="postgresql://nobody@127.0.0.1:1/nothing"))

        connections = SharedConnections(database)
        coalescer = Coalescer[int, int]("nowhere", connections, echo, max_batch=1)
        answers = await asyncio.gather(*(ask(coalescer, number) for number in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseUnavailableError] * 3
        assert coalescer.statements == 1
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


async def test_kinds_take_turns_at_few_connections_and_what_comes_meanwhile_shares_the_next_statement(
    own_database: Database,
) -> None:
    connections = SharedConnections(own_database, limit=2)
    under_way: list[str] = []
    go_on = asyncio.Semaphore(0)

    def kind(name: str) -> Coalescer[int, int]:
        async def run(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
            under_way.append(f"{name} {len(items)}")
            await go_on.acquire()
            return items

        return Coalescer[int, int](name, connections, run)

    kinds = [kind(name) for name in "abcd"]
    asked = []
    for _ in range(3):
        asked += [ask(coalescer, 1) for coalescer in kinds]
        await until(lambda: len(under_way) == 2)
    # Either connection may be open first.
    assert sorted(under_way) == ["a 1", "b 1"]
    go_on.release()
    # The kind whose statement has ended asks again, behind the others.
    await until(lambda: under_way[2:] == ["c 3"])
    for _ in range(10):
        go_on.release()
    assert await asyncio.gather(*asked) == [1] * 12
    first, second = (begun[0] for begun in under_way[:2])
    assert under_way[3:] == ["d 3", f"{first} 2", f"{second} 2"]
    assert own_database.shared_connections == 2
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


async def test_what_was_committed_before_a_request_came_is_seen(own_database: Database) -> None:
    async def run(connection: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        rows = await connection.fetch(
            "SELECT k.n, u.id FROM unnest(CAST($1 AS bigint[])) WITH ORDINALITY AS k (id, n)"
            " LEFT JOIN users u ON u.id = k.id ORDER BY 1",
            list(items),
        )
        return [user_id for _, user_id in rows]

    connections = SharedConnections(own_database)
    coalescer = Coalescer[int, int]("see", connections, run)

    async def write_then_read(number: int) -> None:
        async with open_transaction(own_database) as session:
            inserted = await session.execute(
                text("INSERT INTO users (username, email, password_hash) VALUES (:n, :e, 'x') RETURNING id"),
                {"n": f"seen{number}", "e": f"seen{number}@example.com"},
            )
            user_id = inserted.scalar_one()
        for _ in range(5):
            assert await ask(coalescer, user_id) == user_id

    await asyncio.gather(*(write_then_read(number) for number in range(20)))
    assert coalescer.statements < coalescer.requests == 100
    async with open_transaction(own_database) as session:
        await session.execute(text("DELETE FROM users WHERE username LIKE 'seen%'"))
    await connections.close()

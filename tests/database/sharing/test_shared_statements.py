"""Statements that requests share: whoever is in one, none may harm another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import asyncpg
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.pools import Pool
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.sharing import Coalescer
from tests.support.coalescers import Statements, ask, until
from tests.support.sessions import open_connections, open_transaction

Run = Callable[[SharedConnection, Sequence[int]], Awaitable[Sequence[int | None]]]


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

    kind = Coalescer[int, int]("slow", connections, run, conflict_keys=lambda number: (number % 10,))
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
    assert open_connections(own_database, Pool.SHARED) == 1
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
    # The kind whose statement has ended asks again, and those whose first request came later have to wait.
    for begun in ("c 3", "d 3", "a 2", "b 2"):
        go_on.release()
        await until(partial(under_way.__contains__, begun))
    go_on.release()
    go_on.release()
    assert await asyncio.gather(*asked) == [1] * 12
    assert under_way[2:] == ["c 3", "d 3", "a 2", "b 2"]
    assert open_connections(own_database, Pool.SHARED) == 2
    await connections.close()


async def test_requests_of_a_kind_with_many_do_not_wait_behind_later_ones_of_other_kinds(
    own_database: Database,
) -> None:
    connections = SharedConnections(own_database, limit=1)
    under_way: list[list[int]] = []

    async def run(_: SharedConnection, items: Sequence[int]) -> Sequence[int | None]:
        under_way.append(list(items))
        await asyncio.sleep(0.01)
        return items

    frequent, *others = (Coalescer[int, int](name, connections, run, max_batch=2) for name in "fabc")
    asked = [ask(frequent, number) for number in range(6)]
    asked += [ask(other, 10) for other in others]
    await asyncio.gather(*asked)
    # Until it asks again, after a statement or for several, one of the others goes first.
    assert under_way == [[10], [0, 1], [10], [2, 3], [10], [4, 5]]
    await connections.close()


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

"""What a pooler before the server changes: how it is recognised, what it needs, and what must not be left behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import make_url

from taskmanager.commands.migrating import POOLER
from taskmanager.database.database import Database
from taskmanager.database.failures import describe_failure
from taskmanager.database.poolers import PoolerMode
from taskmanager.database.pools import Pool
from taskmanager.database.server_settings import UnfitConnectionError, connection_settings
from taskmanager.main import create_app
from tests.conftest import SECRET, make_settings
from tests.support.applications import started
from tests.support.command_line import run
from tests.support.databases import migrated, skip_without_superuser, temporary_database
from tests.support.pgbouncer import ROLE, PgBouncer, pgbouncer, set_up_role, wanted_mode
from tests.support.ports import free_port
from tests.support.server import connect, execute_on

pytestmark = pytest.mark.skipif(wanted_mode() is not None, reason="tests/database/test_poolers.py has its own poolers")
IGNORED = "extra_float_digits, " + ", ".join(
    {*connection_settings(make_settings(database_url="postgresql://x/y")), "plan_cache_mode", "enable_seqscan"}
    - {"application_name", "timezone"}
)


@asynccontextmanager
async def pooled_database(
    database_url: str, mode: str = "transaction", *, is_set_up: bool = True, **options: str
) -> AsyncIterator[tuple[PgBouncer, str, str]]:
    """Yield a pooler, the URL of a migrated database through it, and the URL of it without it."""
    connection = await connect(make_url(database_url))
    await skip_without_superuser(connection)
    await connection.close()
    await asyncio.to_thread(set_up_role, database_url, is_set_up=False)
    async with temporary_database(database_url, migrated(database_url)) as url:
        with pgbouncer(url, mode, **options) as pooler:
            if is_set_up:
                await set_for_role(url)
            yield pooler, pooler.url(url), url


async def set_for_role(url: str) -> None:
    name = make_url(url).database
    settings = Database(make_settings(database_url=url)).role_settings
    await asyncio.to_thread(execute_on, url, *settings.statements({"role": ROLE, "database": name}))


@asynccontextmanager
async def opened(url: str, pool: Pool = Pool.WRITING, **settings: Any) -> AsyncIterator[tuple[Database, Any]]:
    """Yield a database and one of its connections."""
    database = Database(make_settings(database_url=url, **settings))
    try:
        connection = await database.connect(pool)
        yield database, connection
        await connection.discard()
    finally:
        await database.dispose()


class TestRecognition:
    """The first connection finds out what lies before the server."""

    async def test_nothing(self, database_url: str) -> None:
        async with opened(database_url) as (database, _):
            assert database.pooler_mode is PoolerMode.NONE

    @pytest.mark.parametrize("ignored", ["", IGNORED])
    @pytest.mark.parametrize("round_robin", ["0", "1"])
    @pytest.mark.parametrize("mode", ["session", "transaction"])
    async def test_the_mode_of_a_pooler(self, database_url: str, mode: str, round_robin: str, ignored: str) -> None:
        async with pooled_database(
            database_url, mode, server_round_robin=round_robin, ignore_startup_parameters=ignored
        ) as (_, url, direct):
            for _ in range(2):  # with fewer and with more server connections
                async with opened(url) as (database, _), opened(url) as (_, _), opened(url, Pool.ALONE) as (_, _):
                    assert database.pooler_mode == mode
            connection = await connect(make_url(direct))
            assert await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", ROLE) > 0
            await connection.close()

    async def test_a_pooler_that_lets_no_second_client_in(self, database_url: str) -> None:
        async with pooled_database(database_url, "session", default_pool_size="1") as (_, url, _):
            with pytest.raises(UnfitConnectionError, match="its mode cannot be found out: set DATABASE_POOLER="):
                async with opened(url):
                    pass
            async with opened(url, database_pooler="none") as (database, connection):
                assert database.pooler_mode is PoolerMode.SESSION
                assert (await connection.fetch("SHOW statement_timeout"))[0][0] == "2s"

    async def test_a_pooler_that_is_put_before_the_server_later(self, database_url: str) -> None:
        async with pooled_database(database_url) as (_, url, direct), opened(direct) as (database, _):
            settings = make_settings(database_url=url)
            assert database.pooler_mode is PoolerMode.NONE
            moved = Database(settings)
            moved._engines._connector.mode = PoolerMode.NONE
            await (await moved.connect(Pool.SHARED)).close()
            assert moved.pooler_mode is PoolerMode.TRANSACTION
            await moved.dispose()

    async def test_a_setting_that_says_otherwise_is_named(self, database_url: str) -> None:
        async with (
            pooled_database(database_url, default_pool_size="4", server_round_robin="1") as (_, url, _),
            opened(url, database_pooler="none") as (_, connection),
            opened(url) as (_, other),
        ):

            async def ask() -> None:
                for number in range(20):
                    await connection.fetch(f"SELECT {number % 5}")
                    await asyncio.gather(other.fetch("SELECT pg_sleep(0.01)"), connection.fetch("SELECT 1"))

            with pytest.raises(asyncpg.PostgresError) as raised:
                await ask()
            assert "set DATABASE_POOLER=transaction" in describe_failure(raised.value)


class TestSessionMode:
    """A connection has what it needs without any set-up."""

    @pytest.mark.parametrize("ignored", ["", IGNORED])
    async def test_each_pool_has_its_own_settings(self, database_url: str, ignored: str) -> None:
        async with pooled_database(database_url, "session", is_set_up=False, ignore_startup_parameters=ignored) as (
            _,
            url,
            _,
        ):
            for pool, name, value in (
                (Pool.SHARED, "lock_timeout", "1100ms"),
                (Pool.SHARED, "enable_seqscan", "off"),
                (Pool.ALONE, "plan_cache_mode", "force_custom_plan"),
                (Pool.BATCHES, "lock_timeout", "25ms"),
                (Pool.BATCHES, "statement_timeout", "62ms"),
                (Pool.LONG, "statement_timeout", "1min"),
                (Pool.WRITING, "timezone", "UTC"),
                (Pool.WRITING, "work_mem", "64MB"),
            ):
                async with opened(url, pool) as (_, connection):
                    assert (await connection.fetch(f"SHOW {name}"))[0][0] == value
            async with started(create_app(make_settings(database_url=url))) as client:
                assert (await client.get("/readyz")).status_code == 200


class TestTransactionMode:
    """Nothing of a session is relied on, and nothing is left behind."""

    async def test_many_clients_share_two_server_connections(self, database_url: str) -> None:
        async with pooled_database(database_url, default_pool_size="2") as (_, url, _):
            databases = [Database(make_settings(database_url=url)) for _ in range(4)]
            held = [await database.connect(Pool.SHARED) for database in databases for _ in range(2)]

            async def ask(connection: Any, number: int) -> None:
                for n in range(50):
                    sql = f"SELECT CAST($1 AS bigint) + {n % 7} AS sum, CAST($2 AS text[]) AS words"
                    ((total, words),) = await connection.fetch(sql, number, ["a", "b"])
                    assert (total, words) == (number + n % 7, ["a", "b"])
                    if n % 10 == 0:
                        async with connection.transaction():
                            pids = {(await connection.fetch("SELECT pg_backend_pid()"))[0][0] for _ in range(5)}
                        assert len(pids) == 1

            await asyncio.gather(*(ask(connection, number) for number, connection in enumerate(held)))
            left = "SELECT pg_backend_pid(), (SELECT count(*) FROM pg_prepared_statements)"
            found = {tuple(row) for connection in held for row in await connection.fetch(left)}
            assert {count for _, count in found} == {0}
            for connection in held:
                await connection.close()
            for database in databases:
                await database.dispose()

    async def test_a_statement_is_one_message_from_its_second_time_on(self, database_url: str) -> None:
        async with pooled_database(database_url) as (_, url, _), opened(url) as (_, connection):
            driver_connection = connection._driver_connection
            prepared: list[str] = []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(driver_connection), "prepare", _recording(prepared), raising=True)
                for number in range(3):
                    assert (await connection.fetch("SELECT CAST($1 AS bigint)", number))[0][0] == number
            assert prepared == ["SELECT CAST($1 AS bigint)"]

    async def test_types_that_change_are_asked_for_anew(self, database_url: str) -> None:
        async with pooled_database(database_url) as (_, url, direct), opened(url) as (_, connection):
            await asyncio.to_thread(execute_on, direct, "CREATE TABLE changing AS SELECT CAST(1 AS integer) AS n")
            assert (await connection.fetch("SELECT n FROM changing"))[0][0] == 1
            await asyncio.to_thread(execute_on, direct, "ALTER TABLE changing ALTER n TYPE text USING 'one'")
            await asyncio.to_thread(execute_on, direct, "ALTER TABLE changing ADD m integer DEFAULT 2")
            with pytest.raises(Exception):  # noqa: B017  # whichever the driver makes of it
                await connection.fetch("SELECT n FROM changing")
            assert (await connection.fetch("SELECT n FROM changing"))[0][0] == "one"

    async def test_a_long_transaction_alone_may_take_longer(self, database_url: str) -> None:
        async with pooled_database(database_url) as (_, url, _), opened(url, Pool.LONG) as (_, connection):
            async with connection.transaction():
                assert (await connection.fetch("SHOW statement_timeout"))[0][0] == "1min"
            assert (await connection.fetch("SHOW statement_timeout"))[0][0] == "2s"

    async def test_a_batch_waits_less_and_leaves_nothing_behind(self, database_url: str) -> None:
        async with pooled_database(database_url) as (_, url, _), opened(url, Pool.BATCHES) as (_, connection):
            for _ in range(3):
                rows = await connection.fetch_each(
                    """
                    SELECT CAST($1 AS integer), current_setting('lock_timeout'), current_setting('statement_timeout'),
                           (SELECT count(*) FROM pg_prepared_statements), pg_current_xact_id()
                    """,
                    [(1,), (2,), (3,)],
                )
                assert [tuple(row)[:4] for row in rows] == [(n, "25ms", "62ms", 0) for n in (1, 2, 3)]
                assert len({row[4] for row in rows}) == 1
                assert (await connection.fetch("SHOW statement_timeout"))[0][0] == "2s"

    async def test_without_the_settings_of_the_role_nothing_is_served_and_the_block_of_doctor_heals_it(
        self, database_url: str, tmp_path: Path
    ) -> None:
        async with pooled_database(database_url, is_set_up=False) as (pooler, url, direct):
            environment = {"DATABASE_URL": url, "SECRET_KEY": SECRET, "DATABASE_DIRECT_URL": direct}
            reason = (
                "settings of the database role are not in force behind the pooler (statement_timeout is 0 ms instead "
                "of 2000 ms, lock_timeout is 0 ms instead of 1500 ms, idle_in_transaction_session_timeout is 0 ms "
                "instead of 10000 ms)"
            )
            served = run("serve", environment={**environment, "PORT": str(free_port())}, cwd=tmp_path)
            assert (served.returncode, served.stdout) == (2, "")
            assert served.stderr.splitlines() == [
                f"taskmanager: {reason}: paste what `taskmanager doctor` prints into psql, then RECONNECT in the pooler"
            ]
            examined = run("doctor", environment=environment, cwd=tmp_path)
            assert examined.returncode == 1
            lines = examined.stdout.splitlines()
            assert "ok       a pooler in transaction mode is before the database" in lines
            block = [line for line in lines if line.startswith("ALTER ROLE")]
            assert len(block) == 8
            assert next(line for line in lines if line.startswith("problem")).startswith(
                "problem  settings of the database role are not as they should be behind the pooler: statement_timeout,"
            )
            app = create_app(make_settings(database_url=url))
            async with started(app) as client:
                unready = await client.get("/readyz")
                assert (unready.status_code, reason in unready.text) == (503, True)
                assert (await client.post("/api/v1/token", data={"username": "a", "password": "b"})).status_code == 503
                await asyncio.to_thread(execute_on, direct, *block)
                await pooler.reconnect()
                async with asyncio.timeout(10):
                    while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110  # asked in intervals
                        await asyncio.sleep(0.1)
                assert (await client.post("/api/v1/token", data={"username": "a", "password": "b"})).status_code == 401
                # They are looked at for as long as the service runs.
                reset = f"ALTER ROLE {ROLE} IN DATABASE {make_url(direct).database} RESET statement_timeout"
                await asyncio.to_thread(execute_on, direct, reset)
                await pooler.reconnect()
                await asyncio.sleep(1.1)
                assert "statement_timeout is 0 ms" in (await client.get("/readyz")).text
                await asyncio.to_thread(execute_on, direct, *block)
                await pooler.reconnect()
            examined = run("doctor", environment=environment, cwd=tmp_path)
            assert examined.returncode == 0, examined.stdout
            assert "ok       the settings of the database role are in force behind the pooler" in examined.stdout


def _recording(prepared: list[str]) -> Any:
    async def prepare(self: Any, query: str, **options: Any) -> Any:
        prepared.append(query)
        return await asyncpg.Connection.prepare(self, query, **options)

    return prepare


class TestMigrations:
    """They need the server itself."""

    @pytest.mark.parametrize("ignored", ["", IGNORED + ", transaction_timeout, idle_session_timeout"])
    @pytest.mark.parametrize("mode", ["session", "transaction"])
    async def test_by_way_of_a_pooler_they_are_refused(
        self, database_url: str, tmp_path: Path, mode: str, ignored: str
    ) -> None:
        async with pooled_database(database_url, mode, ignore_startup_parameters=ignored) as (_, url, direct):
            refused = run("migrate", environment={"DATABASE_URL": url}, cwd=tmp_path)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert refused.stderr.splitlines() == [f"taskmanager: {POOLER}"]
            environment = {"DATABASE_URL": url, "DATABASE_DIRECT_URL": direct}
            done = run("migrate", environment=environment, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (0, "The schema is up to date.\n")

    def test_a_pooler_that_is_named_is_not_tried(self, database_url: str, tmp_path: Path) -> None:
        environment = {"DATABASE_URL": database_url, "DATABASE_POOLER": "transaction"}
        refused = run("migrate", environment=environment, cwd=tmp_path)
        assert (refused.returncode, refused.stderr) == (2, f"taskmanager: {POOLER}\n")


async def test_people_work_through_it(database_url: str) -> None:
    async with pooled_database(database_url, default_pool_size="3") as (_, url, _):
        settings = make_settings(database_url=url, database_pooler="transaction")
        async with started(create_app(settings)) as client:
            person = {"username": "alice", "email": "alice@example.com", "password": "a long password"}
            assert (await client.post("/api/v1/users", json=person)).status_code == 201
            login = await client.post("/api/v1/token", data={"username": "alice", "password": "a long password"})
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"

            async def work(number: int) -> httpx.Response:
                made = await client.post("/api/v1/tasks", json={"title": f"Task {number}"})
                return await client.get(made.headers["Location"])

            answers = await asyncio.gather(*(work(number) for number in range(60)))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.json()["title"] for answer in answers} == {f"Task {number}" for number in range(60)}
            # On the connection for what takes long.
            project = (await client.post("/api/v1/projects", json={"name": "To be deleted"})).json()["id"]
            assert (await client.delete(f"/api/v1/projects/{project}")).status_code in {204, 428}

"""A migration that was interrupted, wherever it was, goes on when it is started again; what holds it up is named."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from taskmanager.database.database import SCHEMA_REVISION
from taskmanager.database.migration_files import migrations_directory
from taskmanager.database.schema_migrations import alembic_config
from tests.support.catalogue import catalogue_of
from tests.support.databases import skip_without_superuser
from tests.support.killed_migrations import Migrations
from tests.support.old_transactions import old_transaction, until_it_waits
from tests.support.server import connect, execute_on

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
KILLED = -signal.SIGKILL
LEFT_BY_0003 = ScriptDirectory(str(migrations_directory())).get_revision("0003").module._TABLES


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    """A connection to it, of somebody who is named."""
    connection = await connect(make_url(url))
    await connection.execute("SET application_name = 'report'")
    yield connection
    connection.terminate()


@pytest.fixture
async def observer(url: str) -> AsyncIterator[Connection]:
    """Another one, which looks on."""
    connection = await connect(make_url(url))
    yield connection
    connection.terminate()


async def migrate_to(url: str, revision: str) -> None:
    await asyncio.to_thread(command.upgrade, alembic_config(url), revision)


async def indexes_of(connection: Connection) -> dict[str, int]:
    """Return the valid indexes, by name, and which they are."""
    rows = await connection.fetch(
        "SELECT relname, indexrelid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indisvalid"
    )
    return {row["relname"]: row["indexrelid"] for row in rows}


async def kill_everywhere(migrations: Migrations, url: str) -> tuple[int, int]:
    """Migrate, killed before each COMMIT; return how often, and how many different states were left.

    What a killed one has committed is where the next one goes on from; if nothing shows, the next one lives longer.
    To die before the first COMMIT leaves what the one before left.
    """
    number, kills, states, seen = 2, 0, 0, await catalogue_of(url)
    while (outcome := await asyncio.to_thread(migrations.run, url, die_at=number)) != (0, ""):
        assert outcome == (KILLED, "")
        kills += 1
        assert kills < 300, "it does not go on"
        if (left := await catalogue_of(url)) == seen:
            number += 1
        else:
            number, states, seen = 2, states + 1, left
    return kills, states


class TestKill:
    """kill -9."""

    @pytest.mark.takes_long
    async def test_before_every_commit(self, url: str, migrations: Migrations, database_url: str) -> None:
        kills, states = await kill_everywhere(migrations, url)
        assert await catalogue_of(url) == await catalogue_of(database_url)
        assert kills > 50
        assert states > 40

    async def test_while_the_server_is_at_a_statement(
        self, url: str, connection: Connection, observer: Connection, migrations: Migrations, database_url: str
    ) -> None:
        await migrate_to(url, "0002")
        async with old_transaction(connection):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "taskmanager", "migrate"), env={**os.environ, "DATABASE_URL": url}
            )
            killed = await until_it_waits(observer)
            process.kill()
            await process.wait()
            # The server has not noticed yet, so the next one waits for its turn, and then for the transaction.
            again = asyncio.create_task(asyncio.to_thread(migrations.run, url))
            assert await until_it_waits(observer) == killed
            async with asyncio.timeout(30):
                while await until_it_waits(observer) == killed:  # noqa: ASYNC110  # the server looks in intervals
                    await asyncio.sleep(0.05)
            assert not again.done()
        assert await again == (0, "")
        assert await catalogue_of(url) == await catalogue_of(database_url)


class TestLeftBehind:
    """What versions that committed the tables before the indexes left at revision 0002."""

    @pytest.fixture
    async def left(self, url: str, connection: Connection, observer: Connection) -> str:
        """A database with those tables, one index that is valid and one that is not."""
        await migrate_to(url, "0002")
        for statement in ("CREATE EXTENSION pg_trgm", "CREATE EXTENSION btree_gin", *LEFT_BY_0003):
            await connection.execute(statement)
        await connection.execute("CREATE INDEX tasks_updated_at_idx ON tasks (project_id, updated_at, created_at, id)")
        async with old_transaction(observer):
            await connection.execute("SET lock_timeout = '100ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await connection.execute("CREATE INDEX CONCURRENTLY tasks_priority_idx ON tasks (priority)")
        assert "tasks_priority_idx" not in await indexes_of(connection)
        return url

    async def test_it_comes_through(
        self, left: str, connection: Connection, migrations: Migrations, database_url: str
    ) -> None:
        before = await indexes_of(connection)
        assert await asyncio.to_thread(migrations.run, left) == (0, "")
        assert await catalogue_of(left) == await catalogue_of(database_url)
        # What was complete is not built again.
        assert (await indexes_of(connection))["tasks_updated_at_idx"] == before["tasks_updated_at_idx"]

    CHANGES = {
        "notifications": "DROP TABLE notifications; CREATE TABLE notifications (colour text)",
        "idempotency_keys": """
            INSERT INTO users (deleted_at) VALUES (now());
            INSERT INTO idempotency_keys SELECT id, '', '', 'key', '', NULL, NULL, 200, '{}', '' FROM users
        """,
    }

    @pytest.mark.parametrize("table", CHANGES)
    async def test_a_table_of_somebody_else_or_with_rows_stays(
        self, left: str, connection: Connection, migrations: Migrations, table: str
    ) -> None:
        await connection.execute(self.CHANGES[table])
        before = await connection.fetch(f"SELECT * FROM {table}")
        code, error = await asyncio.to_thread(migrations.run, left)
        assert (code, len(error.splitlines())) == (1, 1)
        assert f'relation "{table}" already exists' in error
        assert await connection.fetch(f"SELECT * FROM {table}") == before


class TestOldTransaction:
    """One that is open elsewhere in the database: CREATE INDEX CONCURRENTLY waits for its end."""

    async def test_it_is_waited_for(
        self, url: str, connection: Connection, observer: Connection, migrations: Migrations
    ) -> None:
        await migrate_to(url, "0002")
        async with old_transaction(connection):
            migration = asyncio.create_task(asyncio.to_thread(migrations.run, url))
            pid = await until_it_waits(observer)
            # Longer than it waits for a table; writers go on meanwhile.
            await observer.execute("SET lock_timeout = '200ms'; INSERT INTO projects (name) VALUES ('New')")
            await asyncio.sleep(1.5)
            assert await until_it_waits(observer) == pid
        assert await migration == (0, "")

    async def test_it_is_named_when_patience_ends(
        self, url: str, connection: Connection, migrations: Migrations, database_url: str
    ) -> None:
        await migrate_to(url, "0002")
        async with old_transaction(connection):
            code, error = await asyncio.to_thread(migrations.run, url, patience_seconds=1)
        assert (code, len(error.splitlines())) == (1, 1)
        assert f"taskmanager: waited 1 s for backend {connection.get_server_pid()} (report, role " in error
        assert " s): end that, then run `taskmanager migrate` again" in error
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert await catalogue_of(url) == await catalogue_of(database_url)

    async def test_one_that_holds_a_table_is_named_too(
        self, url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from taskmanager.commands.migrating import TableLockedError, migrate_schema

        await migrate_to(url, "0001")
        monkeypatch.setattr("taskmanager.commands.migrating._TRIES", 2)
        async with connection.transaction():
            await connection.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
            with pytest.raises(TableLockedError, match=f"locked by backend {connection.get_server_pid()} .report,"):
                await asyncio.to_thread(migrate_schema, url)
        await asyncio.to_thread(migrate_schema, url)

    async def test_another_migration_is_named(self, url: str, connection: Connection, migrations: Migrations) -> None:
        from taskmanager.commands.migrating import _ADVISORY_LOCK

        await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
        code, error = await asyncio.to_thread(migrations.run, url, patience_seconds=1)
        assert (code, len(error.splitlines())) == (1, 1)
        assert f"waited 1 s for another migration, backend {connection.get_server_pid()} (report" in error


class TestServer:
    """Settings that were made for requests, and a server that runs out of room."""

    SETTINGS = {
        "statement_timeout": "1ms",
        "lock_timeout": "1ms",
        "transaction_timeout": "1ms",
        "idle_in_transaction_session_timeout": "1ms",
        "idle_session_timeout": "1ms",
    }

    @pytest.mark.parametrize("whose", ["DATABASE {database}", "ROLE {user} IN DATABASE {database}"])
    async def test_time_outs_of_the_role_or_the_database_do_not_hold(
        self, url: str, migrations: Migrations, whose: str, database_url: str
    ) -> None:
        target = make_url(url)
        whose = whose.format(database=target.database, user=target.username)
        settings = [f"ALTER {whose} SET {name} = '{value}'" for name, value in self.SETTINGS.items()]
        await asyncio.to_thread(execute_on, database_url, *settings)
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        await asyncio.to_thread(execute_on, database_url, f"ALTER {whose} RESET ALL")
        assert await catalogue_of(url) == await catalogue_of(database_url)

    async def test_a_full_disk_is_named(self, url: str, connection: Connection, migrations: Migrations) -> None:
        await skip_without_superuser(connection)
        await migrate_to(url, "0002")
        await connection.execute("""
            CREATE FUNCTION fill() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE 'could not extend file "base/16384/16385": No space left on device'
                USING ERRCODE = '53100', HINT = 'Check free disk space.';
            END $$;
            CREATE EVENT TRIGGER full_disk ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION fill();
        """)
        code, error = await asyncio.to_thread(migrations.run, url)
        assert code == 1
        assert error == (
            'taskmanager: the disk of the database is full (could not extend file "base/16384/16385": No space left '
            "on device): make room, then run `taskmanager migrate` again, it goes on from here\n"
        )
        await connection.execute("DROP EVENT TRIGGER full_disk; DROP FUNCTION fill()")
        assert await asyncio.to_thread(migrations.run, url) == (0, "")

    async def test_an_index_that_found_no_room_is_built_again(
        self, url: str, connection: Connection, migrations: Migrations, database_url: str
    ) -> None:
        await skip_without_superuser(connection)
        await migrate_to(url, "0002")
        await connection.execute("""
            INSERT INTO projects (name) VALUES ('Large');
            INSERT INTO tasks (project_id, title) SELECT projects.id, repeat('long ', 30) || n
            FROM projects, generate_series(1, 20000) n
        """)
        name = make_url(url).database
        limits = [
            f"ALTER DATABASE {name} SET {limit}" for limit in ("temp_file_limit = 0", "maintenance_work_mem = 64")
        ]
        await asyncio.to_thread(execute_on, database_url, *limits)
        code, error = await asyncio.to_thread(migrations.run, url)
        assert (code, len(error.splitlines())) == (1, 1)
        assert "temporary file size exceeds" in error
        await asyncio.to_thread(execute_on, database_url, f"ALTER DATABASE {name} RESET ALL")
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert await catalogue_of(url) == await catalogue_of(database_url)

    @pytest.mark.parametrize(
        ("end", "exit_code", "told"),
        [
            ("pg_cancel_backend", 1, "the database stopped the migration (canceling statement due to user request)"),
            ("pg_terminate_backend", 2, "the connection to the database is lost: "),
        ],
    )
    async def test_what_an_administrator_ends_can_be_run_again(
        self,
        url: str,
        connection: Connection,
        observer: Connection,
        migrations: Migrations,
        end: str,
        exit_code: int,
        told: str,
    ) -> None:
        await migrate_to(url, "0002")
        async with old_transaction(connection):
            migration = asyncio.create_task(asyncio.to_thread(migrations.run, url))
            pid = await until_it_waits(observer)
            await observer.execute(f"SELECT {end}($1)", pid)
            code, error = await migration
        assert (code, len(error.splitlines())) == (exit_code, 1)
        assert error.startswith(f"taskmanager: {told}")
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert await connection.fetchval("SELECT version_num FROM taskmanager_schema") == SCHEMA_REVISION

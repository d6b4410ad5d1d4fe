"""Whose database it is: this service's is known by its structure, at every revision; others stay as they are."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest
from alembic import command
from sqlalchemy import make_url

from taskmanager.database.database import SCHEMA_REVISION, Database, SchemaError
from taskmanager.database.schema_migrations import alembic_config
from tests.conftest import make_settings
from tests.support.catalogue import Catalogue, catalogue_of, without_extensions, without_version
from tests.support.databases import skip_without_superuser
from tests.support.killed_migrations import Migrations
from tests.support.server import connect

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
OURS = ("0001", "0002", "0003", "0004")
ALEMBIC = "CREATE TABLE alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY)"


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    """A connection to it."""
    connection = await connect(make_url(url))
    yield connection
    connection.terminate()


async def check(url: str) -> str:
    """Return what the service says of the schema before it starts."""
    database = Database(make_settings(database_url=url))
    try:
        return await database.check_schema()
    except SchemaError as error:
        return str(error)
    finally:
        await database.dispose()


async def contents(url: str, connection: Connection) -> tuple[Catalogue, list["list[asyncpg.Record]"]]:
    """Return all that a migration could change."""
    versions = [
        await connection.fetch(f"SELECT * FROM {name}")
        for name in ("alembic_version", "taskmanager_schema")
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name)
    ]
    return await catalogue_of(url), versions


async def make_as_before(connection: Connection, url: str, revision: str) -> None:
    """Bring a database to a revision as versions without taskmanager_schema did."""
    await asyncio.to_thread(command.upgrade, alembic_config(url), revision)
    await connection.execute("DROP VIEW alembic_version; ALTER TABLE taskmanager_schema RENAME TO alembic_version")


class TestOtherApplications:
    """Nothing is written there."""

    ALIKE = "CREATE TABLE users (id int, username text, email text); CREATE TABLE tasks (id int, title text)"

    @pytest.mark.parametrize("revision", [*OURS, "ae1027a6acf"])
    @pytest.mark.parametrize("tables", ["CREATE TABLE articles (id int)", ALIKE])
    async def test_at_any_revision(
        self, url: str, connection: Connection, migrations: Migrations, revision: str, tables: str
    ) -> None:
        await connection.execute(f"{ALEMBIC}; INSERT INTO alembic_version VALUES ('{revision}'); {tables}")
        before = await contents(url, connection)
        refusal = f"the database belongs to another application, which left it at revision {revision}"
        assert await asyncio.to_thread(migrations.run, url) == (2, f"taskmanager: {refusal}\n")
        assert await check(url) == refusal
        assert await contents(url, connection) == before

    @pytest.mark.parametrize(
        ("made", "named"),
        [
            (ALIKE, "tasks, users"),
            ("CREATE TABLE articles (id int); CREATE INDEX tasks_id_idx ON articles (id)", "tasks_id_idx"),
            ("CREATE TYPE tasks AS ENUM ('one')", "tasks"),
            ("CREATE VIEW comments AS SELECT 1", "comments"),
        ],
    )
    async def test_without_alembic(
        self, url: str, connection: Connection, migrations: Migrations, made: str, named: str
    ) -> None:
        await connection.execute(made)
        before = await contents(url, connection)
        code, error = await asyncio.to_thread(migrations.run, url)
        assert (code, len(error.splitlines())) == (2, 1)
        assert error.startswith(f"taskmanager: the database has {named} of another application, or ")
        assert await contents(url, connection) == before

    @pytest.mark.parametrize(
        ("made", "refusal"),
        [
            (f"{ALEMBIC}; CREATE TABLE articles (id int)", "which left it at revision none"),
            (f"{ALEMBIC}; INSERT INTO alembic_version VALUES ('a'), ('b')", "which left it at revision a, b"),
            ("CREATE VIEW alembic_version AS SELECT '0004' AS version_num", "which has its own alembic_version"),
            ("CREATE TABLE taskmanager_schema (id int, version_num text)", "which has its own taskmanager_schema"),
            (
                "CREATE VIEW taskmanager_schema AS SELECT '0004' version_num",
                "which has its own taskmanager_schema",
            ),
            ("CREATE TABLE taskmanager_schema AS SELECT '0004' version_num", "which left it at revision 0004"),
        ],
    )
    async def test_with_version_tables_of_their_own(
        self, url: str, connection: Connection, migrations: Migrations, made: str, refusal: str
    ) -> None:
        await connection.execute(made)
        before = await contents(url, connection)
        refusal = f"the database belongs to another application, {refusal}"
        assert await asyncio.to_thread(migrations.run, url) == (2, f"taskmanager: {refusal}\n")
        assert await check(url) == refusal
        assert await contents(url, connection) == before

    async def test_tables_of_other_names_are_no_hindrance(
        self, url: str, connection: Connection, migrations: Migrations, database_url: str
    ) -> None:
        await connection.execute("CREATE TABLE articles (id int)")
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert {row for row in await catalogue_of(url) if row[1] != "articles"} == await catalogue_of(database_url)
        assert await check(url) == SCHEMA_REVISION

    async def test_another_schema_of_the_search_path_is_none(
        self, url: str, connection: Connection, migrations: Migrations, database_url: str
    ) -> None:
        await connection.execute(f"{ALEMBIC}; INSERT INTO alembic_version VALUES ('0004'); {self.ALIKE}")
        others = await contents(url, connection)
        name = make_url(url).database
        await connection.execute(f"CREATE SCHEMA ours; ALTER DATABASE {name} SET search_path = ours, public")
        assert "at revision none and this version needs" in await check(url)
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert await check(url) == SCHEMA_REVISION
        catalogue, versions = await contents(url, connection)
        assert without_extensions(catalogue) == without_extensions(others[0])
        assert versions == others[1]


class TestHandOver:
    """`taskmanager_schema` has the revision, `alembic_version` shows it to versions that know no other."""

    async def test_a_new_database(self, connection: Connection, url: str, migrations: Migrations) -> None:
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        kinds = await connection.fetch(
            "SELECT relname, relkind FROM pg_class WHERE relname IN ('alembic_version', 'taskmanager_schema') "
            "ORDER BY relname"
        )
        assert [tuple(row) for row in kinds] == [("alembic_version", b"v"), ("taskmanager_schema", b"r")]

    @pytest.mark.parametrize("revision", OURS)
    async def test_from_every_revision_killed_before_and_after_its_commit(
        self, connection: Connection, url: str, migrations: Migrations, revision: str, database_url: str
    ) -> None:
        await make_as_before(connection, url, revision)
        expected = SCHEMA_REVISION if revision == SCHEMA_REVISION else f"revision {revision} and this version needs"
        assert expected in await check(url)
        for number in (1,) if revision == SCHEMA_REVISION else (1, 2):
            assert (await asyncio.to_thread(migrations.run, url, die_at=number))[0] == -9
            # What an old version asks, and the new one sees the same.
            assert await connection.fetchval("SELECT version_num FROM alembic_version") == revision
            assert expected in await check(url)
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert without_version(await catalogue_of(url)) == without_version(await catalogue_of(database_url))
        for name in ("alembic_version", "taskmanager_schema"):
            assert await connection.fetchval(f"SELECT version_num FROM {name}") == SCHEMA_REVISION

    async def test_the_view_can_be_written(self, connection: Connection, url: str, migrations: Migrations) -> None:
        await make_as_before(connection, url, "0004")
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        for change, left in (
            (f"UPDATE alembic_version SET version_num = 'next' WHERE version_num = '{SCHEMA_REVISION}'", ["next"]),
            ("DELETE FROM alembic_version WHERE version_num = 'next'", []),
            ("INSERT INTO alembic_version (version_num) VALUES ('0001')", ["0001"]),
        ):
            assert (await connection.execute(change)).endswith(" 1")
            rows = await connection.fetch("SELECT version_num FROM taskmanager_schema")
            assert [row["version_num"] for row in rows] == left

    async def test_who_could_read_and_write_it_still_can(
        self, connection: Connection, url: str, migrations: Migrations
    ) -> None:
        await skip_without_superuser(connection)
        await make_as_before(connection, url, "0004")
        name = f"Role of {make_url(url).database}"
        await connection.execute(f'CREATE ROLE "{name}"')
        try:
            await connection.execute(f'ALTER TABLE alembic_version OWNER TO "{name}"')
            await connection.execute("GRANT SELECT ON alembic_version TO PUBLIC")
            assert await asyncio.to_thread(migrations.run, url) == (0, "")
            await connection.execute(f'SET ROLE "{name}"')
            await connection.execute("UPDATE alembic_version SET version_num = '0004'")
            await connection.execute("RESET ROLE; SET ROLE pg_monitor")
            assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0004"
        finally:
            await connection.execute(f'RESET ROLE; DROP OWNED BY "{name}" CASCADE; DROP ROLE "{name}"')

    async def test_an_empty_table_of_a_migration_that_never_began(
        self, connection: Connection, url: str, migrations: Migrations
    ) -> None:
        await connection.execute(ALEMBIC)
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == SCHEMA_REVISION

    async def test_a_table_that_another_application_makes_later_is_its_own(
        self, connection: Connection, url: str, migrations: Migrations
    ) -> None:
        await asyncio.to_thread(command.upgrade, alembic_config(url), "0003")
        await connection.execute(f"DROP VIEW alembic_version; {ALEMBIC}; INSERT INTO alembic_version VALUES ('ae10')")
        assert "revision 0003 and this version needs" in await check(url)
        assert await asyncio.to_thread(migrations.run, url) == (0, "")
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "ae10"
        assert await check(url) == SCHEMA_REVISION

"""Databases that the service cannot work with: each command and probe says what is wrong, truly, and how to mend it."""

import asyncio
import re
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import make_url

import taskmanager
from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level
from taskmanager.database.checks import NAMED_SEQUENCES, UNUSED_RIGHTS, read_state, table_modules
from taskmanager.database.database import SCHEMA_REVISION, Base, Database
from taskmanager.database.schema_migrations import alembic_config
from taskmanager.main import create_app
from tests.conftest import make_settings
from tests.support.applications import started, without_lifespan
from tests.support.database_reports import (
    SELECT_ALL,
    SEQUENCE,
    WRITE_ALL,
    ask_readiness,
    execute,
    outcome,
    problems_of,
    readiness_of,
    use_everything,
)
from tests.support.databases import migrated, temporary_database, temporary_role
from tests.support.server import connect

pytestmark = pytest.mark.usefixtures("fresh_readiness")


class TestEncoding:
    """Everything but UTF8 is refused, by `migrate` before anything is written."""

    @pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
    async def test_an_encoding_that_cannot_hold_every_text(
        self, database_url: str, tmp_path: Path, encoding: str
    ) -> None:
        options = f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        reason = f"the encoding of the database is {encoding} and must be UTF8"
        async with temporary_database(database_url, options) as url:
            (problem,) = [found for found in await problems_of(url) if "encoding" in found]
            assert problem.startswith(f"{reason}: CREATE DATABASE")
            assert await outcome(url, tmp_path, "migrate") == (2, f"taskmanager: {problem}\n")
            assert await outcome(url, tmp_path, "serve") == (2, f"taskmanager: {problem}\n")
            assert await readiness_of(url) == (503, reason)
            connection = await connect(make_url(url))
            assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
            await connection.close()

    async def test_the_remedy_makes_a_database_that_is_good(self, database_url: str) -> None:
        options = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        async with temporary_database(database_url, options) as url:
            (problem,) = [found for found in await problems_of(url) if "encoding" in found]
        match = re.search("CREATE DATABASE taskmanager_utf8 (.*?), move", problem)
        assert match
        async with temporary_database(database_url, match[1]) as url:
            behind = f"is at revision none and this version needs {SCHEMA_REVISION}: run `taskmanager migrate`"
            assert await problems_of(url) == [f"the database schema {behind}"]

    async def test_a_locale_that_knows_ascii_only_is_a_warning(self, database_url: str) -> None:
        async with temporary_database(database_url, "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'") as url:
            findings = await examine_database(make_settings(database_url=url), 1)
        assert [finding.level for finding in findings if "the locale of the database" in finding.message] == [
            Level.WARNING
        ]


class TestRights:
    """A role needs rights on every table; what is printed is what it needs."""

    async def test_a_role_that_may_only_read(self, database_url: str, tmp_path: Path) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, SELECT_ALL) as url,
        ):
            (problem,) = await problems_of(url)
            tables = [table.name for table in Base.metadata.sorted_tables]
            assert problem.startswith(
                f"the database role lacks rights on {', '.join(sorted([*tables, 'tasks_id_seq']))}"
            )
            assert await outcome(url, tmp_path, "serve") == (2, f"taskmanager: {problem}\n")
            code, printed = await outcome(url, tmp_path, "doctor")
            assert (code, f"problem  {problem}\n" in printed) == (1, True)
            status, reason = await readiness_of(url)
            assert (status, reason) == (503, problem.partition(":")[0])
            assert str(make_url(url).username) not in reason
            # It has nothing to do, and says so.
            assert await outcome(url, tmp_path, "migrate") == (0, "The schema is up to date.\n")

    async def test_what_is_printed_is_enough(self, database_url: str) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner) as url,
        ):
            app = create_app(make_settings(database_url=url))
            async with without_lifespan(app) as client:
                assert (await ask_readiness(client))[0] == 503
                grants = [found.partition(": ")[2] for found in await problems_of(url) if ": GRANT " in found]
                await execute(owner, *grants)
                assert await problems_of(url) == []
                assert await ask_readiness(client) == (200, "")
            assert not any("DELETE ON public.users" in grant for grant in grants)
            async with started(create_app(make_settings(database_url=url))) as client:
                await use_everything(client)

    @pytest.mark.parametrize(
        ("revoked", "reason", "remedy"),
        [
            ("DELETE ON comments", "lacks rights on comments", "GRANT DELETE ON public.comments TO {role}"),
            ("SELECT ON users", "lacks rights on users", "GRANT SELECT ON public.users TO {role}"),
            (
                "USAGE ON SEQUENCE tasks_id_seq",
                "lacks rights on tasks_id_seq",
                "GRANT USAGE ON SEQUENCE public.tasks_id_seq TO {role}",
            ),
            (
                "SELECT ON taskmanager_schema",
                "may not read the table public.taskmanager_schema",
                "GRANT SELECT ON public.taskmanager_schema TO {role}",
            ),
        ],
    )
    async def test_a_role_that_lacks_one_right(self, database_url: str, revoked: str, reason: str, remedy: str) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, WRITE_ALL, SEQUENCE, f"REVOKE {revoked} FROM {{role}}") as url,
        ):
            role = make_url(url).username
            (problem,) = [found for found in await problems_of(url) if ": GRANT" in found]
            assert problem == f"the database role {reason}: {remedy.format(role=role)}"
            assert await readiness_of(url) == (503, f"the database role {reason}")
            await execute(owner, problem.partition(": ")[2])
            assert await readiness_of(url) == (200, "")

    async def test_a_schema_that_may_not_be_used(self, database_url: str) -> None:
        grants = (WRITE_ALL, SEQUENCE, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, *grants) as url,
        ):
            assert await readiness_of(url) == (503, "the database role may not use the schema public")
            (problem,) = [found for found in await problems_of(url) if "USAGE" in found]
            await execute(owner, problem.partition(": ")[2])
            assert await readiness_of(url) == (200, "")

    @pytest.mark.parametrize(("right", "reason"), [("DELETE", "users"), ("INSERT", "event_log")])
    async def test_rights_that_are_not_used_are_not_needed(self, database_url: str, right: str, reason: str) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, WRITE_ALL, SEQUENCE, f"REVOKE {right} ON {reason} FROM {{role}}") as url,
        ):
            assert await readiness_of(url) == (200, "")

    def test_every_table_is_looked_at(self) -> None:
        assert {mapper.class_.__module__ for mapper in Base.registry.mappers} <= set(table_modules())
        assert Base.metadata.tables.keys() >= {"rate_limits", "idempotency_keys", "notifications", "api_keys"}

    def test_what_is_left_out_is_in_no_statement(self) -> None:
        source = "\n".join(path.read_text() for path in Path(taskmanager.__file__).parent.rglob("*.py"))
        for table, right in UNUSED_RIGHTS:
            verb = {"DELETE": r"DELETE\s+FROM", "UPDATE": "UPDATE", "INSERT": r"INSERT\s+INTO"}[right]
            assert re.search(rf"\b{verb}\s+{table}\b", source) is None
        assert set(re.findall(r"nextval\('(\w+)'\)", source)) == set(NAMED_SEQUENCES)


class TestMigrate:
    """`migrate` says what it may not do before it begins."""

    async def test_no_right_to_create_tables(self, database_url: str, tmp_path: Path) -> None:
        async with temporary_database(database_url) as owner, temporary_role(owner) as url:
            role = make_url(url).username
            reason = "the database role may not create tables in the schema public"
            line = f"taskmanager: {reason}: GRANT CREATE ON SCHEMA public TO {role}\n"
            assert await outcome(url, tmp_path, "migrate") == (2, line)

    async def test_no_right_to_create_extensions(self, database_url: str, tmp_path: Path) -> None:
        async with (
            temporary_database(database_url) as owner,
            temporary_role(owner, "GRANT CREATE ON SCHEMA public TO {role}") as url,
        ):
            code, line = await outcome(url, tmp_path, "migrate")
            start = "taskmanager: the database role may not create the extensions btree_gin and pg_trgm: "
            assert (code, line[: len(start)]) == (2, start)
            await execute(owner, line[len(start) :].partition(", or")[0])
            assert await outcome(url, tmp_path, "migrate") == (0, "The schema is up to date.\n")
            assert await problems_of(url) == []
            # `temporary_role` drops what the role owns, and nobody else may use it before.
            await execute(url, "DROP OWNED BY CURRENT_USER")

    async def test_an_extension_where_the_search_path_does_not_lead(self, database_url: str, tmp_path: Path) -> None:
        async with temporary_database(database_url) as url:
            await execute(url, "CREATE SCHEMA others", "CREATE EXTENSION pg_trgm SCHEMA others")
            code, line = await outcome(url, tmp_path, "migrate")
            start = "taskmanager: the extension pg_trgm is in the schema others, where the search_path does not lead: "
            assert (code, line[: len(start)]) == (2, start)
            await execute(url, line[len(start) :].partition(",")[0])
            # The classes of btree_gin are found wherever they are.
            await execute(url, "CREATE EXTENSION btree_gin SCHEMA others")
            assert await outcome(url, tmp_path, "migrate") == (0, "The schema is up to date.\n")

    async def test_tables_of_another_role(self, database_url: str, tmp_path: Path) -> None:
        async with (
            temporary_database(database_url) as owner,
            temporary_role(owner, "GRANT CREATE ON SCHEMA public TO {role}") as url,
        ):
            await asyncio.to_thread(command.upgrade, alembic_config(owner), "0003")
            await execute(owner, WRITE_ALL.format(role=make_url(url).username))
            code, line = await outcome(url, tmp_path, "migrate")
            assert (code, line.partition(":")[0]) == (2, "taskmanager")
            assert "the database role does not own api_keys, comments" in line


async def test_the_service_works_without_what_only_indexes_need(database_url: str) -> None:
    async with temporary_database(database_url, migrated(database_url)) as url:
        await execute(url, "CREATE SCHEMA others", "ALTER EXTENSION pg_trgm SET SCHEMA others")
        (problem,) = await problems_of(url)
        assert "ALTER EXTENSION pg_trgm SET SCHEMA public" in problem
        async with started(create_app(make_settings(database_url=url))) as client:
            assert await ask_readiness(client) == (200, "")
            await use_everything(client)
        await execute(url, "DROP EXTENSION pg_trgm CASCADE")
        (problem,) = await problems_of(url)
        assert problem.startswith("the extension pg_trgm is missing: CREATE EXTENSION pg_trgm")
        assert await readiness_of(url) == (200, "")


async def test_the_state_is_one_round_trip(database_url: str) -> None:
    database = Database(make_settings(database_url=database_url))
    async with database.reader() as session:
        state = await read_state(session, Base.metadata)
    assert database.meter.statements == 1
    await database.dispose()
    faults = [*state.server_faults(), *state.right_faults(), *state.extension_faults(), *state.creation_faults()]
    assert faults == []

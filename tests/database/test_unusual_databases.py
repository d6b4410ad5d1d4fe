"""Databases unlike that of the other tests: locales, rights of single tables, and servers that wake up slowly."""

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url

from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level
from taskmanager.database.checks import UNUSED_RIGHTS, read_state
from taskmanager.database.database import Base, Database
from taskmanager.main import create_app
from tests.conftest import make_settings
from tests.support.applications import started
from tests.support.database_reports import (
    SEQUENCE,
    WRITE_ALL,
    ask_readiness,
    execute,
    outcome,
    problems_of,
    readiness_of,
    use_everything,
)
from tests.support.databases import migrated, slow_way, temporary_database, temporary_role

pytestmark = pytest.mark.usefixtures("fresh_readiness")
WAKING_SECONDS = 5.0


class TestLocales:
    """The service works in any; where searches differ, `doctor` says so."""

    @pytest.mark.parametrize(
        ("locale", "is_poor"),
        [
            ("LOCALE 'C'", True),
            ("LOCALE 'C.UTF-8'", False),
            ("LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'", False),
            ("LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C.UTF-8'", False),
            ("LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LOCALE 'C.UTF-8'", False),
            ("LOCALE_PROVIDER libc LOCALE 'tr_TR.UTF-8'", False),
        ],
    )
    async def test_letters(self, database_url: str, tmp_path: Path, locale: str, is_poor: bool) -> None:
        try:
            async with temporary_database(database_url, f"TEMPLATE template0 ENCODING 'UTF8' {locale}") as url:
                assert await outcome(url, tmp_path, "migrate") == (0, "The schema is up to date.\n")
                findings = await examine_database(make_settings(database_url=url), 1)
                warnings = [one.message for one in findings if one.level is Level.WARNING and "locale" in one.message]
                assert len(warnings) == is_poor
                assert await problems_of(url) == []
                async with started(create_app(make_settings(database_url=url))) as client:
                    await use_everything(client)
        except asyncpg.PostgresError as error:
            if "ICU is not supported" not in str(error) and "invalid LC_" not in str(error):
                raise
            pytest.skip("the server does not know this locale")


class TestRights:
    """Every right on every table counts, and so does the right to connect."""

    async def test_each_right_that_is_missing_is_named(self, database_url: str) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, WRITE_ALL, SEQUENCE) as url,
        ):
            role = make_url(url).username
            database = Database(make_settings(database_url=url))
            for table in Base.metadata.sorted_tables:
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                    await execute(owner, f"REVOKE {right} ON {table.name} FROM {role}")
                    async with database.reader() as session:
                        faults = [str(fault) for fault in (await read_state(session, Base.metadata)).right_faults()]
                    grant = f"GRANT {right} ON public.{table.name} TO {role}"
                    expected = f"the database role lacks rights on {table.name}: {grant}"
                    assert faults == ([] if (table.name, right) in UNUSED_RIGHTS else [expected])
                    await execute(owner, grant)
            await database.dispose()

    async def test_the_right_to_connect(self, database_url: str, tmp_path: Path) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, WRITE_ALL, SEQUENCE) as url,
        ):
            name = make_url(url).database
            await execute(owner, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
            reason = "the database role lacks a right"
            message = f'{reason}: permission denied for database "{name}"'
            for command in ("migrate", "serve"):
                assert await outcome(url, tmp_path, command) == (2, f"taskmanager: {message}\n")
            (problem,) = await problems_of(url)
            assert problem.startswith(message)
            assert await readiness_of(url) == (503, reason)


class TestWaking:
    """A server that is scaled to zero lets the first connection wait."""

    @pytest.mark.takes_long
    async def test_commands_wait_for_it(self, database_url: str, tmp_path: Path) -> None:
        async with slow_way(database_url, WAKING_SECONDS) as way:
            outcome_of_migrate, findings = await asyncio.gather(
                outcome(way.url, tmp_path, "migrate"), examine_database(make_settings(database_url=way.url), 1)
            )
            assert outcome_of_migrate == (0, "The schema is up to date.\n")
            assert [finding.message for finding in findings if finding.level is Level.PROBLEM] == []

    async def test_requests_get_their_503_in_time_until_it_is_there(
        self, database: Database, database_url: str
    ) -> None:
        async with slow_way(database_url, WAKING_SECONDS) as way:
            slowest = 0.0
            async with started(create_app(make_settings(database_url=way.url))) as client:
                account = {"username": "waking", "email": "waking@example.com", "password": "a long password"}
                async with asyncio.timeout(30):
                    status = 0
                    while status != 201:
                        began = time.monotonic()
                        status = (await client.post("/api/v1/users", json=account)).status_code
                        slowest = max(slowest, time.monotonic() - began)
                        assert status in {201, 503}
                    while (await ask_readiness(client))[0] != 200:  # noqa: ASYNC110  # asked for in intervals
                        await asyncio.sleep(0.2)
            assert slowest < 4

"""Case and form of text do not depend on the locale of a database; what older versions need stays for them."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from sqlalchemy import make_url

import taskmanager
from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level
from taskmanager.database.database import SchemaError
from taskmanager.database.schema_migrations import alembic_config
from tests.conftest import make_settings
from tests.support.databases import temporary_database
from tests.support.server import connect

FORMER = {"tasks_title_idx", "tasks_search_idx"}
ADD_USERS = "INSERT INTO users (username, email, password_hash) VALUES ('ali', 'a@x.de', 'x'), ('BOB', 'b@x.de', 'x')"


@pytest.fixture
async def before(database_url: str) -> AsyncIterator[str]:
    """A database at the revision before."""
    async with temporary_database(database_url) as url:
        await asyncio.to_thread(command.upgrade, alembic_config(url), "0004")
        yield url


async def execute(url: str, statement: str) -> None:
    connection = await connect(make_url(url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def indexes_of(url: str) -> set[str]:
    connection = await connect(make_url(url))
    rows = await connection.fetch("SELECT relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indisvalid")
    await connection.close()
    return {row["relname"] for row in rows}


def test_no_statement_folds_case_by_the_locale_of_the_database() -> None:
    found = []
    for path in Path(taskmanager.__file__).parent.rglob("*.py"):
        source = path.read_text("utf-8")
        found += [path.name for _ in re.finditer(r"\bILIKE\b|(?<![.\w])(?:upper|initcap)\(", source)]
        # But for the CHECK on addresses, which are in lower case already, and the index of older versions.
        calls = re.findall(r"(?<![.\w])lower\((?!email\)|username\)\"\), unique)[^)]*\)", source)
        found += [f"{path.name}: {call}" for call in calls if "COLLATE pg_c_utf8" not in call]
    assert found == []


async def test_a_database_in_use_keeps_the_indexes_of_the_version_before(before: str) -> None:
    await execute(before, ADD_USERS)
    await asyncio.to_thread(command.upgrade, alembic_config(before), "head")
    assert await indexes_of(before) >= FORMER
    findings = await examine_database(make_settings(database_url=before), 1)
    (warned,) = [one.message for one in findings if one.level is Level.WARNING and "slow down writes" in one.message]
    remedy = warned.partition("any more, ")[2]
    assert remedy == "DROP INDEX CONCURRENTLY tasks_search_idx; DROP INDEX CONCURRENTLY tasks_title_idx"
    for statement in remedy.split("; "):
        await execute(before, statement)
    findings = await examine_database(make_settings(database_url=before), 1)
    assert not any("slow down writes" in one.message for one in findings)
    # And back.
    await asyncio.to_thread(command.downgrade, alembic_config(before), "0004")
    assert await indexes_of(before) >= FORMER


async def test_one_that_nobody_uses_yet_does_not(before: str) -> None:
    assert await indexes_of(before) >= FORMER
    await asyncio.to_thread(command.upgrade, alembic_config(before), "head")
    assert not await indexes_of(before) & FORMER


async def test_names_that_only_their_case_tells_apart_stop_the_migration_before_it_writes(before: str) -> None:
    # As a database with a Turkish locale has them.
    await execute(before, f"DROP INDEX users_lower_username_idx; {ADD_USERS}, ('ALI', 'c@x.de', 'x')")
    known = await indexes_of(before)
    with pytest.raises(SchemaError, match="the user names ali and ALI differ in case only: rename one of them"):
        await asyncio.to_thread(command.upgrade, alembic_config(before), "head")
    assert await indexes_of(before) == known


async def test_a_name_is_taken_in_every_case(before: str) -> None:
    await execute(before, ADD_USERS)
    await asyncio.to_thread(command.upgrade, alembic_config(before), "head")
    for username in ("ALI", "bob"):
        with pytest.raises(asyncpg.UniqueViolationError):
            await execute(
                before, f"INSERT INTO users (username, email, password_hash) VALUES ('{username}', 'z@x.de', 'x')"
            )

"""The rows of the whole database: to compare, to search and to put back."""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

import asyncpg
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.support.sessions import engine_of, open_session, open_transaction

_TABLES = text("""
SELECT c.relname AS name, c.relpersistence = 'p' AS lasting, ARRAY(
    SELECT CAST(CAST(k.confrelid AS regclass) AS text) FROM pg_constraint k
    WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid
) AS parents
FROM pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = CAST('public' AS regnamespace)
  AND c.relname NOT IN ('taskmanager_schema', 'event_log')
ORDER BY c.relname
""")


@dataclass(frozen=True)
class Tables:
    """The names of all tables, those that others refer to first; unlogged ones hold nothing that has to last."""

    all: Sequence[str]
    lasting: Sequence[str]


async def tables(database: Database) -> Tables:
    """Return the tables that the database has now."""
    async with open_session(database) as session:
        found = (await session.execute(_TABLES)).all()
    order = list(TopologicalSorter({row.name: row.parents for row in found}).static_order())
    lasting = {row.name for row in found if row.lasting}
    return Tables(order, [name for name in order if name in lasting])


async def digests(database: Database) -> dict[str, str]:
    """Return a digest of all rows of each table."""
    statements = []
    for table in (await tables(database)).lasting:
        # Every use of a key may note its time, also one that is refused for want of a scope.
        row = "to_jsonb(t) - 'last_used_at'" if table == "api_keys" else "t"
        ordered = f"string_agg(({row})::text, E'\\n' ORDER BY ({row})::text)"
        statements.append(f"SELECT '{table}' AS name, md5({ordered}) AS digest FROM {table} t")
    async with open_session(database) as session:
        return {row.name: row.digest for row in await session.execute(text(" UNION ALL ".join(statements)))}


async def dump(database: Database) -> str:
    """Return all rows of all tables as text, as a backup would hold them."""
    lines: list[str] = []
    for table in (await tables(database)).all:
        lines += (row["line"] for row in await fetch_all(database, f"SELECT to_jsonb(t)::text AS line FROM {table} t"))
    return "\n".join(lines)


async def fetch_one(database: Database, statement: str, **parameters: Any) -> dict[str, Any]:
    """Return the one row of a query."""
    async with open_session(database) as session:
        return dict((await session.execute(text(statement), parameters)).mappings().one())


async def fetch_all(database: Database, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """Return all rows of a query."""
    async with open_session(database) as session:
        return [dict(row) for row in (await session.execute(text(statement), parameters)).mappings()]


async def execute(database: Database, statement: str, **parameters: Any) -> None:
    """Change the database behind the application's back."""
    async with open_transaction(database) as session:
        await session.execute(text(statement), parameters)


@asynccontextmanager
async def _driver_connection(database: Database) -> AsyncIterator[Any]:
    async with engine_of(database).connect() as connection:
        yield (await connection.get_raw_connection()).driver_connection


async def fetch_rows(database: Database, statement: str) -> Sequence[asyncpg.Record]:
    """Return all rows of a query without parameters, in a fraction of the time that `fetch_all` takes."""
    async with _driver_connection(database) as driver:
        rows: Sequence[asyncpg.Record] = await driver.fetch(statement)
        return rows


async def _run_script(database: Database, script: str) -> None:
    # One round trip for any number of statements, which only the driver's simple protocol can do.
    async with _driver_connection(database) as driver:
        await driver.execute(script)


async def wipe(database: Database) -> None:
    """Delete all rows."""
    names = (await tables(database)).all
    await _run_script(database, "".join(f"DELETE FROM {table};" for table in reversed(names)))


@dataclass(frozen=True)
class Snapshot:
    """All rows of one moment: what inserts those of each table, first of the tables that others refer to.

    Where the account may, rows are put back without looking for what they refer to, which takes half the time and
    allows to put back single tables.
    """

    insertions: Mapping[str, str] = field(default_factory=dict)
    is_unchecked: bool = False

    @classmethod
    async def take(cls, database: Database) -> "Snapshot":
        """Remember all rows."""
        insertions = {}
        for table in (await tables(database)).all:
            found = await fetch_one(database, f"SELECT COALESCE(jsonb_agg(to_jsonb(t)), '[]') AS rows FROM {table} t")
            rows = json.dumps(found["rows"])
            assert "$rows$" not in rows
            insertions[table] = (
                f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, $rows${rows}$rows$);"
            )
        (may,) = await fetch_rows(database, "SELECT has_parameter_privilege('session_replication_role', 'SET') AS it")
        return cls(insertions, may["it"])

    async def restore(self, database: Database, *, changed: Collection[str] | None = None, then: str = "") -> None:
        """Put all rows back as they were, ids and times included, or at least those of the tables that changed."""
        whole = changed is None or not self.is_unchecked
        names = [table for table in self.insertions if whole or table in (changed or ())]
        script = "SET LOCAL session_replication_role = replica;" if self.is_unchecked else ""
        script += "".join(f"DELETE FROM {table};" for table in reversed(names))
        script += "".join(self.insertions[table] for table in names)
        await _run_script(database, script + then)

"""Plans of statements as they were executed, with what they read."""

import json
from typing import Any

import asyncpg
from fastapi import FastAPI

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.pools import Pool
from taskmanager.database.statements import Statement


async def explain(app: FastAPI, statement: Statement, **values: Any) -> dict[str, Any]:
    """Execute a lone statement and return its plan, with its buffers."""
    own = Database(app.state.settings)  # the application may hold all of its connections
    connection: SharedConnection = await own.connect(Pool.WRITING)
    try:
        arguments = statement.arguments(values)
        row = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.lone}", *arguments)
        (plan,) = row[0][0] if isinstance(row[0][0], list) else json.loads(row[0][0])
        return dict(plan)
    finally:
        await connection.close()
        await own.dispose()


def buffers(plan: dict[str, Any]) -> int:
    """Return how many pages were touched."""
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


def scans(node: dict[str, Any]) -> set[str]:
    """Return the tables that were read from end to end."""
    found = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return found.union(*(scans(child) for child in node.get("Plans", ())))


async def analyze(database_url: str) -> None:
    """Let PostgreSQL count what the tables hold now, without the rows of the tests before."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute("VACUUM ANALYZE")
    await connection.close()

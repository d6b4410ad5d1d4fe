"""Writes of projects without a request."""

from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from tests.support.rows import fetch_all

INSERT = Statement(
    "insert",
    "INSERT INTO projects (name) VALUES (:name) RETURNING id, pg_backend_pid() AS pid",
    {"name": "text"},
)


async def names(database: Database) -> list[str]:
    """Return the names of all projects."""
    return [row["name"] for row in await fetch_all(database, "SELECT name FROM projects ORDER BY id")]

"""Reads the event log as the tests need it."""

from typing import Any

from sqlalchemy import text

from taskmanager.database.database import Database
from tests.support.sessions import open_session


async def events_of(database: Database, entity: str, entity_id: int) -> list[dict[str, Any]]:
    """Return everything logged about one thing, by version."""
    statement = text("""
        SELECT project_id, actor_id, version, action, changes FROM events
        WHERE entity = :entity AND entity_id = :entity_id ORDER BY version, id
    """)
    async with open_session(database) as session:
        rows = await session.execute(statement, {"entity": entity, "entity_id": entity_id})
        return [dict(row) for row in rows.mappings()]


async def count_rows(database: Database, table: str) -> int:
    """Return how many rows a table has."""
    async with open_session(database) as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())

"""Makes two requests meet at one row, deterministically."""

import asyncio
import time

from sqlalchemy import text

from taskmanager.database.database import Database
from tests.support.sessions import open_session


async def until_blocked(database: Database, *, waiting: int = 1) -> None:
    """Return once so many connections to the database wait for a lock."""
    statement = text("""
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """)
    deadline = time.monotonic() + 1.5
    async with open_session(database) as session:
        while (await session.execute(statement)).scalar_one() < waiting:
            assert time.monotonic() < deadline, "nobody waits for a lock"
            await asyncio.sleep(0.005)

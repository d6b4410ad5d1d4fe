"""Transactions that CREATE INDEX CONCURRENTLY waits for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@asynccontextmanager
async def old_transaction(connection: Connection) -> AsyncIterator[None]:
    """Have a transaction with a snapshot open, and nothing locked."""
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetchval("SELECT 1")
        yield


async def until_it_waits(observer: Connection) -> int:
    """Wait until a migration waits for a transaction that is older than an index, and return its backend."""
    async with asyncio.timeout(30):
        while True:
            pid: int | None = await observer.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
                "AND application_name = 'migration' AND query LIKE 'CREATE INDEX CONCURRENTLY%'"
            )
            if pid is not None:
                return pid
            await asyncio.sleep(0.05)

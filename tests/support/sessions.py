"""Sessions of SQLAlchemy on connections of the tests' own, beside those of the application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from taskmanager.database.database import Database

# Longer than it takes to fill a large database.
_STATEMENT_TIMEOUT_MS = 1_800_000
_engines = WeakKeyDictionary[Database, AsyncEngine]()


def engine_of(database: Database) -> AsyncEngine:
    """Return connections in AUTOCOMMIT for tests, which are closed with the database."""
    if database not in _engines:
        _engines[database] = database._engines.new(
            10, isolation_level="AUTOCOMMIT", statement_timeout_ms=_STATEMENT_TIMEOUT_MS
        )
    return _engines[database]


@asynccontextmanager
async def open_session(database: Database) -> AsyncIterator[AsyncSession]:
    """Yield a session in AUTOCOMMIT."""
    async with AsyncSession(engine_of(database), expire_on_commit=False) as session:
        yield session


@asynccontextmanager
async def open_transaction(database: Database) -> AsyncIterator[AsyncSession]:
    """Yield a session that commits when the block ends and rolls back when it raises."""
    engine = engine_of(database).execution_options(isolation_level="READ COMMITTED")
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        yield session

"""Sessions of SQLAlchemy on connections of the tests' own, beside those of the application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import AsyncAdaptedQueuePool

from taskmanager.database.connections import EngineMaker
from taskmanager.database.database import Database
from taskmanager.database.pools import Pool
from tests.support.pgbouncer import around_pooler

# Longer than it takes to fill a large database.
_STATEMENT_TIMEOUT_MS = 1_800_000
_engines = WeakKeyDictionary[Database, AsyncEngine]()


def engine_of(database: Database) -> AsyncEngine:
    """Return connections in AUTOCOMMIT for tests, which are closed with the database."""
    if database not in _engines:
        url = around_pooler(database._engines._url)
        maker = EngineMaker(
            database._settings.model_copy(update={"database_url": url, "database_pooler": None}), None, None
        )
        engine = maker.new(10, isolation_level="AUTOCOMMIT", statement_timeout_ms=_STATEMENT_TIMEOUT_MS)
        database._engines._engines.append(engine)
        database._engines._openers += maker._openers
        _engines[database] = engine
    return _engines[database]


def open_connections(database: Database, pool: Pool) -> int:
    """Return how many connections of a pool are open."""
    queue = database.engine_of(pool).pool
    assert isinstance(queue, AsyncAdaptedQueuePool)
    return queue.checkedin() + queue.checkedout()


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

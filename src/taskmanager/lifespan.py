"""What an application does between its start and its end, in any state of its database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.database.driver_errors import is_transient
from taskmanager.maintenance.maintenance import Maintenance
from taskmanager.telemetry.logs import log_request, log_writer


@asynccontextmanager
async def run_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the application's connections and background tasks while the block runs.

    Raises:
        SchemaError: The schema is known not to fit, and `state.starts_with_any_database` is not set.
        sqlalchemy.exc.DBAPIError: The server refused to answer, and that is not set either.
    """
    database: Database = app.state.database
    maintenance: Maintenance = app.state.maintenance
    in_background = [asyncio.create_task(app.state.metrics.keep_published())]
    try:
        await _look_at_database(app)
        background = (work for feature in app.state.features for work in feature.background)
        in_background += [asyncio.create_task(work(app)) for work in background]
        maintaining = asyncio.create_task(maintenance.run())
        try:
            with app.state.drain.before_exit():
                yield
        finally:
            await maintenance.finish(maintaining)
    finally:
        for task in in_background:
            task.cancel()
        await asyncio.gather(*in_background, return_exceptions=True)
        app.state.metrics.close()
        app.state.password_hasher.close()
        await app.state.shared_connections.close()
        await app.state.reads.close()
        await app.state.writes.close()
        await app.state.readiness.dispose()
        await app.state.rate_limiter.dispose()
        await database.dispose()
        log_request.flush()
        log_writer.close()


async def _look_at_database(app: FastAPI) -> None:
    try:
        await app.state.database.check_schema()
    except Exception as error:
        # A process that serves without its database says so, and serves as soon as it is back.
        if not (is_transient(error) or app.state.starts_with_any_database):
            raise
        log = structlog.stdlib.get_logger("taskmanager.start")
        log.warning("started without a database that fits", cause=f"{type(error).__name__}: {error}"[:300])
    else:
        await app.state.rate_limiter.start()
        for feature in app.state.features:
            if feature.start is not None:
                await feature.start(app)

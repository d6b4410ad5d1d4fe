"""Applications with settings or routes of their own, beside the one that most tests share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI

from taskmanager.main import create_app
from tests.conftest import client_for, make_settings


@cache
def _description() -> dict[str, Any]:
    return create_app(make_settings(database_url="postgresql://nowhere/nothing")).openapi()


def _describe(app: FastAPI) -> None:
    # Each application would work out the same for a quarter of a second.
    app.openapi_schema = app.openapi_schema or _description()


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run an application's lifespan and yield a client of it."""
    _describe(app)
    async with app.router.lifespan_context(app), client_for(app) as client:
        yield client


@asynccontextmanager
async def without_lifespan(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that did not look at its database before."""
    _describe(app)
    try:
        async with client_for(app) as client:
            yield client
    finally:
        app.state.password_hasher.close()
        await app.state.shared_connections.close()
        await app.state.reads.close()
        await app.state.readiness.dispose()
        await app.state.rate_limiter.dispose()
        await app.state.database.dispose()

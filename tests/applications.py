"""Applications with settings or routes of their own, beside the one that most tests share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from tests.conftest import client_for


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run an application's lifespan and yield a client of it."""
    async with app.router.lifespan_context(app), client_for(app) as client:
        yield client


@asynccontextmanager
async def without_lifespan(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that did not look at its database before."""
    try:
        async with client_for(app) as client:
            yield client
    finally:
        app.state.password_hasher.close()
        await app.state.readiness.dispose()
        await app.state.database.dispose()

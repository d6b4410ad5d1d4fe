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

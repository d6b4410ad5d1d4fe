"""Fixtures of the tests in this folder."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import METRICS_TOKEN, make_settings
from tests.support.applications import started


@pytest.fixture
async def observed(database_url: str, database: Database) -> AsyncIterator[FastAPI]:
    """An application of its own, whose numbers nobody else changes."""
    settings = make_settings(
        database_url=database_url, metrics_token=METRICS_TOKEN, database_pool_size=2, database_pool_wait_seconds=0.2
    )
    app = create_app(settings)
    async with started(app):
        yield app


@pytest.fixture
async def observer(observed: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that application."""
    transport = httpx.ASGITransport(app=observed, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client

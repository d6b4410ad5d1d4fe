"""Fixtures that the conftest of several folders has: an application as an ephemeral instance has it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import FEATURES, create_app
from taskmanager.settings import Settings
from taskmanager.testing.feature import feature_for_tests
from tests.conftest import client_for


@pytest.fixture(scope="session")
async def ephemeral_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """An application for the tests of clients, on the database of the other one."""
    app = create_app(settings, (*FEATURES, feature_for_tests()))
    app.state.maintenance.stop()
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def testing(ephemeral_app: FastAPI, database: Database) -> httpx.AsyncClient:
    """A client of that application, without credentials."""
    return client_for(ephemeral_app)

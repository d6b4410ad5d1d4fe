"""Fixtures of the tests in this folder."""

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.access_world import World, build_world
from tests.support.credential_rings import Ring
from tests.support.credentials import ALL_BUT_ADMIN, log_in, new_key
from tests.support.ephemeral_applications import ephemeral_app, testing

__all__ = ["ephemeral_app", "testing"]


@pytest.fixture
async def ring(client: httpx.AsyncClient, alice: Person) -> Ring:
    """Alice's credentials."""
    this, other = await log_in(client, "alice"), await log_in(client, "alice")
    return Ring(alice, this, other, await new_key(alice, *ALL_BUT_ADMIN))


@pytest.fixture
async def administrator(sign_up: SignUp) -> Person:
    """An administrator."""
    return await sign_up("administrator", is_admin=True)


@pytest.fixture(scope="module")
async def built_world(app: FastAPI) -> World:
    """The world, made once for this process."""
    return await build_world(app)


@pytest.fixture
async def world(built_world: World, database: Database) -> World:
    """The world, with all its rows in the database."""
    await built_world.snapshot.restore(database)
    return built_world

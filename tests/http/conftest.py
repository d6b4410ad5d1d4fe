"""Fixtures of the tests in this folder."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import Person, SignUp, client_for
from tests.support.access_world import World, build_world
from tests.support.applications import started
from tests.support.both_ways import Both, compared, make_both
from tests.support.credentials import new_key
from tests.support.pages import TASKS, Stock, add_tasks
from tests.support.resources import KINDS, Resource, make_resource
from tests.support.rows import Snapshot, execute, fetch_all, wipe


@pytest.fixture(scope="module")
async def world(app: FastAPI) -> AsyncIterator[World]:
    """People and what they have, in the database for the whole module, with a login that was revoked."""
    built = await build_world(app)
    database = app.state.database
    await built.snapshot.restore(database)
    await execute(
        database,
        "UPDATE sessions SET revoked_at = now() WHERE id = :id",
        id=built.own_ids["partner"]["session_id"],
    )
    built.snapshot = await Snapshot.take(database)
    yield built
    await wipe(database)


@pytest.fixture(scope="module")
async def ordinary(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application without compiled handlers, and without shared statements."""
    async with started(create_app(settings.model_copy(update={"share_statements": False}))) as client:
        yield client


@pytest.fixture
async def both(app: FastAPI, ordinary: httpx.AsyncClient, world: World) -> AsyncIterator[Both]:
    """Both applications; whatever they answered differently fails the test."""
    async with compared(make_both(app, ordinary, world)) as both:
        yield both


@pytest.fixture
async def administrator(sign_up: SignUp) -> AsyncIterator[Person]:
    """An administrator who shows a key instead of a token."""
    person = await sign_up("administrator", is_admin=True)
    key = await new_key(person, "admin")
    async with httpx.AsyncClient(
        transport=person.client._transport, base_url="http://test", headers=key.in_header
    ) as client:
        yield replace(person, client=client)


@pytest.fixture
async def stock(alice: Person, bob: Person, database: Database) -> Stock:
    """The tasks."""
    projects = (await alice.new_project(), await alice.new_project())
    await bob.new_task(title="A foreign task")
    ids = set(await add_tasks(database, alice, projects, 1, TASKS))
    rows = {row["id"]: row for row in await fetch_all(database, "SELECT * FROM tasks") if row["id"] in ids}
    return Stock(projects, rows)


@pytest.fixture(params=KINDS)
async def resource(request: pytest.FixtureRequest, alice: Person) -> Resource:
    """One of each kind, Alice's, at version 1."""
    return await make_resource(request.param, alice)


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose requests never reach the database."""
    async with client_for(app) as client:
        yield client

"""Fixtures of the tests in this folder."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp, client_for
from tests.support.credentials import new_key
from tests.support.pages import TASKS, Stock, add_tasks
from tests.support.resources import KINDS, Resource, make_resource
from tests.support.rows import fetch_all


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

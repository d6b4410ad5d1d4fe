"""Events of things that this version does not know: a newer one writes them while this one still serves."""

from typing import Any

import httpx
import pytest

from taskmanager.activity.schemas import EventRead
from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.credentials import API, new_key
from tests.support.rows import execute


@pytest.fixture
async def project_id(alice: Person, database: Database) -> int:
    """A project of Alice's, with such an event."""
    project_id = await alice.new_project("Garden")
    await execute(
        database,
        "INSERT INTO events (project_id, entity, entity_id, version, action) "
        "VALUES (:project_id, 'milestone', 7, 1, 'created')",
        project_id=project_id,
    )
    return project_id


async def test_are_shown(alice: Person, project_id: int) -> None:
    newest: dict[str, Any] = (await alice.get(f"/projects/{project_id}/activity")).json()["events"][0]
    assert (newest["entity"], newest["entity_id"], newest["action"]) == ("milestone", 7, "created")
    EventRead.model_validate(newest)


async def test_need_the_right_to_read_tasks(alice: Person, client: httpx.AsyncClient, project_id: int) -> None:
    for scopes, entities in (
        (("projects:read",), ["project"]),
        (("projects:read", "tasks:read"), ["milestone", "project"]),
    ):
        key = await new_key(alice, *scopes)
        answer = await client.get(f"{API}/projects/{project_id}/activity", headers=key.in_header)
        assert [event["entity"] for event in answer.json()["events"]] == entities

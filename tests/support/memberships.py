"""What the tests of several files in tests/projects share: memberships."""

from typing import Any

import httpx

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.rows import fetch_all


async def add(owner: Person, project_id: int, person: Person, role: str = "editor") -> dict[str, Any]:
    """Make somebody a member and return the answer."""
    body = {"username": person.username, "role": role}
    member: dict[str, Any] = (await owner.post(f"/projects/{project_id}/members", body)).json()
    return member


async def roles(database: Database, project_id: int) -> dict[int, str]:
    """Return the stored role of each member."""
    statement = "SELECT user_id, role FROM project_members WHERE project_id = :id"
    return {row["user_id"]: row["role"] for row in await fetch_all(database, statement, id=project_id)}


def kind(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    return str(response.json()["type"]).removeprefix("/docs/problems#")

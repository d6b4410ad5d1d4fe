"""What the tests of several files in tests/tasks share: bulk requests."""

from typing import Any

import httpx

from tests.conftest import Person

BULK = "/tasks/bulk"


MOST = 100


async def make_tasks(person: Person, project_id: int, count: int, **values: Any) -> list[int]:
    """Create tasks at once and return their ids."""
    tasks = [{"title": f"Task {number}", "project_id": project_id, **values} for number in range(count)]
    return [task["id"] for task in (await person.post(BULK, {"tasks": tasks})).json()["tasks"]]


async def share(owner: Person, project_id: int, person: Person, role: str = "editor") -> None:
    """Make somebody a member."""
    await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})


def kind_of(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    return str(response.json()["type"]).removeprefix("/docs/problems#")


def named(form: str, ids: list[int], changes: dict[str, Any]) -> dict[str, Any]:
    named = ids if form == "ids" else [{"id": task_id, "version": 1} for task_id in ids]
    return {form: named, "set": changes}

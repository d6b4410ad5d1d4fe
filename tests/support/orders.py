"""The manual order of tasks and sections, as a client reads it."""

from typing import Any

from tests.conftest import Person


async def tasks_in_order(person: Person, project_id: int, **filters: Any) -> list[dict[str, Any]]:
    """Return the tasks of a project in their manual order, page by page."""
    found: list[dict[str, Any]] = []
    query = {"sort_by": "position", "limit": 100, "count": "none", **filters}
    while True:
        page = (await person.get(f"/projects/{project_id}/tasks", params=query)).json()
        found += page["tasks"]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


async def ids_in_order(person: Person, project_id: int, **filters: Any) -> list[int]:
    """Return the ids of the tasks of a project in their manual order."""
    return [task["id"] for task in await tasks_in_order(person, project_id, **filters)]


async def new_tasks(person: Person, project_id: int, number: int, **values: Any) -> list[int]:
    """Create tasks in a project, and return their ids."""
    ids: list[int] = []
    for start in range(0, number, 100):
        tasks = [
            {"title": f"Task {n}", "project_id": project_id, **values} for n in range(start, min(start + 100, number))
        ]
        ids += [task["id"] for task in (await person.post("/tasks/bulk", {"tasks": tasks})).json()["tasks"]]
    return ids


async def new_section(person: Person, project_id: int, name: str = "A section") -> int:
    """Create a section in a project, and return its id."""
    return int((await person.post(f"/projects/{project_id}/sections", {"name": name})).json()["id"])


async def move(person: Person, task_id: int, body: dict[str, Any], expect: int | None = 200, **options: Any) -> Any:
    """Put a task to another place, and return what is answered."""
    return (await person.post(f"/tasks/{task_id}/move", body, expect, **options)).json()

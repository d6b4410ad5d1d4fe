"""What the tests of several files in tests/notifications share: inboxes."""

from typing import Any

from tests.conftest import Person

Inbox = list[dict[str, Any]]


async def share(owner: Person, project_id: int, person: Person, role: str = "editor") -> None:
    """Make somebody a member."""
    await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})


async def inbox(person: Person, **query: Any) -> Inbox:
    """Return a person's notifications, newest first."""
    notifications: Inbox = (await person.get("/notifications", params=query)).json()["notifications"]
    return notifications


async def comment(person: Person, task: dict[str, Any], body: str) -> int:
    """Comment on a task and return the comment's id."""
    return int((await person.post(f"/tasks/{task['id']}/comments", {"body": body})).json()["id"])

"""What the tests of several files in tests/tasks share: moves."""

from tests.conftest import Person


async def share(owner: Person, project_id: int, person: Person, role: str = "editor") -> None:
    """Make somebody a member."""
    await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})

"""What an application shares between requests, and how it stops doing so."""

from typing import Any

from fastapi import FastAPI

from taskmanager.database.sharing import _LONE_STATEMENTS, Coalescer
from tests.conftest import Person


def shared_statements(app: FastAPI) -> int:
    """Count the statements that requests shared so far."""
    kinds: list[Coalescer[Any, Any]] = app.state.shared_connections.kinds
    return sum(kind.statements for kind in kinds)


async def become_quiet(person: Person) -> None:
    """Send one write after the other, whatever was shared before, until the next lone one has its own statement."""
    for number in range(_LONE_STATEMENTS):
        task = await person.new_task()
        await person.patch(f"/tasks/{task['id']}", {"title": f"Quiet {number}"})

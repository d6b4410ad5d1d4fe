"""What the tests of several files in tests/tasks share: task lists."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.sessions import open_transaction


async def listed(person: Person, *parameters: tuple[str, Any], path: str = "/tasks") -> list[str]:
    """Return the titles of a list, in its order."""
    page = (await person.get(path, params=[("limit", 100), *parameters])).json()
    return [task["title"] for task in page["tasks"]]


async def add(database: Database, project_id: int, rows: Iterable[dict[str, Any]]) -> None:
    """Store tasks with values that no request can give, such as times of creation."""
    defaults = {
        "description": None,
        "status": "pending",
        "priority": 1,
        "due_at": None,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }
    statement = text("""
        INSERT INTO tasks (project_id, title, description, status, priority, due_at, created_at, updated_at,
                           completed_at)
        VALUES (:project_id, :title, :description, :status, :priority, CAST(CAST(:due_at AS text) AS timestamptz),
                CAST(CAST(:created_at AS text) AS timestamptz), CAST(CAST(:updated_at AS text) AS timestamptz),
                CASE WHEN :status = 'completed' THEN now() END)
    """)
    async with open_transaction(database) as session:
        await session.execute(statement, [{**defaults, "project_id": project_id, **row} for row in rows])

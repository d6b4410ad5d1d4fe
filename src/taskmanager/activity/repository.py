"""Reads of the event log for people: what happened to a task or in a project."""

from collections.abc import Sequence

from sqlalchemy import RowMapping
from sqlalchemy.types import Boolean, Text

from taskmanager.activity.schemas import EventRead
from taskmanager.database.database import ReadSession, statement
from taskmanager.events.schemas import Actor

_COLUMNS = """e.id, e.xid::text::bigint AS xid, e.created_at, e.actor_id, u.username, e.entity, e.entity_id, e.version,
       e.action, e.changes"""

# A reader of the newest first may see a change whose older neighbour is not committed yet; only readers that follow
# the log forward have to stop below the oldest running transaction.
_OF_PROJECT = statement(
    f"""
SELECT {_COLUMNS}
FROM project_members m JOIN events e ON e.project_id = m.project_id LEFT JOIN users u ON u.id = e.actor_id
WHERE m.project_id = :project_id AND m.user_id = :user_id
  AND (:with_tasks OR e.entity NOT IN ('task', 'comment'))
  AND (:after_id IS NULL OR (e.xid, e.id) < (CAST(:after_xid AS xid8), :after_id))
ORDER BY e.xid DESC, e.id DESC LIMIT :limit
""",
    after_xid=Text(),
    with_tasks=Boolean(),
)

_OF_TASK = statement(f"""
SELECT {_COLUMNS}
FROM tasks t
JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
JOIN events e ON e.project_id = t.project_id AND e.entity = 'task' AND e.entity_id = t.id
LEFT JOIN users u ON u.id = e.actor_id
WHERE t.id = :task_id AND (:after_id IS NULL OR (e.version, e.id) < (:after_version_id, :after_id))
ORDER BY e.version DESC, e.id DESC LIMIT :limit
""")


def _event(row: RowMapping) -> EventRead:
    actor = Actor(id=row["actor_id"], username=row["username"]) if row["username"] else None
    return EventRead.model_validate({**row, "actor": actor})


class ActivityReader:
    """Reads the log of projects that the caller is a member of."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def of_project(
        self, project_id: int, *, user_id: int, limit: int, after: Sequence[int] | None, with_tasks: bool
    ) -> list[tuple[EventRead, tuple[int, int]]]:
        """Return at most `limit` changes in a project, newest first, each with its key: transaction and id.

        Without `with_tasks` those of tasks and comments are left out.
        """
        xid, event_id = after or (None, None)
        parameters = {
            "project_id": project_id,
            "user_id": user_id,
            "limit": limit,
            "with_tasks": with_tasks,
            "after_xid": None if xid is None else str(xid),
            "after_id": event_id,
        }
        rows = (await self._session.execute(_OF_PROJECT, parameters)).mappings()
        return [(_event(row), (row["xid"], row["id"])) for row in rows]

    async def of_task(
        self, task_id: int, *, user_id: int, limit: int, after: Sequence[int] | None
    ) -> list[tuple[EventRead, tuple[int, int]]]:
        """Return at most `limit` changes of a task, newest first, each with its key: version and id."""
        version, event_id = after or (None, None)
        parameters = {
            "task_id": task_id,
            "user_id": user_id,
            "limit": limit,
            "after_version_id": version,
            "after_id": event_id,
        }
        rows = (await self._session.execute(_OF_TASK, parameters)).mappings()
        return [(_event(row), (row["version"], row["id"])) for row in rows]

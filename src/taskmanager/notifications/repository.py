"""Every statement on notifications but those that make them; these are part of the change that is told."""

from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import Boolean

from taskmanager.database.database import ReadSession, WriteSession, statement
from taskmanager.errors import NotFoundError
from taskmanager.events.schemas import Actor
from taskmanager.notifications.schemas import NotificationRead
from taskmanager.pagination import Page

# One that tells of a task which is gone, or which the reader may not see any more, is not there.
_VISIBLE = """
notifications n
JOIN tasks t ON t.id = n.task_id
JOIN project_members m ON m.project_id = t.project_id AND m.user_id = n.user_id
"""

_LIST = statement(
    f"""
SELECT n.id, n.kind, n.task_id, t.project_id, t.title AS task_title, n.comment_id, n.actor_id, u.username,
       n.created_at, n.read_at
FROM {_VISIBLE} LEFT JOIN users u ON u.id = n.actor_id
WHERE n.user_id = :user_id AND (:unread IS NULL OR (n.read_at IS NULL) = :unread)
  AND (:after_id IS NULL OR (n.created_at, n.id) < (:after_time, :after_id))
ORDER BY n.created_at DESC, n.id DESC LIMIT :limit
""",
    after_time=TIMESTAMP(timezone=True),
    unread=Boolean(),
)

_COUNT_UNREAD = statement(f"SELECT count(*) FROM {_VISIBLE} WHERE n.user_id = :user_id AND n.read_at IS NULL")

_MARK_ONE = statement(f"""
WITH found AS (
    SELECT n.user_id, n.id FROM {_VISIBLE} WHERE n.user_id = :user_id AND n.id = :notification_id
), marked AS (
    UPDATE notifications n SET read_at = now() FROM found
    WHERE n.user_id = found.user_id AND n.id = found.id AND n.read_at IS NULL
)
SELECT id FROM found
""")

_MARK_ALL = statement("UPDATE notifications SET read_at = now() WHERE user_id = :user_id AND read_at IS NULL")


def _notification(row: RowMapping) -> NotificationRead:
    actor = Actor(id=row["actor_id"], username=row["username"]) if row["username"] else None
    return NotificationRead.model_validate({**row, "actor": actor})


class NotificationReader:
    """Reads a user's notifications."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def list_page(self, page: Page, *, user_id: int, unread: bool | None) -> list[NotificationRead]:
        """Return notifications, newest first: those of the page and one more, if there is one."""
        parameters = {**page.parameters, "user_id": user_id, "unread": unread}
        return [_notification(row) for row in (await self._session.execute(_LIST, parameters)).mappings()]

    async def count_unread(self, *, user_id: int) -> int:
        """Return how many are not read."""
        return int((await self._session.execute(_COUNT_UNREAD, {"user_id": user_id})).scalar_one())


class NotificationWriter:
    """Marks a user's notifications."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def mark_read(self, notification_id: int, *, user_id: int) -> None:
        """Mark one notification as read; again changes nothing.

        Raises:
            NotFoundError: There is none that the user may see.
        """
        parameters = {"notification_id": notification_id, "user_id": user_id}
        if (await self._session.execute(_MARK_ONE, parameters)).one_or_none() is None:
            raise NotFoundError("notification")

    async def mark_all_read(self, *, user_id: int) -> None:
        """Mark all notifications as read."""
        await self._session.execute(_MARK_ALL, {"user_id": user_id})

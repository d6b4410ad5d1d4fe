"""Every statement on notifications except their creation, which is part of the change that they report."""

from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads, found_page
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import WriteRunner
from taskmanager.errors import NotFoundError
from taskmanager.events.schemas import Person
from taskmanager.http.pagination import Page
from taskmanager.maintenance.jobs import purge_job
from taskmanager.notifications.schemas import NotificationRead
from taskmanager.people.statements import page_with_people

# Leaves out notifications of tasks and comments that are gone or that the reader may not see any more.
_VISIBLE = """
notifications n
JOIN tasks t ON t.id = n.task_id
JOIN project_members m ON m.project_id = t.project_id AND m.user_id = n.user_id
WHERE n.user_id = :user_id AND (
    n.comment_id IS NULL OR (SELECT true FROM comments c WHERE c.project_id = t.project_id AND c.id = n.comment_id)
)
"""
# No join, which could be planned as a scan of all projects.
_LISTED = f"""
{_VISIBLE} AND (:archived IS NULL OR (SELECT p.archived FROM projects p WHERE p.id = t.project_id) = :archived)
"""

_NOTIFICATION = json_object(
    NotificationRead,
    "row",
    actor=f"CASE WHEN row.username IS NOT NULL THEN {json_object(Person, 'row', id='row.actor_id')} END",
)
_NEXT = f"""
SELECT page.*, u.username, u.display_name
FROM (
    SELECT n.*, t.project_id, t.title AS task_title, n.created_at AS key_time, n.id AS key_id
    FROM {_LISTED} AND {after_key("n.created_at", "n.id", descending=True)} {{unread}}
    ORDER BY n.created_at DESC, n.id DESC LIMIT :limit
) AS page LEFT JOIN users u ON u.id = page.actor_id
"""
_CONDITIONS = {None: "", True: "AND n.read_at IS NULL", False: "AND n.read_at IS NOT NULL"}
_UNREAD = f"SELECT count(*) FROM {_LISTED} AND n.read_at IS NULL"
# A deleted actor is not named.
_NAMED = "CASE WHEN row.username IS NOT NULL THEN row.actor_id END"


def _list(condition: str, *, with_people: bool) -> Statement:
    rows = _NEXT.format(unread=condition)
    page = json_page(rows, _NOTIFICATION, descending=True)
    if with_people:
        page = page_with_people(rows, _NOTIFICATION, _NAMED, descending=True)
    return Statement(
        "list notifications",
        f"SELECT page.*, ({_UNREAD}) AS unread FROM ({page}) AS page",
        {"archived": "boolean"},
        shared=True,
        most_shared=32,
    )


_LISTS = {
    (unread, with_people): _list(condition, with_people=with_people)
    for unread, condition in _CONDITIONS.items()
    for with_people in (False, True)
}

_NO_ANSWER = """
CAST(NULL AS bigint) AS project_id, CAST(NULL AS integer) AS version, CAST(NULL AS bytea) AS body
"""
_MARK_ONE = Write(
    "mark notification",
    f"""
found AS (
    SELECT n.user_id, n.id FROM {_VISIBLE} AND n.id = :notification_id
), marked AS (
    UPDATE notifications n SET read_at = now() FROM found
    WHERE n.user_id = found.user_id AND n.id = found.id AND n.read_at IS NULL
)""",
    f"SELECT true AS done, id, {_NO_ANSWER} FROM found",
)

_MARK_ALL = Write(
    "mark all notifications",
    "marked AS (UPDATE notifications SET read_at = now() WHERE user_id = :user_id AND read_at IS NULL)",
    f"SELECT true AS done, CAST(NULL AS bigint) AS id, {_NO_ANSWER}",
)


PURGE_READ = purge_job(
    "purge read notifications",
    Statement(
        "purge read notifications",
        """
        DELETE FROM notifications WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM notifications WHERE read_at < now() - make_interval(days => :kept_days)
            ORDER BY read_at LIMIT :limit FOR UPDATE SKIP LOCKED
        )) RETURNING 1
        """,
        {"kept_days": "integer"},
    ),
    lambda settings: {"kept_days": days} if (days := settings.notification_retention_days) else None,
)


class NotificationReader:
    """Reads a user's notifications."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list_page(
        self, page: Page, *, user_id: int, unread: bool | None, archived: bool | None, with_people: bool = False
    ) -> tuple[FoundPage, int]:
        """Return a page of notifications, newest first, as `json_page` has it, and how many are not read in all.

        With `archived` both are of archived projects, or of others, alone.
        """
        statement = _LISTS[unread, with_people]
        row = await self._reads.one(statement, **page.parameters, user_id=user_id, archived=archived)
        assert row is not None  # an aggregate always gives a row
        return found_page(row), row["unread"]


class NotificationWriter:
    """Marks a user's notifications."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def mark_read(self, notification_id: int, *, user_id: int) -> None:
        """Mark one notification as read; again changes nothing.

        Raises:
            NotFoundError: There is none that the user may see.
        """
        if await self._writes.one(_MARK_ONE, notification_id=notification_id, user_id=user_id) is None:
            raise NotFoundError("notification")

    async def mark_all_read(self, *, user_id: int) -> None:
        """Mark all notifications as read."""
        await self._writes.one(_MARK_ALL, user_id=user_id)

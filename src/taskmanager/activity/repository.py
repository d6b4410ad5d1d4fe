"""Reads of the event log for people: what happened to a task or in a project."""

from collections.abc import Sequence
from typing import Any

from taskmanager.activity.schemas import EventRead
from taskmanager.database.json_rows import json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import NotFoundError
from taskmanager.events.schemas import Person
from taskmanager.people.statements import page_with_people

_EVENT = json_object(
    EventRead,
    "row",
    actor=f"CASE WHEN row.username IS NOT NULL THEN {json_object(Person, 'row', id='row.actor_id')} END",
)
# Whom a change names: who made it, the member whom it is about, and who had the task before and has it now.
_NAMED = (
    "CASE WHEN row.username IS NOT NULL THEN row.actor_id END",
    "CASE WHEN row.entity = 'member' THEN row.entity_id END",
    *(f"CAST(row.changes -> 'assignee_id' ->> '{side}' AS bigint)" for side in ("old", "new")),
)
# Only clients that keep a copy need to know that a row has lost the name of a deleted account.
_IS_SHOWN = "e.action <> 'anonymised'"
# Transactions of one era.
_XIDS = 2**64
_WITH_ACTOR = "LEFT JOIN users u ON u.id = e.actor_id"

# A list of the newest first may show a change before an older one is committed. Only readers that follow the log
# forward have to stop below the oldest running transaction.
_NEXT_OF_PROJECT = f"""
SELECT e.*, u.username, u.display_name, e.era * {_XIDS}::numeric + e.xid::text::numeric AS key_time, e.id AS key_id
FROM events e {_WITH_ACTOR}
WHERE e.project_id = m.project_id AND {_IS_SHOWN} AND (:with_tasks OR e.entity IN ('project', 'member'))
  AND (e.era, e.xid, e.id) < (
      COALESCE(:after_era, {2**31 - 1}), CAST(COALESCE(:after_xid, '{_XIDS - 1}') AS xid8),
      COALESCE(:after_id, {2**63 - 1})
  )
ORDER BY e.era DESC, e.xid DESC, e.id DESC LIMIT :limit
"""


def _of_project(page: str) -> Statement:
    return Statement(
        "list activity of project",
        f"""
        SELECT page.* FROM project_members m CROSS JOIN LATERAL ({page}) AS page
        WHERE m.project_id = :project_id AND m.user_id = :user_id
        """,
        {"after_era": "integer", "after_xid": "text", "with_tasks": "boolean"},
        shared=True,
        most_shared=32,
    )


_OF_PROJECT = _of_project(json_page(_NEXT_OF_PROJECT, _EVENT, descending=True))
_OF_PROJECT_WITH_PEOPLE = _of_project(page_with_people(_NEXT_OF_PROJECT, _EVENT, *_NAMED, descending=True))

_NEXT_OF_TASK = f"""
SELECT e.*, u.username, u.display_name, e.version AS key_time, e.id AS key_id
FROM events e {_WITH_ACTOR}
WHERE e.project_id = t.project_id AND e.entity = 'task' AND e.entity_id = t.id AND {_IS_SHOWN}
  AND (e.version, e.id) < (COALESCE(:after_version, {2**31 - 1}), COALESCE(:after_id, {2**63 - 1}))
ORDER BY e.version DESC, e.id DESC LIMIT :limit
"""


def _of_task(page: str) -> Statement:
    return Statement(
        "list activity of task",
        f"""
        SELECT page.* FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
        CROSS JOIN LATERAL ({page}) AS page
        WHERE t.id = :task_id
        """,
        {"after_version": "integer"},
        shared=True,
        most_shared=32,
    )


_OF_TASK = _of_task(json_page(_NEXT_OF_TASK, _EVENT, descending=True))
_OF_TASK_WITH_PEOPLE = _of_task(page_with_people(_NEXT_OF_TASK, _EVENT, *_NAMED, descending=True))


class ActivityReader:
    """Reads the log of projects that the caller is a member of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def of_project(
        self,
        project_id: int,
        *,
        user_id: int,
        limit: int,
        after: Sequence[Any] | None,
        with_tasks: bool,
        with_people: bool = False,
    ) -> FoundPage:
        """Return a page of changes in a project, newest first, as `json_page` has it.

        Its keys are era and transaction as one number, and id. Without `with_tasks` there are only those of the project
        itself and its members.

        Raises:
            NotFoundError: There is no such project that the caller may see.
        """
        place, event_id = after or (None, None)
        era, xid = (None, None) if place is None else divmod(int(place), _XIDS)
        row = await self._reads.page(
            _OF_PROJECT_WITH_PEOPLE if with_people else _OF_PROJECT,
            project_id=project_id,
            user_id=user_id,
            limit=limit + 1,
            with_tasks=with_tasks,
            after_era=era,
            after_xid=None if xid is None else str(xid),
            after_id=event_id,
        )
        if row is None:
            raise NotFoundError("project")
        return row

    async def of_task(
        self, task_id: int, *, user_id: int, limit: int, after: Sequence[int] | None, with_people: bool = False
    ) -> FoundPage:
        """Return a page of changes of a task, newest first, as `json_page` has it; its keys are version and id.

        Raises:
            NotFoundError: There is no such task that the caller may see.
        """
        version, event_id = after or (None, None)
        row = await self._reads.page(
            _OF_TASK_WITH_PEOPLE if with_people else _OF_TASK,
            task_id=task_id,
            user_id=user_id,
            limit=limit + 1,
            after_version=version,
            after_id=event_id,
        )
        if row is None:
            raise NotFoundError("task")
        return row

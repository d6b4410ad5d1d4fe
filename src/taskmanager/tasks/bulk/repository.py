"""Statements on many tasks of one project at once: all or nothing, and as many statements for 100 as for one."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from taskmanager.database.database import WriteSession, statement
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.errors import InvalidValueError, NotFoundError, PreconditionRequiredError, StaleVersionError
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.projects.access import require_writer
from taskmanager.tasks.bulk.schemas import BulkChanges
from taskmanager.tasks.schemas import TaskCreateAnywhere, TaskRead
from taskmanager.tasks.statements import TASK_FIELDS, task_columns, update_statement

_NEW = "title, description, status, priority, tags, due_at, assignee_id"

# Ids are drawn before the insert, so that the answer can be given in the order of the request.
_CREATE = statement(
    f"""
WITH access AS (
    SELECT p.id AS project_id, p.archived, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = COALESCE(:project_id, (SELECT id FROM projects WHERE inbox_of = :user_id))
    FOR KEY SHARE OF p FOR KEY SHARE OF m
), given AS MATERIALIZED (
    SELECT g.*, nextval('tasks_id_seq') AS id
    FROM ROWS FROM (jsonb_to_recordset(:tasks) AS (
        title text, description text, status text, priority integer, tags text[], due_at timestamptz, assignee_id bigint
    )) WITH ORDINALITY AS g ({_NEW}, place)
), strangers AS MATERIALIZED (
    SELECT g.place FROM given g CROSS JOIN access a
    WHERE g.assignee_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM project_members m WHERE m.project_id = a.project_id AND m.user_id = g.assignee_id
    )
), t AS (
    INSERT INTO tasks (project_id, id, created_by, completed_at, {_NEW})
    SELECT a.project_id, g.id, :user_id, CASE WHEN g.status = 'completed' THEN now() END, {_NEW}
    FROM access a CROSS JOIN given g
    WHERE a.role IN ('owner', 'editor') AND NOT a.archived AND NOT EXISTS (SELECT FROM strangers)
    ORDER BY g.place
    RETURNING *
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version, 'created',
           jsonb_build_object('title', jsonb_build_object('old', NULL, 'new', title))
    FROM t ORDER BY id
), notified AS (
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT assignee_id, 'assigned', id, :user_id FROM t WHERE assignee_id <> :user_id
)
SELECT a.role, a.archived, (SELECT min(place) FROM strangers) AS stranger, {task_columns("t")}
FROM access a CROSS JOIN given g LEFT JOIN t ON t.id = g.id
ORDER BY g.place
""",
    tasks=JSONB(),
)

# Locked in the order of their ids, so that two such requests cannot lock each other out.
_LOCK = statement(
    """
SELECT t.id, t.project_id, t.version, p.archived, m.role
FROM tasks t
JOIN projects p ON p.id = t.project_id
JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
WHERE t.id = ANY(:task_ids)
ORDER BY t.id FOR UPDATE OF t
"""
)

_UPDATE = statement(
    update_statement(
        """
        SELECT k.n, :user_id AS user_id, k.task_id, :project_id AS project_id, :patch AS patch,
               CAST(NULL AS integer[]) AS versions, false AS notify
        FROM unnest(:task_ids) WITH ORDINALITY AS k (task_id, n)
        """,
        f"""
        SELECT {task_columns("t")} FROM found f LEFT JOIN changed c ON c.n = f.n
        CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
        ORDER BY f.n
        """,
    ),
    patch=JSONB(),
)

_DELETE = statement(
    f"""
WITH gone AS (
    DELETE FROM tasks WHERE project_id = :project_id AND id = ANY(:task_ids)
    RETURNING project_id, id, version, title
)
INSERT INTO events ({EVENT_COLUMNS})
SELECT project_id, :user_id, 'task', id, version + 1, 'deleted',
       jsonb_build_object('title', jsonb_build_object('old', title, 'new', NULL))
FROM gone
"""
)


def _task(row: RowMapping) -> TaskRead:
    return TaskRead.model_validate({name: row[name] for name in TASK_FIELDS})


class BulkTaskWriter:
    """Writes many tasks at once."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def create(
        self, tasks: Sequence[TaskCreateAnywhere], *, user_id: int, project_id: int | None
    ) -> list[TaskRead]:
        """Store tasks in a project, or in the caller's Inbox, and return them in the given order.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: It is archived.
            InvalidValueError: An assignee is not a member of it; the error names the task.
        """
        parameters = {
            "tasks": [task.model_dump(mode="json", exclude={"project_id"}) for task in tasks],
            "user_id": user_id,
            "project_id": project_id,
        }
        rows = await self._execute(_CREATE, parameters, assignee=("body", "tasks"))
        if not rows:
            raise NotFoundError("project")
        require_writer(rows[0]["role"], archived=rows[0]["archived"])
        if (place := rows[0]["stranger"]) is not None:
            raise InvalidValueError(("body", "tasks", place - 1, "assignee_id"), "is not a member of the project")
        return [_task(row) for row in rows]

    async def lock(
        self,
        task_ids: Sequence[int],
        versions: Sequence[int | None],
        *,
        user_id: int,
        require_versions: bool,
        named_in: tuple[str, str],
    ) -> int:
        """Lock tasks and return the project that they are in; errors name the first task at fault by its index.

        `named_in` is where the request names them.

        Raises:
            NotFoundError: One of them does not exist, or the caller may not see it.
            InvalidValueError: They are not all in one project.
            RoleTooLowError: The caller may only read the project.
            ProjectArchivedError: It is archived.
            PreconditionRequiredError: Versions are demanded and none were given.
            StaleVersionError: One of them is at another version.
        """
        parameters = {"task_ids": list(task_ids), "user_id": user_id}
        rows = (await self._session.execute(_LOCK, parameters)).mappings().all()
        found = {row["id"]: row for row in rows}
        for index, task_id in enumerate(task_ids):
            if task_id not in found:
                raise NotFoundError("task", index)
        first = found[task_ids[0]]
        if any(row["project_id"] != first["project_id"] for row in rows):
            raise InvalidValueError(named_in, "all tasks must be in the same project")
        require_writer(first["role"], archived=first["archived"])
        if require_versions and None in versions:
            raise PreconditionRequiredError
        for index, (task_id, version) in enumerate(zip(task_ids, versions, strict=True)):
            if version is not None and found[task_id]["version"] != version:
                raise StaleVersionError(found[task_id]["version"], base_version=version, index=index)
        project_id: int = first["project_id"]
        return project_id

    async def update(
        self, task_ids: Sequence[int], changes: BulkChanges, *, user_id: int, project_id: int
    ) -> list[TaskRead]:
        """Set the given fields on locked tasks and return them in the given order.

        Raises:
            InvalidValueError: The assignee is not a member of the project.
        """
        parameters = {
            "task_ids": list(task_ids),
            "project_id": project_id,
            "user_id": user_id,
            "patch": changes.model_dump(mode="json", exclude_unset=True),
        }
        return [_task(row) for row in await self._execute(_UPDATE, parameters, assignee=("body", "set", "assignee_id"))]

    async def delete(self, task_ids: Sequence[int], *, user_id: int, project_id: int) -> None:
        """Delete locked tasks with their comments."""
        parameters = {"task_ids": list(task_ids), "project_id": project_id, "user_id": user_id}
        await self._session.execute(_DELETE, parameters)

    async def _execute(
        self, sql: Any, parameters: dict[str, Any], *, assignee: tuple[str, ...]
    ) -> Sequence[RowMapping]:
        try:
            return (await self._session.execute(sql, parameters)).mappings().all()
        except IntegrityError as error:
            match violated_constraint(error):
                case "tasks_assignee_fkey":
                    raise InvalidValueError(assignee, "is not a member of the project") from None
                case "tasks_project_id_fkey":  # deleted between the look-up and the insert
                    raise NotFoundError("project") from None
            raise

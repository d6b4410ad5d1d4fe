"""Every statement on tasks; membership is part of each WHERE clause."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    and_,
    func,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import Integer, Text

from taskmanager.database import ReadSession, WriteSession, statement, violated_constraint
from taskmanager.errors import InvalidValueError, NotFoundError
from taskmanager.events.statements import EVENT_COLUMNS, changed_fields
from taskmanager.projects.access import require_writer
from taskmanager.projects.models import ProjectMember
from taskmanager.tasks.models import Task
from taskmanager.tasks.schemas import (
    ProjectTaskQuery,
    TaskCreate,
    TaskList,
    TaskQuery,
    TaskRead,
    TaskSort,
    TaskStatus,
    TaskUpdate,
)

_NAMES = tuple(TaskRead.model_fields)
_COLUMNS = [Task.__table__.c[name] for name in _NAMES]


def _columns(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in _NAMES)


_CREATE = statement(
    f"""
WITH access AS (
    SELECT p.id AS project_id, p.archived, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = COALESCE(:project_id, (SELECT id FROM projects WHERE inbox_of = :user_id))
), t AS (
    INSERT INTO tasks (project_id, title, description, status, priority, tags, due_at, assignee_id, created_by,
                       completed_at)
    SELECT project_id, :title, :description, CAST(:status AS text), :priority, :tags, :due_at, :assignee_id, :user_id,
           CASE WHEN CAST(:status AS text) = 'completed' THEN now() END
    FROM access WHERE role IN ('owner', 'editor') AND NOT archived
    RETURNING *
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version, 'created',
           jsonb_build_object('title', jsonb_build_object('old', NULL, 'new', title))
    FROM t
)
SELECT a.role, a.archived, {_columns("t")} FROM access a LEFT JOIN t ON true
""",
    title=Text(),
    description=Text(),
    priority=Integer(),
    tags=ARRAY(Text),
    due_at=TIMESTAMP(timezone=True),
)

_ACCESS = """
access AS (
    SELECT t.project_id, t.id, p.archived, m.role
    FROM tasks t
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
    WHERE t.id = :task_id AND (:project_id IS NULL OR t.project_id = :project_id)
)"""

_FIND = statement(f"""
SELECT {_columns("t")}
FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
WHERE t.id = :task_id AND (:project_id IS NULL OR t.project_id = :project_id)
""")

# The row is locked before it is compared: fields that are not given keep what another writer has just
# committed, and the log gets the values that this very change replaced.
_UPDATE = statement(
    f"""
WITH {_ACCESS}, found AS MATERIALIZED (
    SELECT t AS old FROM tasks t JOIN access a ON a.project_id = t.project_id AND a.id = t.id
    WHERE a.role IN ('owner', 'editor') AND NOT a.archived
    FOR UPDATE OF t
), wanted AS MATERIALIZED (
    SELECT old, jsonb_populate_record(old, :patch) AS new FROM found
), compared AS MATERIALIZED (
    SELECT old, new, {
        changed_fields(
            "wanted", ("title", "description", "status", "priority", "tags", "assignee_id"), timestamps=("due_at",)
        )
    } AS changes FROM wanted
), changed AS (
    UPDATE tasks t
    SET title = (c.new).title, description = (c.new).description, status = (c.new).status,
        priority = (c.new).priority, tags = (c.new).tags, due_at = (c.new).due_at, assignee_id = (c.new).assignee_id,
        completed_at = CASE WHEN (c.new).status = 'completed' THEN COALESCE(t.completed_at, now()) END,
        version = t.version + 1, updated_at = now()
    FROM compared c
    WHERE t.project_id = (c.old).project_id AND t.id = (c.old).id AND c.changes IS NOT NULL
    RETURNING t, c.changes
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (t).project_id, :user_id, 'task', (t).id, (t).version, 'updated', changes FROM changed
)
SELECT a.role, a.archived, {_columns("t")}
FROM access a LEFT JOIN found f ON true LEFT JOIN changed c ON true
CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
""",
    patch=JSONB(),
)

_DELETE = statement(f"""
WITH {_ACCESS}, gone AS (
    DELETE FROM tasks t USING access a
    WHERE t.project_id = a.project_id AND t.id = a.id AND a.role IN ('owner', 'editor') AND NOT a.archived
    RETURNING t.project_id, t.id, t.version, t.title
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version + 1, 'deleted',
           jsonb_build_object('title', jsonb_build_object('old', title, 'new', NULL))
    FROM gone
)
SELECT a.role, a.archived, gone.id FROM access a LEFT JOIN gone ON true
""")

_LOCK_FOR_MOVE = statement(f"""
WITH {_ACCESS}, target AS (
    SELECT p.id, p.archived, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :target_id
)
SELECT a.project_id, a.role, a.archived, target.id AS target_id, target.role AS target_role,
       target.archived AS target_archived
FROM access a
JOIN tasks t ON t.project_id = a.project_id AND t.id = a.id
LEFT JOIN target ON true
FOR UPDATE OF t
""")

_KEPT_BY_MOVE = (
    "id, title, description, status, priority, tags, due_at, created_by, created_at, completed_at"  # of a task
)
_COMMENT_KEPT_BY_MOVE = "id, task_id, author_id, body, created_at, updated_at, version"

# Delete and insert, not an update of the key: rows that are distributed by project cannot change theirs.
_MOVE = statement(f"""
WITH gone_comments AS (
    DELETE FROM comments WHERE project_id = :source_id AND task_id = :task_id RETURNING *
), gone AS (
    DELETE FROM tasks WHERE project_id = :source_id AND id = :task_id RETURNING *
), moved AS (
    INSERT INTO tasks (project_id, assignee_id, version, updated_at, {_KEPT_BY_MOVE})
    SELECT :target_id,
           (SELECT user_id FROM project_members WHERE project_id = :target_id AND user_id = gone.assignee_id),
           version + 1, now(), {_KEPT_BY_MOVE}
    FROM gone RETURNING id, version, title
), moved_comments AS (
    INSERT INTO comments (project_id, {_COMMENT_KEPT_BY_MOVE})
    SELECT :target_id, {_COMMENT_KEPT_BY_MOVE} FROM gone_comments
)
INSERT INTO events ({EVENT_COLUMNS})
SELECT :source_id, :user_id, 'task', id, version, 'moved_out', CAST('{{}}' AS jsonb)
FROM moved
UNION ALL
SELECT :target_id, :user_id, 'task', id, version, 'moved_in',
       jsonb_build_object('title', jsonb_build_object('old', NULL, 'new', title))
FROM moved
""")

_SORT_KEYS: dict[TaskSort, ColumnElement[Any]] = {
    TaskSort.UPDATED_AT: Task.__table__.c.updated_at,
    TaskSort.PRIORITY: Task.__table__.c.priority,
    TaskSort.TITLE: func.lower(Task.title).collate("C"),
    TaskSort.DUE_AT: Task.__table__.c.due_at,
}


def _conditions(query: ProjectTaskQuery, *, user_id: int) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.status:
        conditions.append(Task.status.in_(query.status))
    if query.priority:
        conditions.append(Task.priority.in_(query.priority))
    if query.tag:
        conditions.append(Task.tags.overlap(query.tag))
    if query.assignee:
        conditions.append(Task.assignee_id.in_([user_id if who == "me" else who for who in query.assignee]))
    if query.due_after:
        conditions.append(Task.due_at >= query.due_after)
    if query.due_before:
        conditions.append(Task.due_at < query.due_before)
    if query.overdue is not None:
        overdue = and_(
            Task.due_at.is_not(None),
            Task.due_at < func.now(),
            Task.status.not_in((TaskStatus.COMPLETED, TaskStatus.CANCELLED)),
        )
        conditions.append(overdue if query.overdue else not_(overdue))
    if query.search is not None:
        escaped = query.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"%{escaped}%"
        conditions.append(or_(Task.title.ilike(pattern), Task.description.ilike(pattern)))
    return conditions


def _order(query: ProjectTaskQuery) -> list[ColumnElement[Any]]:
    keys: list[ColumnElement[Any]] = [Task.__table__.c.created_at, Task.__table__.c.id]
    if query.sort_by is not TaskSort.CREATED_AT:
        keys.insert(0, _SORT_KEYS[query.sort_by])
    ordered: list[ColumnElement[Any]] = [key.asc() if query.order == "asc" else key.desc() for key in keys]
    if query.sort_by is TaskSort.DUE_AT:
        ordered[0] = ordered[0].nulls_last()
    return ordered


def _page(query: ProjectTaskQuery, project_ids: list[int], *, user_id: int) -> Select[Any]:
    membership = and_(ProjectMember.project_id == Task.project_id, ProjectMember.user_id == user_id)
    conditions = _conditions(query, user_id=user_id)
    if project_ids:
        conditions.append(ProjectMember.project_id.in_(project_ids))
    source = select(*_COLUMNS).join(ProjectMember, membership).where(*conditions)
    total = source.with_only_columns(func.count().label("total")).subquery("counted")
    page = source.order_by(*_order(query)).offset(query.skip).limit(query.limit).subquery("page")
    # The outer join keeps the total when the page is empty; the number keeps the order.
    numbered = select(page, func.row_number().over().label("number")).subquery("numbered")
    return select(total.c.total, numbered).outerjoin_from(total, numbered, true()).order_by(numbered.c.number)


def _task(row: RowMapping) -> TaskRead:
    return TaskRead.model_validate({name: row[name] for name in _NAMES})


class TaskReader:
    """Reads tasks of projects that the caller is a member of."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def find(self, task_id: int, *, user_id: int, project_id: int | None = None) -> TaskRead:
        """Return one task, which must be in the project if one is given.

        Raises:
            NotFoundError: There is none that the caller may see.

        """
        parameters = {"task_id": task_id, "user_id": user_id, "project_id": project_id}
        row = (await self._session.execute(_FIND, parameters)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("task")
        return _task(row)

    async def list_everywhere(self, query: TaskQuery, *, user_id: int) -> TaskList:
        """Return one page of the tasks in all projects of the caller, or in those that the query names."""
        return await self._list(query, query.project_id, user_id=user_id)

    async def list_in_project(self, query: ProjectTaskQuery, project_id: int, *, user_id: int) -> TaskList:
        """Return one page of a project's tasks; it is empty where the caller is no member."""
        return await self._list(query, [project_id], user_id=user_id)

    async def _list(self, query: ProjectTaskQuery, project_ids: list[int], *, user_id: int) -> TaskList:
        rows = (await self._session.execute(_page(query, project_ids, user_id=user_id))).mappings().all()
        return TaskList(
            total=rows[0]["total"],
            skip=query.skip,
            limit=query.limit,
            tasks=[_task(row) for row in rows if row["id"] is not None],
        )


class TaskWriter:
    """Writes tasks."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def create(self, new: TaskCreate, *, user_id: int, project_id: int | None) -> TaskRead:
        """Store a task in a project, or in the caller's Inbox if none is given.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: It is archived.
            InvalidValueError: The assignee is not a member of it.

        """
        values = new.model_dump(exclude={"project_id"})
        row = await self._execute(_CREATE, {**values, "user_id": user_id, "project_id": project_id})
        if row is None:
            raise NotFoundError("project")
        require_writer(row["role"], archived=row["archived"])
        return _task(row)

    async def update(
        self, task_id: int, changes: TaskUpdate, *, user_id: int, project_id: int | None = None
    ) -> TaskRead:
        """Change the given fields and return the task; without any difference nothing is written.

        Raises:
            NotFoundError: There is no such task that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: Its project is archived.
            InvalidValueError: The assignee is not a member of the project.

        """
        patch = changes.model_dump(mode="json", exclude_unset=True, exclude={"project_id"})
        parameters = {"task_id": task_id, "user_id": user_id, "project_id": project_id, "patch": patch}
        return _task(self._require_written(await self._execute(_UPDATE, parameters)))

    async def lock_for_move(self, task_id: int, target_id: int, *, user_id: int, project_id: int | None = None) -> int:
        """Lock a task against new comments and other writers and return the project that it is in.

        Raises:
            NotFoundError: There is no such task, or no such target, that the caller may see.
            RoleTooLowError: The caller may only read one of the two projects.
            ProjectArchivedError: One of them is archived.
        """
        parameters = {"task_id": task_id, "target_id": target_id, "user_id": user_id, "project_id": project_id}
        row = await self._execute(_LOCK_FOR_MOVE, parameters)
        if row is None:
            raise NotFoundError("task")
        if row["target_id"] is None:
            raise NotFoundError("project")
        require_writer(row["role"], archived=False)
        require_writer(row["target_role"], archived=row["archived"] or row["target_archived"])
        source_id: int = row["project_id"]
        return source_id

    async def move(self, task_id: int, *, source_id: int, target_id: int, user_id: int) -> None:
        """Move a locked task with its comments; an assignee who is no member of the target is cleared."""
        parameters = {"task_id": task_id, "source_id": source_id, "target_id": target_id, "user_id": user_id}
        await self._session.execute(_MOVE, parameters)

    async def delete(self, task_id: int, *, user_id: int, project_id: int | None = None) -> None:
        """Delete a task with its comments.

        Raises:
            NotFoundError: There is no such task that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: Its project is archived.

        """
        parameters = {"task_id": task_id, "user_id": user_id, "project_id": project_id}
        self._require_written(await self._execute(_DELETE, parameters))

    @staticmethod
    def _require_written(row: RowMapping | None) -> RowMapping:
        if row is None:
            raise NotFoundError("task")
        require_writer(row["role"], archived=row["archived"])
        if row["id"] is None:  # deleted by somebody else between the look-up and the lock
            raise NotFoundError("task")
        return row

    async def _execute(self, statement: Any, parameters: dict[str, Any]) -> RowMapping | None:
        try:
            return (await self._session.execute(statement, parameters)).mappings().one_or_none()
        except IntegrityError as error:
            match violated_constraint(error):
                case "tasks_assignee_fkey":
                    raise InvalidValueError(("body", "assignee_id"), "is not a member of the project") from None
                case "tasks_project_id_fkey":  # deleted between the look-up and the insert
                    raise NotFoundError("project") from None
            raise

"""Every statement on tasks; membership is part of each WHERE clause."""

from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import Boolean, Integer, Text

from taskmanager.database.database import WriteSession, statement
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.reads import Document, Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import InvalidValueError, NotFoundError, StaleVersionError
from taskmanager.events.repository import name_changes
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.projects.access import require_writer
from taskmanager.tasks.schemas import TaskCreate, TaskRead, TaskUpdate
from taskmanager.tasks.statements import TASK_FIELDS, create_statement, task_as_json, task_columns, update_statement

_CREATE = statement(
    create_statement(
        """
        SELECT 1 AS n, :user_id AS user_id, :project_id AS project_id, :title AS title, :description AS description,
               :status AS status, :priority AS priority, :tags AS tags, :due_at AS due_at, :assignee_id AS assignee_id
        """,
        f"""
        SELECT a.role, a.archived, {task_columns("(c.t)")}
        FROM access a LEFT JOIN created c ON true
        """,
    ),
    title=Text(),
    description=Text(),
    status=Text(),
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

_VISIBLE = """
tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
WHERE t.id = :task_id AND (:project_id IS NULL OR t.project_id = :project_id)
"""
_FIND = Statement(
    "find task",
    f"SELECT t.version, convert_to({task_as_json('t')}, 'UTF8') AS body FROM {_VISIBLE}",
    shared=True,
)
_FIND_VERSION = Statement("find version of task", f"SELECT t.version FROM {_VISIBLE}", shared=True)

_UPDATE = statement(
    update_statement(
        """
        SELECT 1 AS n, :user_id AS user_id, :task_id AS task_id, :project_id AS project_id, :patch AS patch,
               :versions AS versions, :notify AS notify
        """,
        f"""
        SELECT a.role, a.archived, (f.old).version AS found_version, {task_columns("t")}
        FROM access a LEFT JOIN found f ON true LEFT JOIN changed c ON true
        CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
        """,
    ),
    patch=JSONB(),
    versions=ARRAY(Integer),
    notify=Boolean(),
)

_DELETE = statement(
    f"""
WITH {_ACCESS}, found AS MATERIALIZED (
    SELECT t.project_id, t.id, t.version FROM tasks t JOIN access a ON a.project_id = t.project_id AND a.id = t.id
    WHERE a.role IN ('owner', 'editor') AND NOT a.archived
    FOR UPDATE OF t
), gone AS (
    DELETE FROM tasks t USING found f
    WHERE t.project_id = f.project_id AND t.id = f.id AND (:versions IS NULL OR t.version = ANY(:versions))
    RETURNING t.project_id, t.id, t.version, t.title
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version + 1, 'deleted',
           jsonb_build_object('title', jsonb_build_object('old', title, 'new', NULL))
    FROM gone
)
SELECT a.role, a.archived, a.project_id, f.id, f.version AS found_version
FROM access a LEFT JOIN found f ON true
""",
    versions=ARRAY(Integer),
)

_LOCK_FOR_MOVE = statement(f"""
WITH {_ACCESS}, target AS (
    SELECT p.id, p.archived, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :target_id
)
SELECT a.project_id, t.id, t.version AS found_version, a.role, a.archived,
       target.id AS target_id, target.role AS target_role,
       target.archived AS target_archived
FROM access a
JOIN tasks t ON t.project_id = a.project_id AND t.id = a.id
LEFT JOIN target ON true
FOR UPDATE OF t
""")

_KEPT_BY_MOVE = "id, title, description, status, priority, tags, due_at, created_by, created_at, completed_at"
_COMMENT_KEPT_BY_MOVE = "id, task_id, author_id, body, created_at, updated_at, version"

# Delete and insert, not an update of the key: rows that are distributed by project cannot change theirs.
_MOVE = statement(
    f"""
WITH gone_comments AS (
    DELETE FROM comments WHERE project_id = :source_id AND task_id = :task_id RETURNING *
), gone AS (
    DELETE FROM tasks WHERE project_id = :source_id AND id = :task_id RETURNING *
), moved AS (
    INSERT INTO tasks (project_id, assignee_id, version, updated_at, {_KEPT_BY_MOVE})
    SELECT :target_id,
           (SELECT user_id FROM project_members WHERE project_id = :target_id AND user_id = gone.assignee_id
            FOR KEY SHARE),
           version + 1, now(), {_KEPT_BY_MOVE}
    FROM gone RETURNING id, version
), moved_comments AS (
    INSERT INTO comments (project_id, {_COMMENT_KEPT_BY_MOVE})
    SELECT :target_id, {_COMMENT_KEPT_BY_MOVE} FROM gone_comments
), notified AS (
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT person.user_id, 'updated', :task_id, :user_id
    FROM gone CROSS JOIN LATERAL (
        VALUES (gone.created_by), (gone.assignee_id) UNION SELECT author_id FROM gone_comments
    ) AS person (user_id)
    JOIN project_members m ON m.project_id = :target_id AND m.user_id = person.user_id
    WHERE :notify AND person.user_id <> :user_id
)
INSERT INTO events ({EVENT_COLUMNS})
SELECT :source_id, :user_id, 'task', id, version, 'moved_out', CAST('{{}}' AS jsonb)
FROM moved
UNION ALL
SELECT :target_id, :user_id, 'task', id, version, 'moved_in',
       jsonb_build_object('project_id', jsonb_build_object('old', NULL, 'new', :target_id))
FROM moved
""",
    notify=Boolean(),
)


def _no_member() -> InvalidValueError:
    return InvalidValueError(("body", "assignee_id"), "is not a member of the project")


def _task(row: RowMapping) -> TaskRead:
    return TaskRead.model_validate({name: row[name] for name in TASK_FIELDS})


class TaskReader:
    """Reads tasks of projects that the caller is a member of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find_version(self, task_id: int, *, user_id: int, project_id: int | None = None) -> int:
        """Return the version of a task, without reading the rest of it.

        Raises:
            NotFoundError: There is none that the caller may see.
        """
        row = await self._reads.one(_FIND_VERSION, task_id=task_id, user_id=user_id, project_id=project_id)
        if row is None:
            raise NotFoundError("task")
        version: int = row["version"]
        return version

    async def find(self, task_id: int, *, user_id: int, project_id: int | None = None) -> Document:
        """Return one task, which must be in the project if one is given.

        Raises:
            NotFoundError: There is none that the caller may see.
        """
        row = await self._reads.one(_FIND, task_id=task_id, user_id=user_id, project_id=project_id)
        if row is None:
            raise NotFoundError("task")
        return Document(row["version"], row["body"])


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
        if row["id"] is None:
            raise _no_member()
        return _task(row)

    async def update(
        self,
        task_id: int,
        changes: TaskUpdate,
        *,
        user_id: int,
        project_id: int | None = None,
        condition: IfMatch = NO_CONDITION,
        notify: bool = False,
    ) -> TaskRead:
        """Change the given fields and return the task; without any difference nothing is written.

        With `notify`, creator, assignee and commenters learn of the change; a new assignee always does.

        Raises:
            NotFoundError: There is no such task that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: Its project is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
            InvalidValueError: The assignee is not a member of the project.
        """
        parameters = {
            "task_id": task_id,
            "user_id": user_id,
            "project_id": project_id,
            "patch": changes.model_dump(mode="json", exclude_unset=True, exclude={"project_id"}),
            "versions": condition.versions,
            "notify": notify,
        }
        return _task(await self._require_written(await self._execute(_UPDATE, parameters), condition))

    async def lock_for_move(
        self,
        task_id: int,
        target_id: int,
        *,
        user_id: int,
        project_id: int | None = None,
        condition: IfMatch = NO_CONDITION,
    ) -> int:
        """Lock a task against new comments and other writers and return the project that it is in.

        Raises:
            NotFoundError: There is no such task, or no such target, that the caller may see.
            RoleTooLowError: The caller may only read one of the two projects.
            ProjectArchivedError: One of them is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: The task is at another version than the condition names.
        """
        parameters = {"task_id": task_id, "target_id": target_id, "user_id": user_id, "project_id": project_id}
        row = await self._execute(_LOCK_FOR_MOVE, parameters)
        if row is None:
            raise NotFoundError("task")
        if row["target_id"] is None:
            raise NotFoundError("project")
        require_writer(row["role"], archived=False)
        require_writer(row["target_role"], archived=row["archived"] or row["target_archived"])
        await self._check(row, condition)
        source_id: int = row["project_id"]
        return source_id

    async def move(self, task_id: int, *, source_id: int, target_id: int, user_id: int, notify: bool = False) -> None:
        """Move a locked task with its comments; an assignee who is no member of the target is cleared.

        With `notify`, creator, assignee and commenters who are members of the target learn of it.

        Raises:
            NotFoundError: The target was deleted meanwhile.
        """
        parameters = {
            "task_id": task_id,
            "source_id": source_id,
            "target_id": target_id,
            "user_id": user_id,
            "notify": notify,
        }
        try:
            await self._session.execute(_MOVE, parameters)
        except IntegrityError as error:
            if violated_constraint(error) == "tasks_project_id_fkey":  # deleted between the lock and the move
                raise NotFoundError("project") from None
            raise

    async def delete(
        self, task_id: int, *, user_id: int, project_id: int | None = None, condition: IfMatch = NO_CONDITION
    ) -> None:
        """Delete a task with its comments.

        Raises:
            NotFoundError: There is no such task that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: Its project is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        parameters = {
            "task_id": task_id,
            "user_id": user_id,
            "project_id": project_id,
            "versions": condition.versions,
        }
        await self._require_written(await self._execute(_DELETE, parameters), condition)

    async def _require_written(self, row: RowMapping | None, condition: IfMatch) -> RowMapping:
        if row is None:
            raise NotFoundError("task")
        require_writer(row["role"], archived=row["archived"])
        if row["id"] is None:  # deleted by somebody else between the look-up and the lock
            raise NotFoundError("task")
        await self._check(row, condition)
        return row

    async def _check(self, row: RowMapping, condition: IfMatch) -> None:
        try:
            condition.check(row["found_version"])
        except StaleVersionError as stale:
            raise await name_changes(
                self._session, stale, project_id=row["project_id"], entity="task", entity_id=row["id"]
            ) from None

    async def _execute(self, statement: Any, parameters: dict[str, Any]) -> RowMapping | None:
        try:
            return (await self._session.execute(statement, parameters)).mappings().one_or_none()
        except IntegrityError as error:
            match violated_constraint(error):
                case "tasks_assignee_fkey":
                    raise _no_member() from None
                case "tasks_project_id_fkey":  # deleted between the look-up and the insert
                    raise NotFoundError("project") from None
            raise

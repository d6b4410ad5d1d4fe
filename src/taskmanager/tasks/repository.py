"""Every statement on tasks; membership is part of each WHERE clause."""

from functools import cache, partial
from typing import Any

from taskmanager.database.reads import Document, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import WriteRunner, Written
from taskmanager.errors import InvalidValueError, NotFoundError
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.people.statements import with_people
from taskmanager.projects.access import require_writer
from taskmanager.roles import may_write
from taskmanager.tasks.moving import move_task
from taskmanager.tasks.outcomes import named_violations, no_member, require_written
from taskmanager.tasks.schemas import NOTHING_INCLUDED, Included, TaskCreate, TaskUpdate
from taskmanager.tasks.shared_writes import CREATE, UPDATE
from taskmanager.tasks.statements import (
    CHANGEABLE,
    INCLUDED_TYPES,
    LOG_DELETED,
    NO_SECTION,
    TASK_ACCESS,
    create_steps,
    people_of,
    refused_due,
    task_as_bytes,
    task_with_counts,
    update_steps,
)

_KEYS = """
    SELECT 1 AS n, 1 AS place, :user_id AS user_id, :project_id AS project_id, :title AS title,
           :description AS description, :status AS status, :priority AS priority, :tags AS tags, :due_at AS due_at,
           :due_on AS due_on, :start_at AS start_at, :assignee_id AS assignee_id, :section_id AS section_id
"""


def _created(more: str = "") -> str:
    return f"""
    SELECT a.role, a.archived, c.n IS NOT NULL AS done, (c.t).id, a.project_id, (c.t).version,
           CASE WHEN c.n IS NOT NULL THEN {task_as_bytes("(c.t)")} END AS body
           {more}
    FROM access a LEFT JOIN created c ON true
    """


_IS_MISPLACED = ", EXISTS (SELECT FROM misplaced) AS is_misplaced"
_TYPES = {
    "title": "text",
    "description": "text",
    "status": "text",
    "priority": "integer",
    "tags": "text[]",
    "due_at": "timestamptz",
    "due_on": "date",
    "start_at": "timestamptz",
}
_CREATE = Write("create task", create_steps(_KEYS, notifies=False, many=False), _created(), _TYPES)
_CREATE_PLACED = Write("create assigned task", create_steps(_KEYS, many=False), _created(_IS_MISPLACED), _TYPES)

_VISIBLE = """
tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
WHERE t.id = :task_id AND (:project_id IS NULL OR t.project_id = :project_id)
"""
_FIND = Statement(
    "find task",
    f"SELECT t.version, {task_as_bytes('t')} AS body FROM {_VISIBLE}",
    shared=True,
)
_PEOPLE = f"CASE WHEN :with_people THEN {with_people(*people_of('t'))} END"
_FIND_WITH_MORE = Statement(
    "find task with more",
    f"SELECT t.version, convert_to({task_with_counts('t', _PEOPLE)}, 'UTF8') AS body FROM {_VISIBLE}",
    INCLUDED_TYPES,
    shared=True,
)
_FIND_VERSION = Statement("find version of task", f"SELECT t.version FROM {_VISIBLE}", shared=True)

_FEW_FIELDS = 2
_IS_WANTED = "(:versions IS NULL OR {version} = ANY(:versions))"


# Of one or two fields there are few combinations, and to prepare the comparison of all fields takes longer than to
# compare them.
@cache
def _update(fields: tuple[str, ...], *, notifies: bool) -> Write:
    is_refused = "EXISTS (SELECT FROM refused)" if notifies else "false"
    return Write(
        "update task and notify" if notifies else "update task",
        update_steps(
            f"""
            SELECT 1 AS n, :user_id AS user_id, :task_id AS task_id, :project_id AS project_id, :patch AS patch,
                   :versions AS versions, {":notify" if notifies else "false"} AS notify
            """,
            fields=fields,
            notifies=notifies,
            many=False,
        ),
        f"""
        SELECT a.role, a.archived, (f.old).version AS found_version,
               f.n IS NOT NULL AND {_IS_WANTED.format(version="(f.old).version")}
               AND NOT {is_refused} AND due.refused IS NULL AS done,
               {is_refused} AS is_refused, due.refused AS refused_due, a.id, a.project_id, t.version,
               {task_as_bytes("t")} AS body
        FROM access a LEFT JOIN found f ON true LEFT JOIN changed c ON true
        CROSS JOIN (SELECT {refused_due(fields)} AS refused) AS due
        CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
        """,
        {"patch": "jsonb", "versions": "integer[]", "notify": "boolean"},
    )


def _update_of(changes: TaskUpdate, *, notifies: bool) -> Write:
    """Return the statement that sets the fields that are given."""
    fields = tuple(name for name in CHANGEABLE if name in changes.model_fields_set)
    return _update(fields if len(fields) <= _FEW_FIELDS else CHANGEABLE, notifies=notifies)


_DELETE = Write(
    "delete task",
    f"""
{TASK_ACCESS}, found AS MATERIALIZED (
    SELECT t.project_id, t.id, t.version FROM tasks t JOIN access a ON a.project_id = t.project_id AND a.id = t.id
    WHERE {may_write("a.role", "a.archived")}
    FOR UPDATE OF t
), gone AS (
    DELETE FROM tasks t USING found f
    WHERE t.project_id = f.project_id AND t.id = f.id AND {_IS_WANTED.format(version="t.version")}
    RETURNING t.project_id, t.id, t.version, t.title
), {LOG_DELETED}""",
    """
    SELECT a.role, a.archived, f.version AS found_version, gone.id IS NOT NULL AS done,
           a.id, a.project_id, CAST(NULL AS integer) AS version, CAST(NULL AS bytea) AS body
    FROM access a LEFT JOIN found f ON true LEFT JOIN gone ON true
    """,
    {"versions": "integer[]"},
)


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

    async def find(
        self, task_id: int, *, user_id: int, project_id: int | None = None, included: Included = NOTHING_INCLUDED
    ) -> Document:
        """Return one task, which must be in the project if one is given, with what is included.

        Raises:
            NotFoundError: There is none that the caller may see.
        """
        row = await self._reads.one(
            _FIND_WITH_MORE if any(included) else _FIND,
            task_id=task_id,
            user_id=user_id,
            project_id=project_id,
            with_people=included.people,
            with_counts=included.counts,
        )
        if row is None:
            raise NotFoundError("task")
        return Document(row["version"], row["body"])


class TaskWriter:
    """Writes tasks."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def create(self, new: TaskCreate, *, user_id: int, project_id: int | None) -> Written:
        """Store a task in a project, or in the caller's Inbox if none is given.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: It is archived.
            InvalidValueError: The assignee is not a member of it who can log in, or the section is none of it.
        """
        alone = partial(self._create_alone, new, user_id=user_id, project_id=project_id)
        # A foreign key may have to wait for the removal of a member or a section.
        if new.assignee_id is not None or new.section_id is not None:
            return await alone()
        fields = new.model_dump_json(exclude={"project_id"})
        return await self._writes.share(CREATE, alone, user_id=user_id, project_id=project_id, task=fields)

    async def update(
        self,
        task_id: int,
        changes: TaskUpdate,
        *,
        user_id: int,
        project_id: int | None = None,
        condition: IfMatch = NO_CONDITION,
        notify: bool = False,
    ) -> Written:
        """Change the given fields and return the task; without any difference nothing is written.

        With `notify`, creator, assignee and commenters learn of the change; a new assignee always does. A new project
        moves the task there with its comments; an assignee who is no member of it is cleared.

        Raises:
            NotFoundError: There is no such task, or project to move it to, that the caller may see.
            RoleTooLowError: The caller may only read one of them.
            ProjectArchivedError: Its project, or the one to move it to, is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
            InvalidValueError: A new assignee is not a member of the project who can log in, a new section is none of
                it, or one of `due_at` and `due_on` is given and the other is set.
        """
        patch = changes.model_dump_json(exclude_unset=True, exclude={"project_id"})
        values = {"task_id": task_id, "user_id": user_id, "project_id": project_id, "patch": patch, "notify": notify}
        notifies = changes.assignee_id is not None or notify
        write = _update_of(changes, notifies=notifies or changes.project_id is not None)
        if changes.project_id is not None:
            return await self._move(changes.project_id, write, values, condition)
        if notifies or changes.section_id is not None:  # the foreign key of a section may have to wait
            return await self._update_alone(write, values, condition)
        versions = None if condition.versions is None else f"{{{','.join(map(str, condition.versions))}}}"
        alone = partial(self._update_alone, write, values, condition)
        return await self._writes.share(UPDATE, alone, **{**values, "versions": versions})

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
        row = await self._writes.one(
            _DELETE, task_id=task_id, user_id=user_id, project_id=project_id, versions=condition.versions
        )
        await require_written(self._writes, row, condition, user_id)

    async def _create_alone(self, new: TaskCreate, *, user_id: int, project_id: int | None) -> Written:
        values = new.model_dump(exclude={"project_id"})
        with named_violations():
            is_plain = new.assignee_id is None and new.section_id is None
            write = _CREATE if is_plain else _CREATE_PLACED
            row = await self._writes.one(write, **values, user_id=user_id, project_id=project_id)
        if row is None:
            raise NotFoundError("project")
        if not row["done"]:
            require_writer(row["role"], archived=row["archived"])
            raise InvalidValueError(("body", "section_id"), NO_SECTION) if row["is_misplaced"] else no_member()
        return Written(row["id"], row["version"], row["body"])

    async def _update_alone(self, write: Write, values: dict[str, Any], condition: IfMatch) -> Written:
        with named_violations():
            row = await self._writes.one(write, **values, versions=condition.versions)
        row = await require_written(self._writes, row, condition, values["user_id"])
        return Written(row["id"], row["version"], row["body"])

    async def _move(self, target_id: int, write: Write, values: dict[str, Any], condition: IfMatch) -> Written:
        async with self._writes.transaction() as run:
            with named_violations():
                if await move_task(run, target_id, values, condition):
                    values["notify"] = False  # the move has notified already
                row = await run.last(write, **{**values, "project_id": target_id}, versions=None)
            row = await require_written(run, row, NO_CONDITION, values["user_id"])
        return Written(row["id"], row["version"], row["body"])

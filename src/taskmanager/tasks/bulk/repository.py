"""Statements on many tasks of one project together: all or nothing, and as many statements for 100 as for one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import asyncpg
from pydantic import TypeAdapter

from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.statements import SharedWrite, Write
from taskmanager.database.writes import TransactionRunner, WriteRunner, Written
from taskmanager.errors import InvalidValueError, NotFoundError, PreconditionRequiredError, StaleVersionError
from taskmanager.events.repository import name_changed_fields
from taskmanager.projects.access import require_writer
from taskmanager.tasks.bulk.schemas import BulkChanges
from taskmanager.tasks.schemas import TaskCreateAnywhere
from taskmanager.tasks.statements import (
    GIVEN,
    GIVEN_COLUMNS,
    LOG_DELETED,
    NO_ASSIGNEE,
    NO_SECTION,
    TWICE_DUE,
    create_steps,
    refused_due,
    task_as_json,
    update_steps,
)

_BODY = """convert_to('{{"tasks":[' || string_agg({json}, ',' ORDER BY {order}) || ']}}', 'UTF8') AS body"""
_GIVEN = TypeAdapter(list[TaskCreateAnywhere])
_SET_ASSIGNEE = ("body", "set", "assignee_id")
_SET_SECTION = ("body", "set", "section_id")
# A few requests at a time: a statement of many tasks keeps others waiting.
_MOST_SHARED = 4
_NO_ID = "CAST(NULL AS bigint) AS id, CAST(NULL AS integer) AS version"


def _keys(tasks: str) -> str:
    return f"""
    SELECT r.n, new.place, r.user_id, {GIVEN}
    FROM requests r CROSS JOIN LATERAL
        ROWS FROM (jsonb_to_recordset({tasks}) AS ({GIVEN_COLUMNS})) WITH ORDINALITY AS new ({GIVEN}, place)
    """


_CREATE = Write(
    "create tasks",
    f"""
    requests AS MATERIALIZED (SELECT 1 AS n, :user_id AS user_id, :project_id AS project_id),
    {create_steps(_keys(":tasks"), requests="requests")}
    """,
    f"""
    SELECT a.role, a.archived, (SELECT min(place) FROM strangers) AS stranger,
           (SELECT min(place) FROM misplaced) AS misplaced, made.done, a.project_id, {_NO_ID}, made.body
    FROM access a CROSS JOIN (
        SELECT count(*) > 0 AS done, {_BODY.format(json=task_as_json("(c.t)"), order="c.place")} FROM created c
    ) AS made
    """,
    {"tasks": "jsonb"},
    most_shared=_MOST_SHARED,
)

# Tasks without an assignee and without a section.
_CREATE_SHARED = SharedWrite(
    "create tasks",
    {"user_id": "bigint", "project_id": "bigint", "tasks": "jsonb"},
    create_steps(_keys("r.tasks"), requests="requests", lock="SKIP LOCKED", notifies=False),
    f"""
    SELECT a.n, a.project_id, {_NO_ID}, made.body FROM access a JOIN (
        SELECT c.n, {_BODY.format(json=task_as_json("(c.t)"), order="c.place")} FROM created c GROUP BY c.n
    ) AS made ON made.n = a.n
    """,
    most=_MOST_SHARED,
)

# Locked in the order of their ids, so that two such requests cannot lock each other out. Their project comes first, as
# where a member is removed: rights stay until the end, and the two do not wait for each other's members and tasks.
_LOCK = Write(
    "lock tasks",
    """
locked AS MATERIALIZED (
    SELECT t.id, t.project_id, t.version, p.archived, m.role
    FROM tasks t
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
    WHERE t.id = ANY(:task_ids)
    ORDER BY t.id FOR KEY SHARE OF p FOR UPDATE OF t
)""",
    "SELECT * FROM locked",
)

_UPDATE = Write(
    "update tasks",
    update_steps(
        """
        SELECT k.n, :user_id AS user_id, k.task_id, :project_id AS project_id, :patch AS patch,
               CAST(NULL AS integer[]) AS versions, false AS notify
        FROM unnest(:task_ids) WITH ORDINALITY AS k (task_id, n)
        """
    ),
    f"""
    SELECT NOT EXISTS (SELECT FROM refused) AND {refused_due()} IS NULL AS done, {refused_due()} AS refused_due,
           :project_id AS project_id, {_NO_ID},
           {_BODY.format(json=task_as_json("t"), order="f.n")}
    FROM found f LEFT JOIN changed c ON c.n = f.n CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
    HAVING count(*) > 0
    """,
    {"patch": "jsonb"},
)

_DELETE = Write(
    "delete tasks",
    f"""
gone AS (
    DELETE FROM tasks WHERE project_id = :project_id AND id = ANY(:task_ids)
    RETURNING project_id, id, version, title
), {LOG_DELETED}""",
    f"SELECT true AS done, :project_id AS project_id, {_NO_ID}, CAST(NULL AS bytea) AS body",
)


class BulkTaskWriter:
    """Writes many tasks together."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def create(self, tasks: list[TaskCreateAnywhere], *, user_id: int, project_id: int | None) -> Written:
        """Store tasks in a project, or in the caller's Inbox, and return them in the given order.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: It is archived.
            InvalidValueError: An assignee is not a member of it who can log in, or a section is none of it; the error
                names the task.
        """
        self._writes.note_more(len(tasks) - 1)
        given = _GIVEN.dump_json(tasks).decode()
        alone = partial(self._create_alone, given, user_id=user_id, project_id=project_id)
        if any(task.assignee_id is not None or task.section_id is not None for task in tasks):
            return await alone()
        return await self._writes.share(_CREATE_SHARED, alone, user_id=user_id, project_id=project_id, tasks=given)

    async def _create_alone(self, tasks: str, *, user_id: int, project_id: int | None) -> Written:
        with _named_violations(assignee=("body", "tasks"), section=("body", "tasks")):
            row = await self._writes.one(_CREATE, tasks=tasks, user_id=user_id, project_id=project_id)
        if row is None:
            raise NotFoundError("project")
        if not row["done"]:
            require_writer(row["role"], archived=row["archived"])
            if row["stranger"] is not None:
                raise InvalidValueError(("body", "tasks", row["stranger"] - 1, "assignee_id"), NO_ASSIGNEE)
            raise InvalidValueError(("body", "tasks", row["misplaced"] - 1, "section_id"), NO_SECTION)
        return Written(None, None, row["body"])

    async def update(
        self,
        task_ids: Sequence[int],
        versions: Sequence[int | None],
        changes: BulkChanges,
        *,
        user_id: int,
        require_versions: bool,
        named_in: tuple[str, str],
    ) -> Written:
        """Set the given fields on tasks and return them in the given order; errors name the first one at fault.

        `named_in` is where the request names them.

        Raises:
            NotFoundError: One of them does not exist, or the caller may not see it.
            InvalidValueError: They are not all in one project, a new assignee is not a member of it who can log in, or
                a new section is none of it, or one of `due_at` and `due_on` is given and the other is set.
            RoleTooLowError: The caller may only read the project.
            ProjectArchivedError: It is archived.
            PreconditionRequiredError: Versions are demanded and none were given.
            StaleVersionError: One of them is at another version.
        """
        self._writes.note_more(len(task_ids) - 1)
        patch = changes.model_dump_json(exclude_unset=True)
        async with self._writes.transaction() as run:
            project_id = await _lock(
                run, task_ids, versions, user_id=user_id, require_versions=require_versions, named_in=named_in
            )
            with _named_violations(assignee=_SET_ASSIGNEE, section=_SET_SECTION):
                row = await run.last(_UPDATE, task_ids=task_ids, project_id=project_id, user_id=user_id, patch=patch)
            if row is None:  # the caller's account was deleted meanwhile
                raise NotFoundError("task", 0)
            if row["refused_due"]:
                raise InvalidValueError(("body", "set", row["refused_due"]), TWICE_DUE)
            if not row["done"]:
                raise InvalidValueError(_SET_ASSIGNEE, NO_ASSIGNEE)
        return Written(None, None, row["body"])

    async def delete(self, task_ids: Sequence[int], *, user_id: int, named_in: tuple[str, str]) -> None:
        """Delete tasks with their comments; errors name the first one at fault.

        Raises:
            NotFoundError: One of them does not exist, or the caller may not see it.
            InvalidValueError: They are not all in one project.
            RoleTooLowError: The caller may only read the project.
            ProjectArchivedError: It is archived.
        """
        async with self._writes.transaction() as run:
            project_id = await _lock(
                run, task_ids, [None] * len(task_ids), user_id=user_id, require_versions=False, named_in=named_in
            )
            await run.last(_DELETE, task_ids=task_ids, project_id=project_id, user_id=user_id)


async def _lock(
    run: TransactionRunner,
    task_ids: Sequence[int],
    versions: Sequence[int | None],
    *,
    user_id: int,
    require_versions: bool,
    named_in: tuple[str, str],
) -> int:
    """Lock tasks and return the project that they are in."""
    rows = await run.all(_LOCK, task_ids=task_ids, user_id=user_id)
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
            stale = StaleVersionError(found[task_id]["version"], base_version=version, index=index)
            await name_changed_fields(run, stale, user_id=user_id, entity="task", entity_id=task_id)
            raise stale
    project_id: int = first["project_id"]
    return project_id


@contextmanager
def _named_violations(*, assignee: tuple[str, ...], section: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        match violated_constraint(error):
            case "tasks_assignee_fkey":
                raise InvalidValueError(assignee, NO_ASSIGNEE) from None
            case "tasks_section_fkey":
                raise InvalidValueError(section, NO_SECTION) from None
            case "tasks_project_id_fkey":  # deleted between the look-up and the insert
                raise NotFoundError("project") from None
        raise

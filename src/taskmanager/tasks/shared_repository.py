"""The commonest reads and writes of tasks, run for many requests by one statement.

Each statement does a whole request: it checks the login, the membership and the role, and answers with the task as the
bytes that are sent. Whatever is not a plain success, such as a login that has ended, a task that may not be seen, a
version that is stale or a row that somebody else has locked, gives no answer: that request is run alone, by the
statements of `repository` and `list_repository`, and is told there what is wrong.

No look-up by key is turned into a join, which could be planned as a scan of the whole table; rows that are locked are
passed over, so no request waits for a lock that concerns another and no two processes can lock each other out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from taskmanager.accounts.statements import good_session
from taskmanager.accounts.tokens import AccessClaims
from taskmanager.database.database import SharedConnection
from taskmanager.database.shared_connections import Kind, SharedConnections
from taskmanager.database.sharing import Coalescer
from taskmanager.tasks.statements import create_statement, task_as_json, update_statement

_GOOD_LOGIN = f"(SELECT true {good_session('k.session_id', 'k.user_id')})"


class NewTask(NamedTuple):
    """A task to be created."""

    caller: AccessClaims
    project_id: int | None
    fields: str


class ChangedTask(NamedTuple):
    """Changes to a task, to be made at one of the given versions only, if there are any."""

    caller: AccessClaims
    task_id: int
    project_id: int | None
    patch: str
    versions: list[int] | None


class StoredTask(NamedTuple):
    """A task as the bytes of its JSON object."""

    id: int
    version: int
    json: bytes


def _as_bytes(alias: str) -> str:
    return f"convert_to({alias}.version || ' ' || {task_as_json(alias)}, 'UTF8')"


_CREATE = create_statement(
    f"""
    SELECT k.n, k.user_id, k.project_id, new.*
    FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS jsonb[]))
        WITH ORDINALITY AS k (session_id, user_id, project_id, task, n)
    CROSS JOIN LATERAL jsonb_to_record(k.task) AS new (
        title text, description text, status text, priority integer, tags text[], due_at timestamptz, assignee_id bigint
    )
    WHERE {_GOOD_LOGIN}
    """,
    f"SELECT n, (t).id, {_as_bytes('(t)')} AS task FROM created",
    lock="SKIP LOCKED",
    notifies=False,
)

_UPDATE = update_statement(
    f"""
    SELECT k.n, k.user_id, k.task_id, k.project_id, k.patch, CAST(k.versions AS integer[]) AS versions, false AS notify
    FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS bigint[]),
                CAST($5 AS jsonb[]), CAST($6 AS text[]))
        WITH ORDINALITY AS k (session_id, user_id, task_id, project_id, patch, versions, n)
    WHERE {_GOOD_LOGIN}
    """,
    f"""
    SELECT f.n, t.id, {_as_bytes("t")} AS task
    FROM found f JOIN keys k ON k.n = f.n LEFT JOIN changed c ON c.n = f.n
    CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
    WHERE k.versions IS NULL OR (f.old).version = ANY(k.versions)
    """,
    lock="SKIP LOCKED",
    notifies=False,
)


def _in_order(rows: Sequence[asyncpg.Record], count: int) -> list[StoredTask | None]:
    tasks: list[StoredTask | None] = [None] * count
    for n, task_id, written in rows:
        if written is not None:
            version, _, json = written.partition(b" ")
            tasks[n - 1] = StoredTask(task_id, int(version), json)
    return tasks


def _callers(items: Sequence[NewTask | ChangedTask]) -> tuple[list[int], list[int]]:
    return [item.caller.session_id for item in items], [item.caller.user_id for item in items]


async def _create(connection: SharedConnection, tasks: Sequence[NewTask]) -> Sequence[StoredTask | None]:
    rows = await connection.fetch(
        _CREATE, *_callers(tasks), [task.project_id for task in tasks], [task.fields for task in tasks]
    )
    return _in_order(rows, len(tasks))


async def _update(connection: SharedConnection, tasks: Sequence[ChangedTask]) -> Sequence[StoredTask | None]:
    rows = await connection.fetch(
        _UPDATE,
        *_callers(tasks),
        [task.task_id for task in tasks],
        [task.project_id for task in tasks],
        [task.patch for task in tasks],
        [None if task.versions is None else f"{{{','.join(map(str, task.versions))}}}" for task in tasks],
    )
    return _in_order(rows, len(tasks))


class SharedTasks:
    """Reads and writes tasks together with whoever else does the same at this moment.

    A ticket whose answer is None is for a request that must be run alone.
    """

    def __init__(self, shared: SharedConnections) -> None:
        self._connections = shared
        self.creations = Coalescer[NewTask, StoredTask]("create task", shared, _create)
        # Of two changes to one row in a statement PostgreSQL would make one and silently drop the other.
        self.changes = Coalescer[ChangedTask, StoredTask](
            "update task", shared, _update, conflict_key=lambda task: task.task_id
        )

    @property
    def coalescers(self) -> Sequence[Kind]:
        """All kinds of shared statements."""
        return self._connections.kinds

    @property
    def write_requests(self) -> int:
        """How many requests to create or to change a task shared statements, since the start."""
        return self.creations.requests + self.changes.requests

"""The commonest reads and writes of tasks, run for many requests by one statement.

Each statement does a whole request: it checks the login, the membership and the role, and answers with the task as the
bytes that are sent. Whatever is not a plain success, such as a login that has ended, a task that may not be seen, a
version that is stale or a row that somebody else has locked, gives no answer: that request is run alone, by the
statements of `repository` and `list_repository`, and is told there what is wrong.

No look-up by key is turned into a join, which could be planned as a scan of the whole table; rows that are locked are
passed over, so no request waits for a lock that concerns another and no two processes can lock each other out.
"""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from taskmanager.accounts.statements import good_session
from taskmanager.accounts.tokens import AccessClaims
from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.sharing import Coalescer, SharedConnections, Ticket
from taskmanager.tasks.statements import create_statement, task_as_json, update_statement

_GOOD_LOGIN = f"(SELECT true {good_session('k.session_id', 'k.user_id')})"
# To count so many tasks takes as long as hundreds of look-ups, which should not have to wait.
_COUNTED_ALONE = 10_000
_REMEMBERED = 10_000


class TaskKey(NamedTuple):
    """Which task is asked for, and by whom."""

    caller: AccessClaims
    task_id: int
    project_id: int | None


class PageKey(NamedTuple):
    """Which page of the newest tasks is asked for, and by whom; `size` is one more than are shown."""

    caller: AccessClaims
    project_id: int | None
    after_time: datetime
    after_id: int
    size: int


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


class StoredPage(NamedTuple):
    """Tasks as the bytes of their JSON objects, with commas between; `found` is one more if there are more behind.

    `last_time` and `last_id` are the key of the last one of a page that is full.
    """

    tasks: bytes
    found: int
    last_time: datetime | None
    last_id: int | None
    total: int | None


def _as_bytes(alias: str) -> str:
    return f"convert_to({alias}.version || ' ' || {task_as_json(alias)}, 'UTF8')"


_FIND = f"""
SELECT k.n, k.task_id AS id, CASE WHEN {_GOOD_LOGIN} THEN (
    SELECT {_as_bytes("t")}
    FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = k.user_id
    WHERE t.id = k.task_id AND (k.project_id IS NULL OR t.project_id = k.project_id)
) END AS task
FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS bigint[]))
    WITH ORDINALITY AS k (session_id, user_id, task_id, project_id, n)
"""


def _list_statement(total: str) -> str:
    # The newest of a project are read from an index, which stops early; merged and cut to the page. They lie in as many
    # projects as the page is long, those whose newest task is newest: of the others one index entry each is read.
    return f"""
SELECT k.n, page.*, {total} AS total
FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS timestamptz[]),
            CAST($5 AS bigint[]), CAST($6 AS integer[]))
    WITH ORDINALITY AS k (session_id, user_id, project_id, after_time, after_id, size, n)
CROSS JOIN LATERAL (
    SELECT convert_to(string_agg({task_as_json("t")}, ',') FILTER (WHERE t.place < k.size), 'UTF8') AS tasks,
           count(*) AS found, (array_agg(t.created_at))[k.size - 1] AS last_time,
           (array_agg(t.id))[k.size - 1] AS last_id
    FROM (
        -- Numbered behind the limit, so that no more than the page is ever sorted.
        SELECT t.*, row_number() OVER (ORDER BY t.created_at DESC, t.id DESC) AS place FROM (
            SELECT t.* FROM (
                SELECT m.project_id FROM project_members m CROSS JOIN LATERAL (
                    SELECT t.created_at, t.id FROM tasks t
                    WHERE t.project_id = m.project_id AND (t.created_at, t.id) < (k.after_time, k.after_id)
                    ORDER BY t.created_at DESC, t.id DESC LIMIT 1
                ) AS newest
                WHERE m.user_id = k.user_id AND (k.project_id IS NULL OR m.project_id = k.project_id)
                ORDER BY newest.created_at DESC, newest.id DESC LIMIT k.size
            ) AS m CROSS JOIN LATERAL (
                SELECT * FROM tasks t
                WHERE t.project_id = m.project_id AND (t.created_at, t.id) < (k.after_time, k.after_id)
                ORDER BY t.created_at DESC, t.id DESC LIMIT k.size
            ) AS t
            ORDER BY t.created_at DESC, t.id DESC LIMIT k.size
        ) AS t
    ) AS t
) AS page
WHERE {_GOOD_LOGIN}
"""


_LIST = _list_statement("CAST(NULL AS bigint)")
_LIST_COUNTED = _list_statement(f"""(
    SELECT count(*) FROM (
        SELECT FROM project_members m JOIN tasks t ON t.project_id = m.project_id
        WHERE m.user_id = k.user_id AND (k.project_id IS NULL OR m.project_id = k.project_id)
        LIMIT {_COUNTED_ALONE + 1}
    ) AS counted
)""")

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


def _callers(items: Sequence[TaskKey | PageKey | NewTask | ChangedTask]) -> tuple[list[int], list[int]]:
    return [item.caller.session_id for item in items], [item.caller.user_id for item in items]


async def _find(connection: SharedConnection, keys: Sequence[TaskKey]) -> Sequence[StoredTask | None]:
    rows = await connection.fetch(
        _FIND, *_callers(keys), [key.task_id for key in keys], [key.project_id for key in keys]
    )
    return _in_order(rows, len(keys))


async def _list(connection: SharedConnection, keys: Sequence[PageKey]) -> Sequence[StoredPage | None]:
    return await _list_by(_LIST, connection, keys)


async def _list_counted(connection: SharedConnection, keys: Sequence[PageKey]) -> Sequence[StoredPage | None]:
    return await _list_by(_LIST_COUNTED, connection, keys)


async def _list_by(sql: str, connection: SharedConnection, keys: Sequence[PageKey]) -> Sequence[StoredPage | None]:
    rows = await connection.fetch(
        sql,
        *_callers(keys),
        [key.project_id for key in keys],
        [key.after_time for key in keys],
        [key.after_id for key in keys],
        [key.size for key in keys],
    )
    pages: list[StoredPage | None] = [None] * len(keys)
    for n, tasks, found, last_time, last_id, total in rows:
        pages[n - 1] = StoredPage(tasks or b"", found, last_time, last_id, total)
    return pages


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

    def __init__(self, database: Database) -> None:
        self._connections = shared = SharedConnections(database)
        self.finds = Coalescer[TaskKey, StoredTask]("find task", shared, _find, reads=True)
        self.pages = Coalescer[PageKey, StoredPage]("list tasks", shared, _list, max_batch=32, reads=True)
        self.counted_pages = Coalescer[PageKey, StoredPage](
            "list and count tasks", shared, _list_counted, max_batch=32, reads=True
        )
        self.creations = Coalescer[NewTask, StoredTask]("create task", shared, _create)
        # Of two changes to one row in a statement PostgreSQL would make one and silently drop the other.
        self.changes = Coalescer[ChangedTask, StoredTask](
            "update task", shared, _update, conflict_key=lambda task: task.task_id
        )
        self._long_lists = OrderedDict[tuple[int, int | None], None]()

    @property
    def coalescers(self) -> Sequence[Coalescer[Any, Any]]:
        """All kinds of shared statements."""
        return self._connections.kinds

    @property
    def write_requests(self) -> int:
        """How many requests to create or to change a task shared statements, since the start."""
        return self.creations.requests + self.changes.requests

    async def close(self) -> None:
        """Let the statements under way finish, then give the connections back."""
        await self._connections.close()

    async def list_page(self, key: PageKey, *, counted: bool) -> Ticket[PageKey, StoredPage] | None:
        """Return the ticket of a page, or None for a list that is so long that it is counted alone.

        Raises:
            DatabaseUnavailableError: The database went away.
        """
        if not counted:
            return await self.pages.submit(key)
        counted_list = (key.caller.user_id, key.project_id)
        if counted_list in self._long_lists:
            return None
        ticket = await self.counted_pages.submit(key)
        page = ticket.answer.result()
        if page is not None and page.total is not None and page.total > _COUNTED_ALONE:
            self._long_lists[counted_list] = None
            if len(self._long_lists) > _REMEMBERED:
                self._long_lists.popitem(last=False)
            return None
        return ticket

"""Creates and changes the tasks of many requests by one statement.

The statement checks each request's login, unless its caller has been looked up, and returns each task as the bytes that
are sent. It returns no row for a request that is not a plain success, such as one whose login has ended, whose task may
not be seen, whose version is stale or whose row another transaction has locked. Such a request is run alone, by the
statements of `repository`, which say what is wrong.

Look-ups by key are never written as joins, which could be planned as a scan of the whole table. Locked rows are
skipped, so no request waits for a lock that concerns another one, and no two processes can deadlock.
"""

from collections.abc import Sequence
from typing import NamedTuple

from taskmanager.accounts.statements import GOOD_LOGIN_OF_KEY
from taskmanager.database.database import SharedConnection
from taskmanager.database.writes import SharedWrite, Written, run_shared
from taskmanager.tasks.statements import GIVEN_COLUMNS, create_steps, task_as_bytes, update_steps


class NewTask(NamedTuple):
    """A task to be created; `fields` is its JSON object, `session_id` the login that the statement checks."""

    session_id: int | None
    user_id: int
    project_id: int | None
    fields: str


class ChangedTask(NamedTuple):
    """Changes to a task, to be made at one of the given versions only, if there are any."""

    session_id: int | None
    user_id: int
    task_id: int
    project_id: int | None
    patch: str
    versions: str | None


_CREATE = f"""
WITH {
    create_steps(
        f'''
        SELECT k.n, k.user_id, k.project_id, new.*
        FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS jsonb[]))
            WITH ORDINALITY AS k (session_id, user_id, project_id, task, n)
        CROSS JOIN LATERAL jsonb_to_record(k.task) AS new ({GIVEN_COLUMNS})
        WHERE {GOOD_LOGIN_OF_KEY}
        ''',
        lock="SKIP LOCKED",
        notifies=False,
    )
}
SELECT n, (t).id, (t).version, {task_as_bytes("(t)")} AS body FROM created
"""

_UPDATE = f"""
WITH {
    update_steps(
        f'''
        SELECT k.n, k.user_id, k.task_id, k.project_id, k.patch, CAST(k.versions AS integer[]) AS versions,
               false AS notify
        FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS bigint[]),
                    CAST($5 AS jsonb[]), CAST($6 AS text[]))
            WITH ORDINALITY AS k (session_id, user_id, task_id, project_id, patch, versions, n)
        WHERE {GOOD_LOGIN_OF_KEY}
        ''',
        lock="SKIP LOCKED",
        notifies=False,
    )
}
SELECT f.n, t.id, t.version, {task_as_bytes("t")} AS body
FROM found f JOIN keys k ON k.n = f.n LEFT JOIN changed c ON c.n = f.n
CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
WHERE k.versions IS NULL OR (f.old).version = ANY(k.versions)
"""


async def _create(connection: SharedConnection, tasks: Sequence[NewTask]) -> Sequence[Written | None]:
    return await run_shared(_CREATE, connection, tasks)


async def _update(connection: SharedConnection, tasks: Sequence[ChangedTask]) -> Sequence[Written | None]:
    return await run_shared(_UPDATE, connection, tasks)


CREATE = SharedWrite[NewTask, Written]("create task", _create)
# If a statement changed one row twice, PostgreSQL would make one change and silently drop the other.
UPDATE = SharedWrite[ChangedTask, Written]("update task", _update, conflict_key=lambda task: task.task_id)

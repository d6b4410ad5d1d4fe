"""Creating and changing tasks for many requests by one statement.

Each request's login is checked in it, unless its caller has been looked up, and it answers with the task as the bytes
that are sent. Whatever is not a plain success, such as a login that has ended, a task that may not be seen, a version
that is stale or a row that somebody else has locked, gives no answer: that request is run alone, by the statements of
`repository`, which say what is wrong.

No look-up by key is turned into a join, which could be planned as a scan of the whole table; rows that are locked are
passed over, so no request waits for a lock that concerns another and no two processes can lock each other out.
"""

from collections.abc import Sequence
from typing import NamedTuple

from taskmanager.accounts.statements import GOOD_LOGIN_OF_KEY
from taskmanager.database.database import SharedConnection
from taskmanager.database.writes import SharedWrite, Written, run_shared
from taskmanager.tasks.statements import GIVEN_COLUMNS, create_steps, task_as_bytes, update_steps


class NewTask(NamedTuple):
    """A task to be created; `fields` is its JSON object, `session_id` the login that is yet to be checked."""

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
# Of two changes to one row in a statement PostgreSQL would make one and silently drop the other.
UPDATE = SharedWrite[ChangedTask, Written]("update task", _update, conflict_key=lambda task: task.task_id)

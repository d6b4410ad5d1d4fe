"""Creates and changes the tasks of many requests by one statement.

The statement returns each task as the bytes that are sent. It returns no row for a request that is not a plain success,
such as one whose task may not be seen, whose version is stale or whose row another transaction has locked. Such a
request is run alone, by the statements of `repository`, which say what is wrong.

Look-ups by key are never written as joins, which could be planned as a scan of the whole table. Locked rows are
skipped, so no request waits for a lock that concerns another one, and no two processes can deadlock.
"""

from taskmanager.database.statements import SharedWrite
from taskmanager.tasks.statements import GIVEN_COLUMNS, IS_DUE_TWICE, create_steps, task_as_bytes, update_steps

# The task is a JSON object.
CREATE = SharedWrite(
    "create task",
    {"user_id": "bigint", "project_id": "bigint", "task": "jsonb"},
    create_steps(
        f"""
        SELECT r.n, 1 AS place, r.user_id, r.project_id, new.*
        FROM requests r CROSS JOIN LATERAL jsonb_to_record(r.task) AS new ({GIVEN_COLUMNS})
        """,
        lock="SKIP LOCKED",
        notifies=False,
    ),
    f"SELECT n, (t).id, (t).project_id, (t).version, {task_as_bytes('(t)')} AS body FROM created",
)

# If a statement changed one row twice, PostgreSQL would make one change and silently drop the other.
UPDATE = SharedWrite(
    "update task",
    {"user_id": "bigint", "task_id": "bigint", "project_id": "bigint", "patch": "jsonb", "versions": "text"},
    update_steps(
        """
        SELECT r.n, r.user_id, r.task_id, r.project_id, r.patch, CAST(r.versions AS integer[]) AS versions,
               false AS notify
        FROM requests r
        """,
        lock="SKIP LOCKED",
        notifies=False,
    ),
    f"""
    SELECT c.n, t.id, t.project_id, t.version, {task_as_bytes("t")} AS body
    FROM compared c LEFT JOIN changed ON changed.n = c.n
    CROSS JOIN LATERAL (SELECT (COALESCE(changed.t, c.old)).*) AS t
    WHERE (c.versions IS NULL OR (c.old).version = ANY(c.versions)) AND NOT {IS_DUE_TWICE}
    """,
    conflicts=("task_id",),
)

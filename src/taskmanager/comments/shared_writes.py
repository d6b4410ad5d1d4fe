"""Creates the comments of many requests by one statement, under the rules of `tasks.shared_writes`."""

from taskmanager.comments.statements import AS_BYTES, WITH_AUTHOR, create_steps
from taskmanager.database.statements import SharedWrite

# Comments that mention nobody.
CREATE = SharedWrite(
    "create comment",
    {"user_id": "bigint", "task_id": "bigint", "body": "text"},
    create_steps("SELECT n, user_id, task_id, body FROM requests", lock="SKIP LOCKED"),
    f"""
    SELECT created.n, c.id, c.project_id, c.version, {AS_BYTES} AS body
    FROM created CROSS JOIN LATERAL (SELECT (created.c).*) AS c {WITH_AUTHOR}
    """,
)

"""Creates the comments of many requests by one statement, under the rules of `tasks.shared_writes`."""

from collections.abc import Sequence
from typing import NamedTuple

from taskmanager.accounts.statements import GOOD_LOGIN_OF_KEY
from taskmanager.comments.statements import AS_BYTES, WITH_AUTHOR, create_steps
from taskmanager.database.database import SharedConnection
from taskmanager.database.writes import SharedWrite, Written, run_shared


class NewComment(NamedTuple):
    """A comment that mentions nobody; `session_id` is the login that the statement checks."""

    session_id: int | None
    user_id: int
    task_id: int
    body: str


_CREATE = f"""
WITH {
    create_steps(
        f'''
        SELECT k.n, k.user_id, k.task_id, k.body
        FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS text[]))
            WITH ORDINALITY AS k (session_id, user_id, task_id, body, n)
        WHERE {GOOD_LOGIN_OF_KEY}
        ''',
        lock="SKIP LOCKED",
    )
}
SELECT created.n, c.id, c.version, {AS_BYTES} AS body
FROM created CROSS JOIN LATERAL (SELECT (created.c).*) AS c {WITH_AUTHOR}
"""


async def _create(connection: SharedConnection, comments: Sequence[NewComment]) -> Sequence[Written | None]:
    return await run_shared(_CREATE, connection, comments)


CREATE = SharedWrite[NewComment, Written]("create comment", _create)

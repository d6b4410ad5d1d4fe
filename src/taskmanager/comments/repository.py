"""Every statement on comments; membership is part of each WHERE clause."""

from typing import Any

from sqlalchemy import RowMapping, TextClause
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import Text

from taskmanager.comments.schemas import Author, CommentRead
from taskmanager.database import ReadSession, WriteSession, statement, violated_constraint
from taskmanager.errors import NotAuthorError, NotFoundError
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.projects.access import require_writer

_COLUMNS = "c.id, c.task_id, c.body, c.author_id, u.username, c.created_at, c.updated_at, c.version"
_WITH_AUTHOR = "LEFT JOIN users u ON u.id = c.author_id"


_ACCESS = """
access AS (
    SELECT t.project_id, t.id AS task_id, p.archived, m.role
    FROM tasks t
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
    WHERE t.id = :task_id
)"""

# A comment may be changed by its author, while they may write, and by the project's owners.
_TARGET = """
target AS (
    SELECT c.project_id, c.id, a.role, a.archived,
           a.role = 'owner' OR c.author_id IS NOT DISTINCT FROM :user_id AS may_change
    FROM access a JOIN comments c ON c.project_id = a.project_id AND c.task_id = a.task_id
    WHERE c.id = :comment_id
)"""
_ALLOWED = "target.may_change AND target.role IN ('owner', 'editor') AND NOT target.archived"

_CREATE = statement(
    f"""
WITH {_ACCESS}, c AS (
    INSERT INTO comments (project_id, task_id, author_id, body)
    SELECT project_id, task_id, :user_id, :body FROM access WHERE role IN ('owner', 'editor') AND NOT archived
    RETURNING *
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'comment', id, version, 'created',
           jsonb_build_object('body', jsonb_build_object('old', NULL, 'new', body),
                              'task_id', jsonb_build_object('old', NULL, 'new', task_id))
    FROM c
)
SELECT a.role, a.archived, {_COLUMNS} FROM access a LEFT JOIN c ON true {_WITH_AUTHOR}
""",
    body=Text(),
)

_FIND = statement(f"""
WITH {_ACCESS}
SELECT {_COLUMNS}
FROM access a JOIN comments c ON c.project_id = a.project_id AND c.task_id = a.task_id {_WITH_AUTHOR}
WHERE c.id = :comment_id
""")

# The outer join tells a task without comments from a task that is not there.
_LIST = statement(f"""
WITH {_ACCESS}
SELECT {_COLUMNS}
FROM access a LEFT JOIN comments c ON c.project_id = a.project_id AND c.task_id = a.task_id {_WITH_AUTHOR}
ORDER BY c.created_at, c.id
""")

_UPDATE = statement(
    f"""
WITH {_ACCESS}, {_TARGET}, found AS MATERIALIZED (
    SELECT c AS old FROM comments c JOIN target ON target.project_id = c.project_id AND target.id = c.id
    WHERE {_ALLOWED} FOR UPDATE OF c
), changed AS (
    UPDATE comments c SET body = :body, version = c.version + 1, updated_at = now()
    FROM found
    WHERE c.project_id = (found.old).project_id AND c.id = (found.old).id AND (found.old).body <> :body
    RETURNING c, (found.old).body AS old_body
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (c).project_id, :user_id, 'comment', (c).id, (c).version, 'updated',
           jsonb_build_object('body', jsonb_build_object('old', old_body, 'new', (c).body))
    FROM changed
)
SELECT target.role, target.archived, target.may_change, {_COLUMNS}
FROM target LEFT JOIN found ON true LEFT JOIN changed ON true
CROSS JOIN LATERAL (SELECT (COALESCE(changed.c, found.old)).*) AS c {_WITH_AUTHOR}
""",
    body=Text(),
)

_DELETE = statement(f"""
WITH {_ACCESS}, {_TARGET}, gone AS (
    DELETE FROM comments c USING target
    WHERE c.project_id = target.project_id AND c.id = target.id AND {_ALLOWED}
    RETURNING c.project_id, c.id, c.version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'comment', id, version + 1, 'deleted', '{{}}' FROM gone
)
SELECT target.role, target.archived, target.may_change, gone.id FROM target LEFT JOIN gone ON true
""")


def _comment(row: RowMapping) -> CommentRead:
    author = Author(id=row["author_id"], username=row["username"]) if row["username"] else None
    return CommentRead.model_validate({**row, "author": author})


class CommentReader:
    """Reads comments on tasks of projects that the caller is a member of."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def find(self, comment_id: int, *, task_id: int, user_id: int) -> CommentRead:
        """Return one comment.

        Raises:
            NotFoundError: There is no such comment on that task that the caller may see.

        """
        parameters = {"comment_id": comment_id, "task_id": task_id, "user_id": user_id}
        row = (await self._session.execute(_FIND, parameters)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("comment")
        return _comment(row)

    async def list_all(self, task_id: int, *, user_id: int) -> list[CommentRead]:
        """Return the comments of a task, oldest first.

        Raises:
            NotFoundError: There is no such task that the caller may see.

        """
        rows = (await self._session.execute(_LIST, {"task_id": task_id, "user_id": user_id})).mappings().all()
        if not rows:
            raise NotFoundError("task")
        return [_comment(row) for row in rows if row["id"] is not None]


class CommentWriter:
    """Writes comments."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def create(self, task_id: int, body: str, *, user_id: int) -> CommentRead:
        """Store a comment on a task.

        Raises:
            NotFoundError: There is no such task that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: Its project is archived.

        """
        row = await self._one(_CREATE, {"task_id": task_id, "user_id": user_id, "body": body})
        if row is None:
            raise NotFoundError("task")
        require_writer(row["role"], archived=row["archived"])
        return _comment(row)

    async def update(self, comment_id: int, body: str, *, task_id: int, user_id: int) -> CommentRead:
        """Change a comment's text and return it; the same text writes nothing.

        Raises:
            NotFoundError: There is no such comment that the caller may see.
            RoleTooLowError: The caller may only read it.
            NotAuthorError: The caller is neither its author nor an owner of the project.
            ProjectArchivedError: Its project is archived.

        """
        parameters = {"comment_id": comment_id, "task_id": task_id, "user_id": user_id, "body": body}
        return _comment(self._require_written(await self._one(_UPDATE, parameters)))

    async def delete(self, comment_id: int, *, task_id: int, user_id: int) -> None:
        """Delete a comment.

        Raises:
            NotFoundError: There is no such comment that the caller may see.
            RoleTooLowError: The caller may only read it.
            NotAuthorError: The caller is neither its author nor an owner of the project.
            ProjectArchivedError: Its project is archived.

        """
        parameters = {"comment_id": comment_id, "task_id": task_id, "user_id": user_id}
        self._require_written(await self._one(_DELETE, parameters))

    @staticmethod
    def _require_written(row: RowMapping | None) -> RowMapping:
        if row is None:
            raise NotFoundError("comment")
        require_writer(row["role"], archived=False)
        if not row["may_change"]:
            raise NotAuthorError
        require_writer(row["role"], archived=row["archived"])
        if row["id"] is None:  # deleted by somebody else between the look-up and the lock
            raise NotFoundError("comment")
        return row

    async def _one(self, statement: TextClause, parameters: dict[str, Any]) -> RowMapping | None:
        try:
            return (await self._session.execute(statement, parameters)).mappings().one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) == "comments_task_fkey":  # deleted between the look-up and the insert
                raise NotFoundError("task") from None
            raise

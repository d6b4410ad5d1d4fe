"""Every statement on comments; membership is part of each WHERE clause."""

import re
from typing import Any

from sqlalchemy import RowMapping, TextClause
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import Integer, Text

from taskmanager.comments.schemas import Author, CommentRead
from taskmanager.database.database import WriteSession, statement
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import Document, FoundPage, Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import NotAuthorError, NotFoundError, StaleVersionError
from taskmanager.events.repository import name_changes
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.http.pagination import Page
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.projects.access import require_writer

_COLUMNS = "c.id, c.task_id, c.project_id, c.body, c.author_id, u.username, c.created_at, c.updated_at, c.version"
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

_MENTIONED = """
mentioned AS (
    INSERT INTO notifications (user_id, kind, task_id, comment_id, actor_id)
    SELECT u.id, 'mentioned', (said.c).task_id, (said.c).id, :user_id
    FROM (SELECT c FROM {source}) AS said
    CROSS JOIN users u
    JOIN project_members m ON m.project_id = (said.c).project_id AND m.user_id = u.id
    WHERE lower(u.username) = ANY(:mentions) AND u.id <> :user_id AND NOT EXISTS (
        SELECT FROM notifications n
        WHERE n.task_id = (said.c).task_id AND n.comment_id = (said.c).id AND n.user_id = u.id
    )
)"""

_CREATE = statement(
    f"""
WITH {_ACCESS}, created AS (
    INSERT INTO comments AS c (project_id, task_id, author_id, body)
    SELECT project_id, task_id, :user_id, :body FROM access WHERE role IN ('owner', 'editor') AND NOT archived
    RETURNING c
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (c).project_id, :user_id, 'comment', (c).id, (c).version, 'created',
           jsonb_build_object('body', jsonb_build_object('old', NULL, 'new', (c).body),
                              'task_id', jsonb_build_object('old', NULL, 'new', (c).task_id))
    FROM created
), {_MENTIONED.format(source="created")}
SELECT a.role, a.archived, {_COLUMNS}
FROM access a LEFT JOIN created ON true CROSS JOIN LATERAL (SELECT (created.c).*) AS c {_WITH_AUTHOR}
""",
    body=Text(),
    mentions=ARRAY(Text),
)

_COMMENT = json_object(CommentRead, "c", author=f"CASE WHEN u.username IS NOT NULL THEN {json_object(Author, 'u')} END")
_AUTHOR_OF_ROW = json_object(Author, "row", id="row.author_id")
_ROW = json_object(CommentRead, "row", author=f"CASE WHEN row.username IS NOT NULL THEN {_AUTHOR_OF_ROW} END")
_VISIBLE_TASK = """(
    SELECT t.project_id, t.id AS task_id
    FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
    WHERE t.id = :task_id
) AS a"""

_FIND = Statement(
    "find comment",
    f"""
SELECT c.version, convert_to({_COMMENT}, 'UTF8') AS body
FROM {_VISIBLE_TASK} JOIN comments c ON c.project_id = a.project_id AND c.task_id = a.task_id {_WITH_AUTHOR}
WHERE c.id = :comment_id
""",
    shared=True,
)

_FIND_VERSION = Statement(
    "find version of comment",
    f"""
SELECT c.version FROM {_VISIBLE_TASK} JOIN comments c ON c.project_id = a.project_id AND c.task_id = a.task_id
WHERE c.id = :comment_id
""",
    shared=True,
)

_NEXT = f"""
SELECT c.*, u.username, c.created_at AS key_time, c.id AS key_id
FROM comments c {_WITH_AUTHOR}
WHERE c.project_id = a.project_id AND c.task_id = a.task_id AND {after_key("c.created_at", "c.id")}
ORDER BY c.created_at, c.id LIMIT :limit
"""

# A task that may not be seen gives no row, one without comments an empty page.
_LIST = Statement(
    "list comments",
    f"SELECT page.* FROM {_VISIBLE_TASK} CROSS JOIN LATERAL ({json_page(_NEXT, _ROW)}) AS page",
    shared=True,
    most_shared=32,
)

_UPDATE = statement(
    f"""
WITH {_ACCESS}, {_TARGET}, found AS MATERIALIZED (
    SELECT c AS old FROM comments c JOIN target ON target.project_id = c.project_id AND target.id = c.id
    WHERE {_ALLOWED} FOR UPDATE OF c
), changed AS (
    UPDATE comments c SET body = :body, version = c.version + 1, updated_at = now()
    FROM found
    WHERE c.project_id = (found.old).project_id AND c.id = (found.old).id AND (found.old).body <> :body
      AND (:versions IS NULL OR c.version = ANY(:versions))
    RETURNING c, (found.old).body AS old_body
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (c).project_id, :user_id, 'comment', (c).id, (c).version, 'updated',
           jsonb_build_object('body', jsonb_build_object('old', old_body, 'new', (c).body))
    FROM changed
), {_MENTIONED.format(source="changed")}
SELECT target.role, target.archived, target.may_change, (found.old).version AS found_version, {_COLUMNS}
FROM target LEFT JOIN found ON true LEFT JOIN changed ON true
CROSS JOIN LATERAL (SELECT (COALESCE(changed.c, found.old)).*) AS c {_WITH_AUTHOR}
""",
    body=Text(),
    mentions=ARRAY(Text),
    versions=ARRAY(Integer),
)

_DELETE = statement(
    f"""
WITH {_ACCESS}, {_TARGET}, found AS MATERIALIZED (
    SELECT c.project_id, c.id, c.version
    FROM comments c JOIN target ON target.project_id = c.project_id AND target.id = c.id
    WHERE {_ALLOWED} FOR UPDATE OF c
), gone AS (
    DELETE FROM comments c USING found
    WHERE c.project_id = found.project_id AND c.id = found.id AND (:versions IS NULL OR c.version = ANY(:versions))
    RETURNING c.project_id, c.id, c.version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'comment', id, version + 1, 'deleted', '{{}}' FROM gone
)
SELECT target.role, target.archived, target.may_change, target.project_id, found.id, found.version AS found_version
FROM target LEFT JOIN found ON true
""",
    versions=ARRAY(Integer),
)

# Letters of any script stand before the @ of an e-mail address, or go on with a word that is no user name.
_MENTION = re.compile(r"(?<![\w@./+-])@([A-Za-z0-9_]{3,50})(?![\w@])")


def mentioned_names(body: str) -> list[str]:
    """Return the user names that a text mentions as @name, in lower case."""
    return sorted({name.lower() for name in _MENTION.findall(body)})


def _comment(row: RowMapping) -> CommentRead:
    author = Author(id=row["author_id"], username=row["username"]) if row["username"] else None
    return CommentRead.model_validate({**row, "author": author})


class CommentReader:
    """Reads comments on tasks of projects that the caller is a member of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, comment_id: int, *, task_id: int, user_id: int) -> Document:
        """Return one comment.

        Raises:
            NotFoundError: There is no such comment on that task that the caller may see.
        """
        row = await self._reads.one(_FIND, comment_id=comment_id, task_id=task_id, user_id=user_id)
        if row is None:
            raise NotFoundError("comment")
        return Document(row["version"], row["body"])

    async def find_version(self, comment_id: int, *, task_id: int, user_id: int) -> int:
        """Return the version of a comment, without reading the rest of it.

        Raises:
            NotFoundError: There is no such comment on that task that the caller may see.
        """
        row = await self._reads.one(_FIND_VERSION, comment_id=comment_id, task_id=task_id, user_id=user_id)
        if row is None:
            raise NotFoundError("comment")
        version: int = row["version"]
        return version

    async def list_page(self, task_id: int, page: Page, *, user_id: int) -> FoundPage:
        """Return a page of comments of a task, oldest first, as `json_page` has it.

        Raises:
            NotFoundError: There is no such task that the caller may see.
        """
        row = await self._reads.page(_LIST, **page.parameters, task_id=task_id, user_id=user_id)
        if row is None:
            raise NotFoundError("task")
        return row


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
        row = await self._one(
            _CREATE, {"task_id": task_id, "user_id": user_id, "body": body, "mentions": mentioned_names(body)}
        )
        if row is None:
            raise NotFoundError("task")
        require_writer(row["role"], archived=row["archived"])
        return _comment(row)

    async def update(
        self, comment_id: int, body: str, *, task_id: int, user_id: int, condition: IfMatch = NO_CONDITION
    ) -> CommentRead:
        """Change a comment's text and return it; the same text writes nothing.

        Raises:
            NotFoundError: There is no such comment that the caller may see.
            RoleTooLowError: The caller may only read it.
            NotAuthorError: The caller is neither its author nor an owner of the project.
            ProjectArchivedError: Its project is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        parameters = {
            "comment_id": comment_id,
            "task_id": task_id,
            "user_id": user_id,
            "body": body,
            "mentions": mentioned_names(body),
            "versions": condition.versions,
        }
        return _comment(await self._require_written(await self._one(_UPDATE, parameters), condition))

    async def delete(self, comment_id: int, *, task_id: int, user_id: int, condition: IfMatch = NO_CONDITION) -> None:
        """Delete a comment.

        Raises:
            NotFoundError: There is no such comment that the caller may see.
            RoleTooLowError: The caller may only read it.
            NotAuthorError: The caller is neither its author nor an owner of the project.
            ProjectArchivedError: Its project is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        parameters = {
            "comment_id": comment_id,
            "task_id": task_id,
            "user_id": user_id,
            "versions": condition.versions,
        }
        await self._require_written(await self._one(_DELETE, parameters), condition)

    async def _require_written(self, row: RowMapping | None, condition: IfMatch) -> RowMapping:
        if row is None:
            raise NotFoundError("comment")
        require_writer(row["role"], archived=False)
        if not row["may_change"]:
            raise NotAuthorError
        require_writer(row["role"], archived=row["archived"])
        if row["id"] is None:  # deleted by somebody else between the look-up and the lock
            raise NotFoundError("comment")
        try:
            condition.check(row["found_version"])
        except StaleVersionError as stale:
            raise await name_changes(
                self._session, stale, project_id=row["project_id"], entity="comment", entity_id=row["id"]
            ) from None
        return row

    async def _one(self, statement: TextClause, parameters: dict[str, Any]) -> RowMapping | None:
        try:
            return (await self._session.execute(statement, parameters)).mappings().one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) == "comments_task_fkey":  # deleted between the look-up and the insert
                raise NotFoundError("task") from None
            raise

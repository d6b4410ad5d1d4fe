"""Every statement on comments; membership is part of each WHERE clause."""

from functools import partial

import asyncpg

from taskmanager.comments.mentions import mentioned_names
from taskmanager.comments.schemas import CommentRead
from taskmanager.comments.shared_writes import CREATE
from taskmanager.comments.statements import (
    AS_BYTES,
    COMMENT,
    COMMENT_WITH_PEOPLE,
    WITH_AUTHOR,
    create_steps,
    mention_steps,
)
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import Document, FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import WriteRunner, Written
from taskmanager.errors import NotAuthorError, NotFoundError
from taskmanager.events.repository import check_version
from taskmanager.events.schemas import Person
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.http.pagination import Page
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.people.statements import page_with_people
from taskmanager.projects.access import require_writer
from taskmanager.roles import may_write

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
_ALLOWED = f"target.may_change AND {may_write('target.role', 'target.archived')}"


def _create(name: str, *, mentions: bool) -> Write:
    return Write(
        name,
        create_steps(
            "SELECT 1 AS n, :user_id AS user_id, :task_id AS task_id, :body AS body"
            + (", :mentions AS mentions" if mentions else ""),
            mentions=mentions,
        ),
        f"""
        SELECT a.role, a.archived, c.id IS NOT NULL AS done, c.id, a.project_id, c.version,
               CASE WHEN c.id IS NOT NULL THEN {AS_BYTES} END AS body
        FROM access a LEFT JOIN created ON true CROSS JOIN LATERAL (SELECT (created.c).*) AS c {WITH_AUTHOR}
        """,
        {"body": "text", "mentions": "text[]"},
    )


_CREATE = _create("create comment", mentions=False)
_CREATE_AND_MENTION = _create("create comment with mentions", mentions=True)

_AUTHOR_OF_ROW = json_object(Person, "row", id="row.author_id")
_ROW = json_object(CommentRead, "row", author=f"CASE WHEN row.username IS NOT NULL THEN {_AUTHOR_OF_ROW} END")
_VISIBLE_TASK = """(
    SELECT t.project_id, t.id AS task_id
    FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
    WHERE t.id = :task_id
) AS a"""


def _find(comment: str) -> Statement:
    return Statement(
        "find comment",
        f"""
        SELECT c.version, convert_to({comment}, 'UTF8') AS body
        FROM {_VISIBLE_TASK} JOIN comments c ON c.project_id = a.project_id AND c.task_id = a.task_id {WITH_AUTHOR}
        WHERE c.id = :comment_id
        """,
        shared=True,
    )


_FIND = _find(COMMENT)
_FIND_WITH_PEOPLE = _find(COMMENT_WITH_PEOPLE)

_FIND_VERSION = Statement(
    "find version of comment",
    f"""
SELECT c.version FROM {_VISIBLE_TASK} JOIN comments c ON c.project_id = a.project_id AND c.task_id = a.task_id
WHERE c.id = :comment_id
""",
    shared=True,
)

_NEXT = f"""
SELECT c.*, u.username, u.display_name, c.created_at AS key_time, c.id AS key_id
FROM comments c {WITH_AUTHOR}
WHERE c.project_id = a.project_id AND c.task_id = a.task_id AND {after_key("c.created_at", "c.id")}
ORDER BY c.created_at, c.id LIMIT :limit
"""


# A task that the caller may not see gives no row; one without comments gives an empty page.
def _list(page: str) -> Statement:
    sql = f"SELECT page.* FROM {_VISIBLE_TASK} CROSS JOIN LATERAL ({page}) AS page"
    return Statement("list comments", sql, shared=True, most_shared=32)


_LIST = _list(json_page(_NEXT, _ROW))
# A deleted author is not named.
_LIST_WITH_PEOPLE = _list(page_with_people(_NEXT, _ROW, "CASE WHEN row.username IS NOT NULL THEN row.author_id END"))

_IS_WANTED = "(:versions IS NULL OR {version} = ANY(:versions))"


def _update(name: str, *, mentions: bool) -> Write:
    mentioned = ", " + mention_steps("changed", "(SELECT :user_id AS user_id, :mentions AS mentions)")
    return Write(
        name,
        f"""
        {_ACCESS}, {_TARGET}, found AS MATERIALIZED (
            SELECT c AS old FROM comments c JOIN target ON target.project_id = c.project_id AND target.id = c.id
            WHERE {_ALLOWED} FOR UPDATE OF c
        ), changed AS (
            UPDATE comments c SET body = :body, version = c.version + 1, updated_at = now()
            FROM found
            WHERE c.project_id = (found.old).project_id AND c.id = (found.old).id AND (found.old).body <> :body
              AND {_IS_WANTED.format(version="c.version")}
            RETURNING c, (found.old).body AS old_body
        ), logged AS (
            INSERT INTO events ({EVENT_COLUMNS})
            SELECT (c).project_id, :user_id, 'comment', (c).id, (c).version, 'updated',
                   jsonb_build_object('body', jsonb_build_object('old', old_body, 'new', (c).body))
            FROM changed
        ){mentioned if mentions else ""}
        """,
        f"""
        SELECT target.role, target.archived, target.may_change, (found.old).version AS found_version,
               (found.old).id IS NOT NULL AND {_IS_WANTED.format(version="(found.old).version")} AS done,
               target.id, target.project_id, c.version, {AS_BYTES} AS body
        FROM target LEFT JOIN found ON true LEFT JOIN changed ON true
        CROSS JOIN LATERAL (SELECT (COALESCE(changed.c, found.old)).*) AS c {WITH_AUTHOR}
        """,
        {"body": "text", "mentions": "text[]", "versions": "integer[]"},
    )


_UPDATE = _update("update comment", mentions=False)
_UPDATE_AND_MENTION = _update("update comment with mentions", mentions=True)

_DELETE = Write(
    "delete comment",
    f"""
{_ACCESS}, {_TARGET}, found AS MATERIALIZED (
    SELECT c.project_id, c.id, c.version
    FROM comments c JOIN target ON target.project_id = c.project_id AND target.id = c.id
    WHERE {_ALLOWED} FOR UPDATE OF c
), gone AS (
    DELETE FROM comments c USING found
    WHERE c.project_id = found.project_id AND c.id = found.id AND {_IS_WANTED.format(version="c.version")}
    RETURNING c.project_id, c.id, c.version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'comment', id, version + 1, 'deleted', '{{}}' FROM gone
)""",
    """
SELECT target.role, target.archived, target.may_change, found.version AS found_version, gone.id IS NOT NULL AS done,
       target.id, target.project_id, CAST(NULL AS integer) AS version, CAST(NULL AS bytea) AS body
FROM target LEFT JOIN found ON true LEFT JOIN gone ON true
""",
    {"versions": "integer[]"},
)


class CommentReader:
    """Reads comments on tasks of projects that the caller is a member of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, comment_id: int, *, task_id: int, user_id: int, with_people: bool = False) -> Document:
        """Return one comment.

        Raises:
            NotFoundError: There is no such comment on that task that the caller may see.
        """
        statement = _FIND_WITH_PEOPLE if with_people else _FIND
        row = await self._reads.one(statement, comment_id=comment_id, task_id=task_id, user_id=user_id)
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

    async def list_page(self, task_id: int, page: Page, *, user_id: int, with_people: bool = False) -> FoundPage:
        """Return a page of comments of a task, oldest first, as `json_page` has it.

        Raises:
            NotFoundError: There is no such task that the caller may see.
        """
        statement = _LIST_WITH_PEOPLE if with_people else _LIST
        row = await self._reads.page(statement, **page.parameters, task_id=task_id, user_id=user_id)
        if row is None:
            raise NotFoundError("task")
        return row


class CommentWriter:
    """Writes comments."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def create(self, task_id: int, body: str, *, user_id: int) -> Written:
        """Store a comment on a task.

        Raises:
            NotFoundError: There is no such task that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: Its project is archived.
        """
        mentions = mentioned_names(body)
        alone = partial(self._create_alone, task_id, body, user_id=user_id, mentions=mentions)
        if mentions:
            return await alone()
        return await self._writes.share(CREATE, alone, user_id=user_id, task_id=task_id, body=body)

    async def _create_alone(self, task_id: int, body: str, *, user_id: int, mentions: list[str]) -> Written:
        try:
            write = _CREATE_AND_MENTION if mentions else _CREATE
            row = await self._writes.one(write, task_id=task_id, user_id=user_id, body=body, mentions=mentions)
        except asyncpg.ForeignKeyViolationError as error:
            if violated_constraint(error) == "comments_task_fkey":  # deleted between the look-up and the insert
                raise NotFoundError("task") from None
            raise
        if row is None:
            raise NotFoundError("task")
        require_writer(row["role"], archived=row["archived"])
        return Written(row["id"], row["version"], row["body"])

    async def update(
        self, comment_id: int, body: str, *, task_id: int, user_id: int, condition: IfMatch = NO_CONDITION
    ) -> Written:
        """Change a comment's text and return it; the same text writes nothing.

        Raises:
            NotFoundError: There is no such comment that the caller may see.
            RoleTooLowError: The caller may only read it.
            NotAuthorError: The caller is neither its author nor an owner of the project.
            ProjectArchivedError: Its project is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        mentions = mentioned_names(body)
        row = await self._writes.one(
            _UPDATE_AND_MENTION if mentions else _UPDATE,
            comment_id=comment_id,
            task_id=task_id,
            user_id=user_id,
            body=body,
            mentions=mentions,
            versions=condition.versions,
        )
        row = await self._require_written(row, condition, user_id)
        return Written(row["id"], row["version"], row["body"])

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
        row = await self._writes.one(
            _DELETE, comment_id=comment_id, task_id=task_id, user_id=user_id, versions=condition.versions
        )
        await self._require_written(row, condition, user_id)

    async def _require_written(self, row: asyncpg.Record | None, condition: IfMatch, user_id: int) -> asyncpg.Record:
        if row is None:
            raise NotFoundError("comment")
        if not row["done"]:
            require_writer(row["role"], archived=False)
            if not row["may_change"]:
                raise NotAuthorError
            require_writer(row["role"], archived=row["archived"])
            if (version := row["found_version"]) is not None:
                await check_version(
                    self._writes, condition, version, user_id=user_id, entity="comment", entity_id=row["id"]
                )
            # Deleted by somebody else between the look-up and the lock.
            raise NotFoundError("comment")
        return row

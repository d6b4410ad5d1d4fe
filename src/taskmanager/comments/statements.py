"""The statements that create comments, for one request or for many that share them, and what others have in common."""

from taskmanager.accounts.folding import folded_name
from taskmanager.comments.schemas import CommentRead
from taskmanager.database.json_rows import json_object
from taskmanager.events.followed import FollowedEntity
from taskmanager.events.schemas import Person
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.people.statements import with_people
from taskmanager.roles import may_write

WITH_AUTHOR = "LEFT JOIN users u ON u.id = c.author_id"
_AUTHOR = f"CASE WHEN u.username IS NOT NULL THEN {json_object(Person, 'u')} END"
COMMENT = json_object(CommentRead, "c", author=_AUTHOR)
# Whose account is deleted is not named.
COMMENT_WITH_PEOPLE = json_object(
    CommentRead, "c", author=_AUTHOR, more=with_people("CASE WHEN u.username IS NOT NULL THEN u.id END")
)
AS_BYTES = f"convert_to({COMMENT}, 'UTF8')"
FOLLOWED = FollowedEntity(
    "comment",
    "comments",
    json_object(CommentRead, "r", author=_AUTHOR),
    CommentRead,
    joins="LEFT JOIN users u ON u.id = r.author_id",
    parent="task",
    parent_id="r.task_id",
)


def mention_steps(source: str, keys: str) -> str:
    """Return the step that notifies those whom the comments `c` of `source` mention.

    `keys` give the `user_id` of the author and the `mentions`, names in lower case; one row, or one for each `n`.
    """
    return f"""
mentioned AS (
    INSERT INTO notifications (user_id, kind, task_id, comment_id, actor_id)
    SELECT u.id, 'mentioned', (said.c).task_id, (said.c).id, k.user_id
    FROM {source} AS said
    JOIN {keys} AS k ON cardinality(k.mentions) > 0
    JOIN project_members m ON m.project_id = (said.c).project_id
    JOIN users u ON u.id = m.user_id AND u.id <> k.user_id AND NOT u.disabled
                AND {folded_name("u.username")} = ANY(k.mentions)
    WHERE NOT EXISTS (
        SELECT FROM notifications n
        WHERE n.task_id = (said.c).task_id AND n.comment_id = (said.c).id AND n.user_id = u.id
    )
)"""


def create_steps(keys: str, *, lock: str = "", mentions: bool = False) -> str:
    """Return the steps that create a comment for each of the `keys`: (n, user_id, task_id, body).

    The steps to select from are `access` (n, project_id, task_id, archived, role) and `created` (n, c), which has only
    those that were allowed. `lock` may be SKIP LOCKED. With `mentions`, for one request, `keys` name those too.
    """
    mentioned = f", {mention_steps('created', 'keys')}" if mentions else ""
    return f"""
keys AS MATERIALIZED ({keys}), access AS MATERIALIZED (
    SELECT k.n, t.project_id, t.id AS task_id, p.archived, m.role
    FROM keys k
    JOIN tasks t ON t.id = k.task_id
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = k.user_id
    JOIN users u ON u.id = k.user_id
    -- The comment's foreign keys lock these two as well: here a row that somebody else has locked is passed over.
    FOR KEY SHARE OF t {lock} FOR KEY SHARE OF u {lock}
), allowed AS MATERIALIZED (
    SELECT k.*, a.project_id FROM access a JOIN keys k ON k.n = a.n
    WHERE {may_write("a.role", "a.archived")} ORDER BY k.n
), created AS (
    -- An INSERT could not say which comment is whose.
    MERGE INTO comments AS c USING allowed AS k ON false
    WHEN NOT MATCHED THEN INSERT (project_id, task_id, author_id, body)
        VALUES (k.project_id, k.task_id, k.user_id, k.body)
    RETURNING k.n, c
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (c).project_id, (c).author_id, 'comment', (c).id, (c).version, 'created',
           jsonb_build_object('body', jsonb_build_object('old', NULL, 'new', (c).body),
                              'task_id', jsonb_build_object('old', NULL, 'new', (c).task_id))
    FROM created ORDER BY (c).id
){mentioned}
"""

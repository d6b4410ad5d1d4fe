"""Moving a task to another project."""

from typing import Any

from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import Runner
from taskmanager.errors import NotFoundError
from taskmanager.events.repository import check_version
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.http.preconditions import IfMatch
from taskmanager.ordering.keys import key_between
from taskmanager.ordering.positions import lock_of_order, position
from taskmanager.projects.access import require_writer
from taskmanager.tasks.statements import TASK_ACCESS

# The order of the target comes first: those who put its tasks into order lock that before them.
_LOCK = Write(
    "lock task to move",
    f"""
{TASK_ACCESS}, target AS MATERIALIZED (
    SELECT p.id, p.archived, m.role, {lock_of_order("p.id", "tasks")} IS NULL AS is_void
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :target_id
)""",
    """
SELECT a.project_id, t.id, t.version AS found_version, a.role, a.archived,
       target.id AS target_id, target.role AS target_role,
       target.archived AS target_archived, target.is_void
FROM access a
JOIN tasks t ON t.project_id = a.project_id AND t.id = a.id
LEFT JOIN target ON true
FOR UPDATE OF t
""",
)

_LAST = Statement(
    "find last place",
    f"SELECT {position('t')} AS key FROM tasks t WHERE t.project_id = :target_id ORDER BY 1 DESC LIMIT 1",
)

_KEPT_BY_MOVE = (
    "id, title, description, status, priority, tags, due_at, due_on, start_at, created_by, created_at, completed_at"
)
_COMMENT_KEPT_BY_MOVE = "id, task_id, author_id, body, created_at, updated_at, version"

# Delete and insert, not an update of the key: rows that are distributed by project cannot change theirs. The target is
# locked before its member, as where a member is removed: the other way round the two would wait for each other.
_MOVE = Write(
    "move task",
    f"""
gone_comments AS (
    DELETE FROM comments WHERE project_id = :source_id AND task_id = :task_id RETURNING *
), gone AS (
    DELETE FROM tasks WHERE project_id = :source_id AND id = :task_id RETURNING *
), target AS MATERIALIZED (
    SELECT id AS target_id FROM projects WHERE id = :target_id FOR KEY SHARE
), moved AS (
    INSERT INTO tasks (project_id, assignee_id, position, version, updated_at, {_KEPT_BY_MOVE})
    SELECT target_id,
           (SELECT user_id FROM project_members WHERE project_id = :target_id AND user_id = gone.assignee_id
            FOR KEY SHARE),
           :position, version + 1, now(), {_KEPT_BY_MOVE}
    FROM target CROSS JOIN gone RETURNING id, version, assignee_id
), moved_comments AS (
    INSERT INTO comments (project_id, {_COMMENT_KEPT_BY_MOVE})
    SELECT target_id, {_COMMENT_KEPT_BY_MOVE} FROM target CROSS JOIN gone_comments
), notified AS (
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT person.user_id, 'updated', :task_id, :user_id
    FROM gone CROSS JOIN LATERAL (
        VALUES (gone.created_by), (gone.assignee_id) UNION SELECT author_id FROM gone_comments
    ) AS person (user_id)
    JOIN project_members m ON m.project_id = :target_id AND m.user_id = person.user_id
    JOIN users u ON u.id = person.user_id AND NOT u.disabled
    WHERE :notify AND person.user_id <> :user_id
), logged AS (
INSERT INTO events ({EVENT_COLUMNS})
SELECT :source_id, :user_id, 'task', moved.id, moved.version, 'moved_out',
       jsonb_build_object('project_id', jsonb_build_object('old', :source_id, 'new', NULL))
       || CASE WHEN gone.assignee_id IS DISTINCT FROM moved.assignee_id
          THEN jsonb_build_object('assignee_id', jsonb_build_object('old', gone.assignee_id, 'new', NULL))
          ELSE '{{}}' END
       || CASE WHEN gone.section_id IS NOT NULL
          THEN jsonb_build_object('section_id', jsonb_build_object('old', gone.section_id, 'new', NULL))
          ELSE '{{}}' END
FROM moved CROSS JOIN gone
UNION ALL
SELECT :target_id, :user_id, 'task', id, version, 'moved_in',
       jsonb_build_object('project_id', jsonb_build_object('old', NULL, 'new', :target_id))
FROM moved
)""",
    "SELECT id FROM moved",
    {"notify": "boolean", "position": "text"},
)


async def move_task(run: Runner, target_id: int, values: dict[str, Any], condition: IfMatch) -> bool:
    """Move a task with its comments, in a transaction, and return whether it was in another project before.

    `values` are those of an update. The task comes last in the target, without a section. An assignee who is no member
    of the target is cleared; with `notify`, creator, assignee and commenters who are members of the target and can log
    in learn of it.

    Raises:
        NotFoundError: There is no such task, or no such target, that the caller may see.
        RoleTooLowError: The caller may only read one of the two projects.
        ProjectArchivedError: One of them is archived.
        PreconditionRequiredError: A condition is demanded and none was given.
        StaleVersionError: The task is at another version than the condition names.
        asyncpg.ForeignKeyViolationError: The target was deleted meanwhile.
    """
    row = await run.one(_LOCK, **values, target_id=target_id)
    if row is None:
        raise NotFoundError("task")
    if row["target_id"] is None:
        raise NotFoundError("project")
    require_writer(row["role"], archived=False)
    require_writer(row["target_role"], archived=row["archived"] or row["target_archived"])
    source_id = row["project_id"]
    await check_version(
        run, condition, row["found_version"], user_id=values["user_id"], entity="task", entity_id=row["id"]
    )
    if source_id == target_id:
        return False
    last = await run.one(_LAST, target_id=target_id)
    place = None if last is None else key_between(last["key"], None, row["id"])
    if await run.one(_MOVE, **values, source_id=source_id, target_id=target_id, position=place) is None:
        # The target was deleted.
        raise NotFoundError("project")
    return True

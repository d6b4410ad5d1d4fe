"""The statements that create and change tasks, for one request or for many that share them.

Each takes its requests as rows of `keys`, numbered by `n`, so that the same text serves a single request, a bulk
request and many requests at once.
"""

from taskmanager.database.json_rows import json_object
from taskmanager.events.statements import EVENT_COLUMNS, changed_fields
from taskmanager.tasks.schemas import TaskCreate, TaskRead

TASK_FIELDS = tuple(TaskRead.model_fields)
_GIVEN = ", ".join(TaskCreate.model_fields)
_TELL_ASSIGNEE = """
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT assignee_id, 'assigned', id, created_by FROM t WHERE assignee_id <> created_by
"""
_TELL_PEOPLE = """
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT DISTINCT ON (told.task_id, told.user_id) told.user_id, told.kind, told.task_id, told.actor_id
    FROM (
        SELECT (t).project_id, (t).id AS task_id, (t).assignee_id AS user_id, 'assigned' AS kind, user_id AS actor_id
        FROM changed WHERE jsonb_exists(changes, 'assignee_id')
        UNION ALL
        SELECT (t).project_id, (t).id, person.user_id, 'updated', changed.user_id
        FROM changed CROSS JOIN LATERAL (
            VALUES ((t).created_by), ((t).assignee_id)
            UNION SELECT author_id FROM comments WHERE project_id = (t).project_id AND task_id = (t).id
        ) AS person (user_id) WHERE notify
    ) AS told
    JOIN project_members m ON m.project_id = told.project_id AND m.user_id = told.user_id
    WHERE told.user_id <> told.actor_id
    ORDER BY told.task_id, told.user_id, told.kind
"""


def task_columns(alias: str) -> str:
    """Return the columns of a task, as every answer has them."""
    return ", ".join(f"{alias}.{name}" for name in TASK_FIELDS)


def task_as_json(alias: str) -> str:
    """Return SQL for a task as the text of its JSON object, as every answer has it, for connections of `Database`."""
    return json_object(TaskRead, alias)


def create_statement(keys: str, result: str, *, lock: str = "", notifies: bool = True) -> str:
    """Return SQL that creates a task for each of the `keys`: (n, user_id, project_id and the fields of a new task).

    Without a project the task goes to the user's Inbox. `result` selects from `access` (n, project_id, archived, role)
    and `created` (n, t), which has only those that were allowed. `lock` may be SKIP LOCKED. Unless it `notifies`, no
    assignee is told: for tasks that have none.
    """
    notified = f", notified AS ({_TELL_ASSIGNEE})" if notifies else ""
    return f"""
WITH keys AS MATERIALIZED ({keys}), access AS MATERIALIZED (
    SELECT k.n, p.id AS project_id, p.archived, m.role
    FROM keys k
    JOIN projects p ON p.id = COALESCE(k.project_id, (SELECT id FROM projects WHERE inbox_of = k.user_id))
    JOIN project_members m ON m.project_id = p.id AND m.user_id = k.user_id
    JOIN users u ON u.id = k.user_id
    -- The membership stays until the task is there: who is being removed or deleted leaves no task behind.
    -- The project is locked before it and the user last, in the order of whoever deletes them.
    FOR KEY SHARE OF p {lock} FOR KEY SHARE OF m {lock} FOR KEY SHARE OF u {lock}
), allowed AS MATERIALIZED (
    SELECT k.*, a.project_id AS target_id, nextval('tasks_id_seq') AS id
    FROM access a JOIN keys k ON k.n = a.n
    WHERE a.role IN ('owner', 'editor') AND NOT a.archived AND (k.assignee_id IS NULL OR EXISTS (
        SELECT FROM project_members s WHERE s.project_id = a.project_id AND s.user_id = k.assignee_id
    ))
), t AS (
    INSERT INTO tasks (project_id, id, created_by, completed_at, {_GIVEN})
    SELECT target_id, id, user_id, CASE WHEN status = 'completed' THEN now() END, {_GIVEN} FROM allowed
    RETURNING *
), created AS (
    SELECT allowed.n, t FROM t JOIN allowed ON allowed.id = t.id
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, created_by, 'task', id, version, 'created',
           jsonb_build_object('title', jsonb_build_object('old', NULL, 'new', title))
    FROM t
){notified}
{result}
"""


# The row is locked before it is compared: fields that are not given keep what another writer has just
# committed, and the log gets the values that this very change replaced.
def update_statement(keys: str, result: str, *, lock: str = "", notifies: bool = True) -> str:
    """Return SQL that changes the task of each of `keys` (n, user_id, task_id, project_id, patch, versions, notify).

    Only at one of the `versions`, unless they are NULL. `result` selects from `access` (n, project_id, id, archived,
    role), `found` (n, old), which has only those that the user may write, and `changed` (n, t), which has those that
    differ now. `lock` may be SKIP LOCKED. Unless it `notifies`, nobody is told, whatever `notify` says: for changes
    that assign nobody.
    """
    notified = f", notified AS ({_TELL_PEOPLE})" if notifies else ""
    return f"""
WITH keys AS MATERIALIZED ({keys}), access AS MATERIALIZED (
    SELECT k.n, t.project_id, t.id, p.archived, m.role
    FROM keys k
    JOIN tasks t ON t.id = k.task_id AND (k.project_id IS NULL OR t.project_id = k.project_id)
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = k.user_id
), found AS MATERIALIZED (
    SELECT a.n, t AS old FROM access a JOIN tasks t ON t.project_id = a.project_id AND t.id = a.id
    WHERE a.role IN ('owner', 'editor') AND NOT a.archived
    ORDER BY t.id FOR UPDATE OF t {lock}
), wanted AS MATERIALIZED (
    SELECT f.n, f.old, jsonb_populate_record(f.old, k.patch) AS new, k.user_id, k.versions, k.notify
    FROM found f JOIN keys k ON k.n = f.n
), compared AS MATERIALIZED (
    SELECT wanted.*, {
        changed_fields(
            "wanted", ("title", "description", "status", "priority", "tags", "assignee_id"), timestamps=("due_at",)
        )
    } AS changes FROM wanted
), changed AS (
    UPDATE tasks t
    SET title = (c.new).title, description = (c.new).description, status = (c.new).status,
        priority = (c.new).priority, tags = (c.new).tags, due_at = (c.new).due_at, assignee_id = (c.new).assignee_id,
        completed_at = CASE WHEN (c.new).status = 'completed' THEN COALESCE(t.completed_at, now()) END,
        version = t.version + 1, updated_at = now()
    FROM compared c
    WHERE t.project_id = (c.old).project_id AND t.id = (c.old).id AND c.changes IS NOT NULL
      AND (c.versions IS NULL OR t.version = ANY(c.versions))
    RETURNING c.n, t, c.changes, c.user_id, c.notify
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (t).project_id, user_id, 'task', (t).id, (t).version, 'updated', changes FROM changed ORDER BY (t).id
){notified}
{result}
"""

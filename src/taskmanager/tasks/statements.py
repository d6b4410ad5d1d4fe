"""The statements that create and change tasks, for one request or for many that share them.

Each takes its requests as rows of `keys`, numbered by `n`, so that the same text serves a single request, a bulk
request and many requests together.
"""

from collections.abc import Collection
from typing import Final

from taskmanager.database.json_rows import json_object
from taskmanager.events.followed import FollowedEntity
from taskmanager.events.statements import EVENT_COLUMNS, changed_fields
from taskmanager.ordering.positions import position
from taskmanager.roles import may_write
from taskmanager.tasks.schemas import TaskCreate, TaskRead

# The task of `:task_id`, in the project of `:project_id` if there is one, for `:user_id`.
TASK_ACCESS = """
access AS (
    SELECT t.project_id, t.id, p.archived, m.role
    FROM tasks t
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
    WHERE t.id = :task_id AND (:project_id IS NULL OR t.project_id = :project_id)
)"""
# The events of tasks that a step `gone` (project_id, id, version, title) has deleted.
LOG_DELETED = f"""
logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version + 1, 'deleted',
           jsonb_build_object('title', jsonb_build_object('old', title, 'new', NULL))
    FROM gone ORDER BY id
)"""
GIVEN = ", ".join(TaskCreate.model_fields)
GIVEN_COLUMNS = (
    "title text, description text, status text, priority integer, tags text[], due_at timestamptz, due_on date, "
    "start_at timestamptz, assignee_id bigint, section_id bigint"
)
# Of what else is shown with tasks.
INCLUDED_TYPES = {"with_people": "boolean", "with_counts": "boolean"}
# What a change may set.
CHANGEABLE: Final = (
    *("title", "description", "status", "priority", "tags", "due_at", "due_on", "start_at"),
    *("assignee_id", "section_id", "position"),
)
_MOMENTS: Final = frozenset({"due_at", "start_at"})
_DUE: Final = frozenset({"due_at", "due_on"})
# Of a change `c` in `compared`: whether the task would be due both at a moment and on a day.
IS_DUE_TWICE = "num_nonnulls((c.new).due_at, (c.new).due_on) > 1"
# The field that such a change gives, NULL if there is none.
_REFUSED_DUE = f"""(
    SELECT min(CASE WHEN jsonb_exists(c.changes, 'due_at') THEN 'due_at' ELSE 'due_on' END)
    FROM compared c WHERE {IS_DUE_TWICE}
)"""
TWICE_DUE = "the task has another due: a change from due_at to due_on, or back, sets the other to null"
# Why a task cannot be assigned to somebody, or be put into a section.
NO_ASSIGNEE = "is not a member of the project who can log in"
NO_SECTION = "is not a section of the project"
_STRANGERS = """
strangers AS MATERIALIZED (
    SELECT k.n, k.place FROM keys k JOIN access a ON a.n = k.n
    WHERE k.assignee_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM project_members m JOIN users u ON u.id = m.user_id AND NOT u.disabled
        WHERE m.project_id = a.project_id AND m.user_id = k.assignee_id
    )
), """
_MISPLACED = """
misplaced AS MATERIALIZED (
    SELECT k.n, k.place FROM keys k JOIN access a ON a.n = k.n
    WHERE k.section_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM sections s WHERE s.project_id = a.project_id AND s.id = k.section_id)
), """
# Who is assigned to a task already stays so. Who is no member violates a foreign key.
_DISABLED = """
refused AS MATERIALIZED (
    SELECT c.n FROM compared c JOIN users u ON u.id = (c.new).assignee_id
    WHERE jsonb_exists(c.changes, 'assignee_id') AND u.disabled
)"""
_NOTIFY_ASSIGNEE = """
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT assignee_id, 'assigned', id, created_by FROM t WHERE assignee_id <> created_by
"""
_NOTIFY_PEOPLE = """
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT DISTINCT ON (news.task_id, news.user_id) news.user_id, news.kind, news.task_id, news.actor_id
    FROM (
        SELECT (t).project_id, (t).id AS task_id, (t).assignee_id AS user_id, 'assigned' AS kind, user_id AS actor_id
        FROM changed WHERE jsonb_exists(changes, 'assignee_id')
        UNION ALL
        SELECT (t).project_id, (t).id, person.user_id, 'updated', changed.user_id
        FROM changed CROSS JOIN LATERAL (
            VALUES ((t).created_by), ((t).assignee_id)
            UNION SELECT author_id FROM comments WHERE project_id = (t).project_id AND task_id = (t).id
        ) AS person (user_id) WHERE notify
    ) AS news
    JOIN project_members m ON m.project_id = news.project_id AND m.user_id = news.user_id
    JOIN users u ON u.id = news.user_id AND NOT u.disabled
    WHERE news.user_id <> news.actor_id
    ORDER BY news.task_id, news.user_id, news.kind
"""


def task_as_json(alias: str) -> str:
    """Return SQL for a task as the text of its JSON object, as every answer has it, for connections of `Database`."""
    return json_object(TaskRead, alias, position=position(alias))


def task_with_counts(alias: str, more: str = "NULL") -> str:
    """Return SQL for a task as the text of its JSON object, `:with_counts` with how much belongs to it.

    `more` is SQL for the text of further fields, each with a comma before it, or NULL.
    """
    comments = f"SELECT count(*) FROM comments c WHERE c.project_id = {alias}.project_id AND c.task_id = {alias}.id"
    counts = f"""CASE WHEN :with_counts THEN concat(',"comment_count":', ({comments})) END"""
    return json_object(TaskRead, alias, more=f"{counts}, {more}", position=position(alias))


def people_of(alias: str) -> tuple[str, str]:
    """Return SQL for the ids of those whom a task names, or NULL."""
    return f"{alias}.assignee_id", f"{alias}.created_by"


def task_as_bytes(alias: str) -> str:
    """Return SQL for a task as the bytes of its JSON object."""
    return f"convert_to({task_as_json(alias)}, 'UTF8')"


FOLLOWED = FollowedEntity("task", "tasks", task_as_json("r"), TaskRead)


def create_steps(keys: str, *, requests: str = "keys", lock: str = "", notifies: bool = True, many: bool = True) -> str:
    """Return the steps that create a task for each of the `keys`: (n, place, user_id, fields of a new task).

    Those with the same `n` are all created or none, and each `n` is one of the `requests`: (n, user_id, project_id).
    Without a project its tasks go to the user's Inbox. The steps to select from are `access` (n, project_id, archived,
    role), `strangers` (n, place), whose assignee is no member who can log in, `misplaced` (n, place), whose section is
    none of the project, and `created` (n, place, t), which has only those that were allowed. `lock` may be SKIP LOCKED.
    Without `notifies`, which is for tasks without an assignee and without a section, neither is checked. Where there
    are not `many`, `keys` is one row, which has to be neither ordered nor found again.
    """
    by_place, by_id, created = (
        ("ORDER BY k.n, k.place", "ORDER BY id", "allowed.n, allowed.place, t FROM t JOIN allowed ON allowed.id = t.id")
        if many
        else ("", "", "1 AS n, 1 AS place, t FROM t")
    )
    notified = strangers = is_allowed = ""
    if notifies:
        notified = f", notified AS ({_NOTIFY_ASSIGNEE})"
        strangers = _STRANGERS + _MISPLACED
        is_allowed = "".join(
            f" AND NOT EXISTS (SELECT FROM {step} s WHERE s.n = k.n)" for step in ("strangers", "misplaced")
        )
    return f"""
keys AS MATERIALIZED ({keys}), access AS MATERIALIZED (
    SELECT k.n, p.id AS project_id, p.archived, m.role
    FROM {requests} k
    JOIN projects p ON p.id = COALESCE(k.project_id, (SELECT id FROM projects WHERE inbox_of = k.user_id))
    JOIN project_members m ON m.project_id = p.id AND m.user_id = k.user_id
    JOIN users u ON u.id = k.user_id
    -- The membership stays until the task is there: who is being removed or deleted leaves no task behind.
    -- The project is locked before it and the user last, in the order in which a deletion locks them.
    FOR KEY SHARE OF p {lock} FOR KEY SHARE OF m {lock} FOR KEY SHARE OF u {lock}
), {strangers}allowed AS MATERIALIZED (
    SELECT ordered.*, nextval('tasks_id_seq') AS id FROM (
        SELECT k.*, a.project_id AS target_id FROM access a JOIN keys k ON k.n = a.n
        WHERE {may_write("a.role", "a.archived")} {is_allowed}
        {by_place}
    ) AS ordered
), t AS (
    INSERT INTO tasks (project_id, id, created_by, completed_at, {GIVEN})
    SELECT target_id, id, user_id, CASE WHEN status = 'completed' THEN now() END, {GIVEN} FROM allowed
    RETURNING *
), created AS (
    SELECT {created}
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, created_by, 'task', id, version, 'created',
           jsonb_build_object('title', jsonb_build_object('old', NULL, 'new', title))
    FROM t {by_id}
){notified}
"""


def refused_due(fields: Collection[str] = CHANGEABLE) -> str:
    """Return SQL for the field by which a change of these `fields` makes a task due twice, NULL if none does."""
    return "CAST(NULL AS text)" if _DUE.isdisjoint(fields) else _REFUSED_DUE


# The row is locked before it is compared: fields that are not given keep what another writer has just
# committed, and the log gets the values that this very change replaced.
def update_steps(
    keys: str, *, fields: Collection[str] = CHANGEABLE, lock: str = "", notifies: bool = True, many: bool = True
) -> str:
    """Return the steps that change the task of each of `keys`.

    These are (n, user_id, task_id, project_id, patch, versions, notify), whose patches have no other than the `fields`;
    a task is changed only at one of the `versions`, unless they are NULL. The steps to select from are `access` (n,
    project_id, id, archived, role), `found` (n, old), which has only those that the user may write, `compared` (n, old,
    new, versions), `refused` (n), whose new assignee cannot log in, so that no task is changed, and `changed` (n, t),
    which has those that differ now and are not `IS_DUE_TWICE`. `lock` may be SKIP LOCKED. Without `notifies`, which is
    for changes without a new assignee, `notify` is ignored, no one is notified, and there is no `refused`. Where there
    are not `many`, `keys` is one row.
    """
    by_task, by_id = ("ORDER BY t.id", "ORDER BY (t).id") if many else ("", "")
    notified = refused = is_allowed = ""
    if notifies:
        notified = f", notified AS ({_NOTIFY_PEOPLE})"
        refused = f", {_DISABLED}"
        is_allowed = "AND NOT EXISTS (SELECT FROM refused)"
    if not _DUE.isdisjoint(fields):
        is_allowed += f" AND NOT {IS_DUE_TWICE}"
    values = [f"{name} = (c.new).{name}" for name in fields]
    if "status" in fields:
        values.append("completed_at = CASE WHEN (c.new).status = 'completed' THEN COALESCE(t.completed_at, now()) END")
    changes = changed_fields(
        "wanted",
        [name for name in fields if name not in {*_MOMENTS, "position"}],
        timestamps=[name for name in fields if name in _MOMENTS],
        expressions={"position": position("{}")} if "position" in fields else {},
    )
    return f"""
keys AS MATERIALIZED ({keys}), access AS MATERIALIZED (
    SELECT k.n, t.project_id, t.id, p.archived, m.role
    FROM keys k
    JOIN tasks t ON t.id = k.task_id AND (k.project_id IS NULL OR t.project_id = k.project_id)
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = k.user_id
), found AS MATERIALIZED (
    SELECT a.n, t AS old FROM access a JOIN tasks t ON t.project_id = a.project_id AND t.id = a.id
    WHERE {may_write("a.role", "a.archived")}
    {by_task} FOR NO KEY UPDATE OF t {lock}
), wanted AS MATERIALIZED (
    SELECT f.n, f.old, jsonb_populate_record(f.old, k.patch) AS new, k.user_id, k.versions, k.notify
    FROM found f JOIN keys k ON k.n = f.n
), compared AS MATERIALIZED (
    SELECT wanted.*, {changes} AS changes FROM wanted
){refused}, changed AS (
    UPDATE tasks t
    SET {", ".join([*values, "version = t.version + 1", "updated_at = now()"])}
    FROM compared c
    WHERE t.project_id = (c.old).project_id AND t.id = (c.old).id AND c.changes IS NOT NULL
      AND (c.versions IS NULL OR t.version = ANY(c.versions)) {is_allowed}
    RETURNING c.n, t, c.changes, c.user_id, c.notify
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (t).project_id, user_id, 'task', (t).id, (t).version, 'updated', changes FROM changed {by_id}
){notified}
"""

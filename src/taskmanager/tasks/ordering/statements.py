"""The statements that put a task to another place in the order of its project.

A key depends on those of the neighbours. What reads these comes first, and is shared with other requests. The write
then locks the task and its neighbours, and changes nothing if one of them is not where it was. Where that happens, or
where several tasks get new keys, the order of the project is locked by a statement of its own, and what reads and
writes keys follows in the same transaction.
"""

from taskmanager.database.statements import Statement, Write
from taskmanager.ordering.keys import MOST_RENEWED
from taskmanager.ordering.positions import lock_of_order, position, share_of_order
from taskmanager.roles import may_write
from taskmanager.tasks.statements import task_as_bytes, update_steps

_KEY = position("t")

# The project stays until the end, and nobody removes its members or deletes its sections meanwhile.
LOCK = Write(
    "lock order of tasks",
    f"""
access AS MATERIALIZED (
    SELECT t.project_id, p.archived, m.role
    FROM tasks t
    JOIN projects p ON p.id = t.project_id
    JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
    WHERE t.id = :task_id FOR KEY SHARE OF p
), locked AS MATERIALIZED (
    SELECT {lock_of_order("a.project_id", "tasks")} IS NULL AS is_void
    FROM access a WHERE {may_write("a.role", "a.archived")}
)""",
    "SELECT a.project_id, a.role, a.archived, locked.is_void FROM access a LEFT JOIN locked ON true",
)


def _places(near: str, beyond: str) -> Statement:
    """Return the read of a task's key, and of the keys `near` its new place and `beyond` that.

    It gives a row if the caller may see the task. `near` (id, project_id, section_id, key) and `beyond` (id, key) are
    empty where there is no such task.
    """
    return Statement(
        "find places of tasks",
        f"""
        SELECT own.project_id, own.role, own.archived, own.key AS own_key,
               near.id AS near_id, near.project_id AS near_project_id, near.section_id, near.key AS near_key,
               beyond.id AS beyond_id, beyond.key AS beyond_key
        FROM (
            SELECT t.project_id, p.archived, m.role, {_KEY} AS key
            FROM tasks t
            JOIN projects p ON p.id = t.project_id
            JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
            WHERE t.id = :task_id
        ) AS own
        LEFT JOIN LATERAL ({near}) AS near ON true
        LEFT JOIN LATERAL ({beyond}) AS beyond ON true
        """,
        shared=True,
    )


def _next_to_neighbour(*, behind: bool) -> Statement:
    is_beyond, direction = (">", "ASC") if behind else ("<", "DESC")
    return _places(
        f"""
        SELECT t.id, t.project_id, t.section_id, {_KEY} AS key
        FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
        WHERE t.id = :neighbour_id
        """,
        f"""
        SELECT t.id, {_KEY} AS key FROM tasks t
        WHERE t.project_id = own.project_id AND {_KEY} {is_beyond} near.key AND t.id <> :task_id
        ORDER BY {_KEY} {direction} LIMIT 1
        """,
    )


def _at_end(direction: str) -> Statement:
    return _places(
        f"""
        SELECT t.id, t.project_id, CAST(NULL AS bigint) AS section_id, {_KEY} AS key FROM tasks t
        WHERE t.project_id = own.project_id AND t.id <> :task_id ORDER BY {_KEY} {direction} LIMIT 1
        """,
        "SELECT CAST(NULL AS bigint) AS id, CAST(NULL AS text) AS key",
    )


BEFORE_NEIGHBOUR, BEHIND_NEIGHBOUR = _next_to_neighbour(behind=False), _next_to_neighbour(behind=True)
FIRST, LAST = _at_end("ASC"), _at_end("DESC")


def _around(is_there: str, direction: str) -> str:
    return f"""(
        SELECT t.id, {_KEY} AS key FROM tasks t
        WHERE t.project_id = :project_id AND {_KEY} {is_there} AND t.id <> :task_id
        ORDER BY {_KEY} {direction} LIMIT {MOST_RENEWED}
    )"""


AROUND = Statement(
    "read keys around a place",
    f"""
    SELECT true AS is_before, id, key FROM {_around("<= :low", "DESC")} AS before
    UNION ALL SELECT false, id, key FROM {_around(">= :high", "ASC")} AS after
    ORDER BY key
    """,
    {"low": "text", "high": "text"},
)

_FIELDS = ("status", "section_id", "position")


def _answer(condition: str) -> str:
    return f"""
    SELECT a.role, a.archived, (f.old).version AS found_version,
           f.n IS NOT NULL AND (:versions IS NULL OR (f.old).version = ANY(:versions)) AS done,
           a.id, a.project_id, t.version, {task_as_bytes("t")} AS body
    FROM access a LEFT JOIN found f ON f.n = a.n LEFT JOIN changed c ON c.n = a.n
    CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
    {condition}
    """


# The moved task is the first; the others get new keys only.
PLACE = Write(
    "move task within project",
    update_steps(
        """
        SELECT k.n, :user_id AS user_id, k.task_id, :project_id AS project_id, k.patch,
               CASE WHEN k.n = 1 THEN :versions END AS versions, false AS notify
        FROM unnest(:moved_ids, :patches) WITH ORDINALITY AS k (task_id, patch, n)
        """,
        fields=_FIELDS,
        notifies=False,
    ),
    _answer("WHERE a.n = 1"),
    {"patches": "jsonb[]", "versions": "integer[]"},
)

# `:seen_ids` are the task and those next to its place, with the keys that they had; nothing lies between `:low` and
# `:high`, which is looked for when those are locked, and by a function, since it sees what has been committed until
# then. Who puts a task to the same place meanwhile has them locked, and there is no row. Who moves tasks with the order
# locked locks no neighbours, so it is waited for, before any task is locked. The project stays until the end, and
# nobody removes the caller or deletes its sections meanwhile. Who may not write locks nothing.
_STILL_FREE = """
CASE WHEN (SELECT count(*) FROM seen WHERE project_id = :project_id) = cardinality(:seen_ids)
     THEN is_place_free(:project_id, :task_id, :low, :high) END
"""
_MOVED_AT_ONCE = update_steps(
    f"""
    SELECT 1 AS n, :user_id AS user_id, :task_id AS task_id, :project_id AS project_id, :patch AS patch,
           :versions AS versions, false AS notify
    WHERE {_STILL_FREE}
    """,
    fields=_FIELDS,
    notifies=False,
    many=False,
)
PLACE_AT_ONCE = Write(
    "move task to free place",
    f"""
project AS MATERIALIZED (
    SELECT p.id FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :project_id AND {may_write("m.role", "p.archived")} FOR KEY SHARE OF p FOR SHARE OF m
), shared AS MATERIALIZED (
    SELECT {share_of_order("id", "tasks")} IS NULL AS is_void FROM project
), seen AS MATERIALIZED (
    -- By their ids alone: a plan made while there are few tasks might read all of the project.
    SELECT t.project_id FROM tasks t
    WHERE t.id = ANY(CASE WHEN (SELECT NOT is_void FROM shared) THEN :seen_ids END)
      AND {_KEY} = (:seen_keys)[array_position(:seen_ids, t.id)]
    FOR NO KEY UPDATE OF t SKIP LOCKED
), {_MOVED_AT_ONCE}""",
    _answer(""),
    {"patch": "jsonb", "versions": "integer[]", "seen_keys": "text[]", "low": "text", "high": "text"},
)

"""The statements that put a task to another place in the order of its project.

A key depends on those of the neighbours, which the change does not lock. So the order of the project is locked by a
statement of its own, and what reads and writes keys follows in the same transaction.
"""

from taskmanager.database.statements import Statement, Write
from taskmanager.ordering.keys import MOST_RENEWED
from taskmanager.ordering.positions import lock_of_order, position
from taskmanager.roles import may_write
from taskmanager.tasks.statements import task_as_bytes, update_steps

_KEY = position("t")
_OWN = f"SELECT {_KEY} FROM tasks t WHERE t.project_id = :project_id AND t.id = :task_id"

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


def _next_to_neighbour(*, behind: bool) -> Statement:
    is_beyond, direction = (">", "ASC") if behind else ("<", "DESC")
    return Statement(
        "find places beside a task",
        f"""
        SELECT n.project_id, n.section_id, n.key, ({_OWN}) AS own, (
            SELECT {_KEY} FROM tasks t
            WHERE t.project_id = :project_id AND {_KEY} {is_beyond} n.key AND t.id <> :task_id
            ORDER BY {_KEY} {direction} LIMIT 1
        ) AS beyond
        FROM (
            SELECT t.project_id, t.section_id, {_KEY} AS key
            FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
            WHERE t.id = :neighbour_id
        ) AS n
        """,
    )


def _at_end(direction: str) -> Statement:
    return Statement(
        "find place at an end",
        f"""
        SELECT ({_OWN}) AS own, (
            SELECT {_KEY} FROM tasks t WHERE t.project_id = :project_id AND t.id <> :task_id
            ORDER BY {_KEY} {direction} LIMIT 1
        ) AS key
        """,
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

# The moved task is the first; the others get new keys only.
PLACE = Write(
    "move task within project",
    update_steps(
        """
        SELECT k.n, :user_id AS user_id, k.task_id, :project_id AS project_id, k.patch,
               CASE WHEN k.n = 1 THEN :versions END AS versions, false AS notify
        FROM unnest(:moved_ids, :patches) WITH ORDINALITY AS k (task_id, patch, n)
        """,
        fields=("status", "section_id", "position"),
        notifies=False,
    ),
    f"""
    SELECT a.role, a.archived, (f.old).version AS found_version,
           f.n IS NOT NULL AND (:versions IS NULL OR (f.old).version = ANY(:versions)) AS done,
           a.id, a.project_id, t.version, {task_as_bytes("t")} AS body
    FROM access a LEFT JOIN found f ON f.n = a.n LEFT JOIN changed c ON c.n = a.n
    CROSS JOIN LATERAL (SELECT (COALESCE(c.t, f.old)).*) AS t
    WHERE a.n = 1
    """,
    {"patches": "jsonb[]", "versions": "integer[]"},
)

"""Who sends the requests: a token and the values of all blanks for each user, and the file that holds them."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.database import fetch
from benchmarks.servers import ServerKind
from taskmanager.tasks.schemas import TaskStatus

Values = Mapping[str, Sequence[str]]
# Ids of each user that the load generator picks from.
_LIMIT = 20

# Every fifth task of its creator stays as it is, and so do those with comments.
_TASKS = """
WITH sorted AS (
    SELECT t.*, row_number() OVER (PARTITION BY t.created_by ORDER BY t.id) % 5 = 0 AS known,
           EXISTS (SELECT FROM comments c WHERE c.task_id = t.id) AS discussed
    FROM tasks t
)
SELECT m.user_id, array_agg(t.id ORDER BY t.id) FILTER (WHERE NOT known AND NOT discussed) AS task,
       array_agg(t.id ORDER BY t.id) FILTER (WHERE known) AS known_task,
       array_agg(t.id ORDER BY t.id) FILTER (WHERE discussed AND NOT known) AS discussed_task
FROM project_members m JOIN sorted t ON t.project_id = m.project_id GROUP BY m.user_id
"""
_OWNED_TASKS = "SELECT owner_id AS user_id, array_agg(id ORDER BY id) AS task FROM tasks GROUP BY 1"
_VISIBLE = """
SELECT m.user_id, array_agg(t.id ORDER BY t.created_at DESC, t.id DESC) AS ids
FROM project_members m JOIN tasks t ON t.project_id = m.project_id GROUP BY 1
"""
_OWNED = "SELECT owner_id AS user_id, array_agg(id ORDER BY created_at DESC, id DESC) AS ids FROM tasks GROUP BY 1"


def tasks_of_users(kind: ServerKind, url: str) -> dict[int, Sequence[int]]:
    """Return the ids of the tasks that each user sees, the newest first."""
    return {row["user_id"]: row["ids"] for row in fetch(url, _VISIBLE if kind.has_features else _OWNED)}


def read_callers(kind: ServerKind, url: str) -> dict[int, Values]:
    """Return the values of each user's blanks, by user."""
    run = secrets.token_hex(4)
    callers: dict[int, Values] = {}
    for row in fetch(url, _TASKS if kind.has_features else _OWNED_TASKS):
        columns = {name: [str(id_) for id_ in spread(ids, _LIMIT)] for name, ids in list(row.items())[1:] if ids}
        callers[row["user_id"]] = {
            "token": [kind.token(row["user_id"])],
            "user": [str(row["user_id"])],
            "run": [run],
            "status": [status.value for status in TaskStatus],
            **columns,
        }
    return dict(sorted(callers.items()))


def spread(values: Sequence[int], count: int) -> Sequence[int]:
    """Return so many of the values, evenly over all."""
    return values[:: max(1, len(values) // count)][:count]


def write_callers(callers: Mapping[int, Values], path: Path) -> None:
    """Write the file that the load generator reads: one line per user, with name=value|value for each blank."""
    lines = ("\t".join(f"{name}={'|'.join(values)}" for name, values in caller.items()) for caller in callers.values())
    path.write_text("".join(f"{line}\n" for line in lines))

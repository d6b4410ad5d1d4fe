"""The statements that count tasks by what they have in common."""

from functools import cache, lru_cache
from typing import Final, NamedTuple

from taskmanager.database.json_rows import json_object
from taskmanager.database.statements import Statement
from taskmanager.tasks.counting.schemas import CountBy, TaskCount
from taskmanager.tasks.due import DUE_GROUP
from taskmanager.tasks.listing.few import few_tasks
from taskmanager.tasks.listing.filters import TYPES, FiltersOfFew
from taskmanager.tasks.listing.statements import matching_tasks

_MOST_KINDS: Final = 1_000


class Group(NamedTuple):
    """By what tasks `t` are counted: SQL for its key, NULL for none.

    Where a task may have several keys `joins` make a row for each, and `is_first` says which of them is its first.
    """

    key: str
    joins: str = ""
    is_first: str = "true"


_GROUPS: Final = {
    CountBy.STATUS: Group("t.status"),
    CountBy.PROJECT: Group("t.project_id"),
    CountBy.ASSIGNEE: Group("t.assignee_id"),
    CountBy.PRIORITY: Group("t.priority"),
    CountBy.SECTION: Group("t.section_id"),
    CountBy.DUE: Group(DUE_GROUP),
    CountBy.TAG: Group(
        'tag.name COLLATE "C"',
        "LEFT JOIN LATERAL unnest(t.tags) WITH ORDINALITY AS tag (name, place) ON true",
        "COALESCE(tag.place, 1) = 1",
    ),
}


def _counts(by: CountBy, tasks: str) -> str:
    """Return SQL for one row with `counts`, JSON objects with commas between, and `total`, of tasks `t`."""
    group = _GROUPS[by]
    count = json_object(TaskCount, "g", key="to_json(g.key)")
    return f"""
        SELECT convert_to(string_agg({count}, ',' ORDER BY g.place) FILTER (WHERE g.place <= {_MOST_KINDS}), 'UTF8')
                   AS counts,
               CAST(COALESCE(sum(g.tasks), 0) AS bigint) AS total
        FROM (
            SELECT g.*, row_number() OVER (ORDER BY g.count DESC, g.key) AS place
            FROM (
                SELECT {group.key} AS key, count(*) AS count, count(*) FILTER (WHERE {group.is_first}) AS tasks
                FROM {tasks} {group.joins} GROUP BY 1
            ) AS g
        ) AS g
    """


# There are no more than four for each thing to count by.
@cache
def counts_of_few(by: CountBy, filters: FiltersOfFew) -> Statement:
    """Return the statement that counts few tasks, shared as that of their lists; of more it says so (`is_small`)."""
    counts = _counts(by, "few t")
    sql = f"WITH {few_tasks(filters)} SELECT size.is_small, c.* FROM size CROSS JOIN LATERAL ({counts}) AS c"
    return Statement(f"count few tasks by {by}", sql, TYPES, shared=True, most_shared=32)


@lru_cache(maxsize=64)
def counts_alone(by: CountBy, filters: tuple[str, ...], projects: int) -> Statement:
    """Return the statement that counts any tasks, planned for its values; `projects` is how many are named, or 2."""
    return Statement(f"count tasks by {by}", _counts(by, matching_tasks(filters, projects)), TYPES)

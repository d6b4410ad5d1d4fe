"""The statements of lists of tasks: which part of which index gives a page, as JSON.

A list is read in runs: for each project, and for each value of a filter that stands in front of the order in an index,
the tasks lie in the index as the list wants them. No more than the page is read of each run; the runs are merged.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from taskmanager.database.statements import Statement
from taskmanager.ordering.positions import position
from taskmanager.tasks.folding import folded, folded_title
from taskmanager.tasks.listing.page_json import tasks_as_json
from taskmanager.tasks.schemas import TaskSort
from taskmanager.tasks.statements import INCLUDED_TYPES

# A shared statement counts no further, so that a long list does not hold up the others.
MOST_COUNTED = 1_000
# Up to this many tasks, any list is found by looking at all of them.
FEW = 500
_CREATED_AT_AND_ID: Final = ("t.created_at", "t.id")
_SORT_KEYS: Final = {
    TaskSort.UPDATED_AT: "t.updated_at",
    TaskSort.PRIORITY: "t.priority",
    TaskSort.TITLE: folded_title("t.title"),
    TaskSort.DUE_AT: "t.due_at",
    TaskSort.POSITION: position("t"),
}
_KEY_TYPES: Final = {"t.id": "bigint", "t.priority": "integer", folded_title("t.title"): "text", position("t"): "text"}
_TIME: Final = "timestamptz"
_OVERDUE: Final = "t.due_at IS NOT NULL AND t.due_at < now() AND t.status NOT IN ('completed', 'cancelled')"
_MATCHES: Final = " OR ".join(f"{folded(column)} LIKE {folded(':search')}" for column in ("t.title", "t.description"))
_CONDITIONS: Final = {
    "status": "t.status = :status",
    "statuses": "t.status = ANY(:statuses)",
    "priority": "t.priority = :priority",
    "priorities": "t.priority = ANY(:priorities)",
    "assignee_id": "t.assignee_id = :assignee_id",
    "assignee_ids": "t.assignee_id = ANY(:assignee_ids)",
    "section_id": "t.section_id = :section_id",
    "section_ids": "t.section_id = ANY(:section_ids)",
    "no section": "t.section_id IS NULL",
    "no_or_section_ids": "(t.section_id IS NULL OR t.section_id = ANY(:no_or_section_ids))",
    "tags": "t.tags && :tags",
    "due_after": "t.due_at >= :due_after",
    "due_before": "t.due_at < :due_before",
    "overdue": _OVERDUE,
    "not overdue": f"NOT ({_OVERDUE})",
    "search": f"({_MATCHES})",
}
LIST_TYPES: Final = {
    "status": "text",
    "statuses": "text[]",
    "priority": "integer",
    "priorities": "integer[]",
    "tags": "text[]",
    "due_after": _TIME,
    "due_before": _TIME,
    "search": "text",
    "needed": "integer",
    "size": "integer",
    "skip": "integer",
    "is_overdue": "boolean",
    "archived": "boolean",
    **INCLUDED_TYPES,
    "has_no_section": "boolean",
}
_WITH_A_DUE_TIME: Final = frozenset({"due_after", "due_before", "overdue"})
# Filters that stand in front of (created_at, id) in an index, and the column that they compare.
_RUNS_BY_TIME: Final = {"statuses": "status", "priorities": "priority", "assignee_ids": "assignee_id"}
# And those that stand in front of the position.
_RUNS_BY_POSITION: Final = {"section_ids": "section_id"}
_RUNS: Final = {**_RUNS_BY_TIME, **_RUNS_BY_POSITION}


# Of each membership `m`. No join, which could be planned as a scan of all projects.
_IS_LISTED: Final = "(:archived IS NULL OR (SELECT p.archived FROM projects p WHERE p.id = m.project_id) = :archived)"


class Order:
    """The order of a list: a sort key, then time of creation and id, all in one direction.

    No two tasks have the same position.
    """

    def __init__(self, sort_by: TaskSort, *, ascending: bool) -> None:
        first = _SORT_KEYS.get(sort_by)
        ties = () if sort_by is TaskSort.POSITION else _CREATED_AT_AND_ID
        self.keys: Final = ties if first is None else (first, *ties)
        self._direction = "ASC" if ascending else "DESC"
        self._is_after = ">" if ascending else "<"

    def by(self, keys: Sequence[str]) -> str:
        """Return the ORDER BY clause of an index, for rows whose keys are not NULL."""
        return ", ".join(f"{key} {self._direction}" for key in keys)

    def by_labels(self, source: str) -> str:
        """Return the ORDER BY clause for any rows of a subquery that has `labelled_keys`; NULL sorts last both ways."""
        first, *rest = (f"{source}.key_{number} {self._direction}" for number in range(len(self.keys)))
        return ", ".join([f"{first} NULLS LAST", *rest])

    def labelled_keys(self) -> str:
        """Return the sort keys as columns of the result."""
        return ", ".join(f"{key} AS key_{number}" for number, key in enumerate(self.keys))

    def after(self, *, skip_first: bool = False) -> str:
        """Return the condition that a row comes behind the values `seen_0` and so on, which must not be NULL."""
        numbers = range(1 if skip_first else 0, len(self.keys))
        keys = ", ".join(self.keys[number] for number in numbers)
        return f"({keys}) {self._is_after} ({', '.join(f':seen_{number}' for number in numbers)})"

    def seen_types(self) -> dict[str, str]:
        """Return the types of the parameters of `after`."""
        return {f"seen_{number}": _KEY_TYPES.get(key, _TIME) for number, key in enumerate(self.keys)}

    def seen_values(self, cursor_values: Sequence[Any]) -> dict[str, Any]:
        """Return the parameters of `after`, from what a cursor holds."""
        return {
            f"seen_{number}": value if value is None or key in _KEY_TYPES else datetime.fromisoformat(value)
            for number, (key, value) in enumerate(zip(self.keys, cursor_values, strict=True))
        }


class Shape(NamedTuple):
    """All of a list that its statement depends on; the rest are parameters.

    `projects` is how many are named, 2 for several. `seen` says which keys of the last task seen are not NULL.
    `with_more` is for lists that show something else with the tasks, `:with_people` or `:with_counts`.
    """

    sort_by: TaskSort
    ascending: bool
    filters: tuple[str, ...]
    projects: int
    seen: tuple[bool, ...]
    with_total: bool = False
    with_more: bool = False

    @property
    def run(self) -> str | None:
        """The filter whose values each make a run of their own."""
        return self.filters[0] if self.filters else None


def _parts(shape: Shape, order: Order, conditions: str, columns: str) -> str:
    """Return the first tasks of one run, as many as the page could need, each part in the order of an index."""
    source = f"SELECT {columns}, {order.labelled_keys()} FROM tasks t WHERE {conditions}"
    after = f" AND {order.after()}" if shape.seen else ""
    if shape.sort_by is not TaskSort.DUE_AT:
        return f"{source}{after} ORDER BY {order.by(order.keys)} LIMIT :needed"
    # Tasks without a due time come last both ways, which no one index gives: two ordered parts do.
    undated = f"{source} AND t.due_at IS NULL"
    by_creation = f"ORDER BY {order.by(_CREATED_AT_AND_ID)} LIMIT :needed"
    if shape.seen and not shape.seen[0]:
        return f"{undated} AND {order.after(skip_first=True)} {by_creation}"
    dated = f"{source} AND t.due_at IS NOT NULL{after} ORDER BY {order.by(order.keys)} LIMIT :needed"
    if not _WITH_A_DUE_TIME.isdisjoint(shape.filters):
        return dated  # otherwise PostgreSQL would read the whole project to find no other task
    return f"({dated}) UNION ALL ({undated} {by_creation})"


def _as_json(page: str, order: Order, *, with_more: bool) -> str:
    """Return a page as one row: its tasks as JSON without the brackets, how many were found, the last one's keys."""
    # Numbered behind the limit, so that no more than the page is ever sorted.
    numbered = f"SELECT t.*, row_number() OVER (ORDER BY {order.by_labels('t')}) AS place FROM ({page}) AS t"
    keys = ", ".join(f"(array_agg(t.key_{n}))[:size - 1] AS key_{n}" for n in range(len(order.keys)))
    return tasks_as_json(numbered, "", f"count(*) AS found, {keys}", "t.place < :size", with_more=with_more)


def _typed(name: str, sql: str, order: Order, *, shared: bool) -> Statement:
    return Statement(name, sql, {**LIST_TYPES, **order.seen_types()}, shared=shared, most_shared=32)


def _runs(shape: Shape) -> tuple[str, str]:
    """Return SQL for the runs of a shared list, and the condition by which a task `t` is in a `run`."""
    member = f"m.user_id = :user_id AND (:project_id IS NULL OR m.project_id = :project_id) AND {_IS_LISTED}"
    if shape.run is None:
        return f"SELECT m.project_id FROM project_members m WHERE {member}", "t.project_id = run.project_id"
    values = f"unnest(:{shape.run}) AS one (value)"
    runs = f"SELECT m.project_id, one.value FROM project_members m CROSS JOIN {values} WHERE {member}"
    return runs, f"t.project_id = run.project_id AND t.{_RUNS[shape.run]} = run.value"


def _shared_page(shape: Shape) -> Statement:
    order = Order(shape.sort_by, ascending=shape.ascending)
    runs, is_in_run = _runs(shape)
    if shape.sort_by is not TaskSort.DUE_AT:
        # A page of n tasks can only come from the n runs whose first tasks come first; of each other run PostgreSQL
        # reads one entry of the index.
        after = f" AND {order.after()}" if shape.seen else ""
        runs = f"""
            SELECT run.* FROM ({runs}) AS run CROSS JOIN LATERAL (
                SELECT {order.labelled_keys()} FROM tasks t WHERE {is_in_run}{after}
                ORDER BY {order.by(order.keys)} LIMIT 1
            ) AS first ORDER BY {order.by_labels("first")} LIMIT :needed
        """
    page = f"""
        SELECT found.* FROM ({runs}) AS run CROSS JOIN LATERAL ({_parts(shape, order, is_in_run, "t.*")}) AS found
        ORDER BY {order.by_labels("found")} OFFSET :skip LIMIT :size
    """
    sql = _as_json(page, order, with_more=shape.with_more)
    return _typed(f"list tasks by {shape.sort_by}", sql, order, shared=True)


def _shared_count(shape: Shape) -> Statement:
    runs, is_in_run = _runs(shape)
    sql = f"""
        SELECT count(*) AS total FROM (
            SELECT FROM ({runs}) AS run JOIN tasks t ON {is_in_run} LIMIT {MOST_COUNTED + 1}
        ) AS counted
    """
    return Statement("count tasks", sql, LIST_TYPES, shared=True, most_shared=32)


def _shareable() -> list[Shape]:
    shapes = []
    for ascending in (False, True):
        for sort_by in TaskSort:
            keys = len(Order(sort_by, ascending=ascending).keys)
            seen: list[tuple[bool, ...]] = [(), (True,) * keys]
            if sort_by is TaskSort.DUE_AT:
                seen.append((False, *(True,) * (keys - 1)))
            filters: list[tuple[str, ...]] = [()]
            if sort_by is TaskSort.CREATED_AT:
                filters += [(name,) for name in _RUNS_BY_TIME]
            if sort_by is TaskSort.POSITION:
                filters += [(name,) for name in _RUNS_BY_POSITION]
            shapes += [
                Shape(sort_by, ascending, one, 1, page, with_more=with_more)
                for one in filters
                for page in seen
                for with_more in (False, True)
            ]
    return shapes


def _page_of_few(shape: Shape) -> Statement:
    """Return the statement of any list of few tasks, which is shared whatever its filters are.

    Where the caller has more than `FEW` tasks in the projects, it says so (`is_small`) and reads none of them.
    """
    order = Order(shape.sort_by, ascending=shape.ascending)
    behind = "true"
    if shape.seen and not shape.seen[0]:
        behind = f"t.due_at IS NULL AND {order.after(skip_first=True)}"
    elif shape.seen:
        behind = f"({order.after()}{' OR t.due_at IS NULL' if shape.sort_by is TaskSort.DUE_AT else ''})"
    page = f"""
        SELECT few.* FROM (SELECT t.*, {order.labelled_keys()} FROM few t WHERE {behind}) AS few
        ORDER BY {order.by_labels("few")} OFFSET :skip LIMIT :size
    """
    sql = f"""
        WITH {FEW_TASKS}
        SELECT size.is_small, (SELECT count(*) FROM few) AS total, page.*
        FROM size CROSS JOIN LATERAL ({_as_json(page, order, with_more=shape.with_more)}) AS page
    """
    return _typed(f"list few tasks by {shape.sort_by}", sql, order, shared=True)


_ANY_FILTERS: Final = f"""
    (:statuses IS NULL OR t.status = ANY(:statuses)) AND (:priorities IS NULL OR t.priority = ANY(:priorities))
    AND (:assignee_ids IS NULL OR t.assignee_id = ANY(:assignee_ids)) AND (:tags IS NULL OR t.tags && :tags)
    AND (:section_ids IS NULL AND :has_no_section IS NULL
         OR t.section_id = ANY(:section_ids) OR :has_no_section AND t.section_id IS NULL)
    AND (:due_after IS NULL OR t.due_at >= :due_after) AND (:due_before IS NULL OR t.due_at < :due_before)
    AND (:is_overdue IS NULL OR ({_OVERDUE}) = :is_overdue)
    AND (:search IS NULL OR {_MATCHES})
"""
_MEMBER_OF_FEW: Final = f"""
    m.user_id = :user_id AND (:project_ids IS NULL OR m.project_id = ANY(:project_ids)) AND {_IS_LISTED}
"""
_TASKS_OF_FEW: Final = f"""
    FROM tasks t WHERE t.project_id = m.project_id ORDER BY t.created_at DESC, t.id DESC LIMIT {FEW + 1}
"""
# The steps `size` (is_small), whether the caller has `FEW` tasks there at most, and `few`, those that meet the filters.
FEW_TASKS: Final = f"""
    size AS MATERIALIZED (
        SELECT count(*) <= {FEW} AS is_small FROM (
            SELECT FROM project_members m CROSS JOIN LATERAL (SELECT {_TASKS_OF_FEW}) AS t WHERE {_MEMBER_OF_FEW}
            LIMIT {FEW + 1}
        ) AS counted
    ), few AS MATERIALIZED (
        SELECT t.* FROM project_members m CROSS JOIN LATERAL (SELECT t.* {_TASKS_OF_FEW}) AS t
        WHERE {_MEMBER_OF_FEW} AND (SELECT is_small FROM size) AND {_ANY_FILTERS}
    )
"""


# Every list that requests can share a statement for: each order that has an index, and the filters of `_RUNS`.
SHARED_PAGES: Final = {shape: _shared_page(shape) for shape in _shareable()}
PAGES_OF_FEW: Final = {
    shape: _page_of_few(shape) for shape in (one._replace(projects=0) for one in SHARED_PAGES if one.run is None)
}
SHARED_COUNTS: Final = {
    shape.run: _shared_count(shape) for shape in SHARED_PAGES if not shape.seen and not shape.with_more
}


# Making the statement takes as long as running it.
@lru_cache(maxsize=64)
def page_alone(shape: Shape) -> Statement:
    """Return the statement of any list, which is planned for its values."""
    order = Order(shape.sort_by, ascending=shape.ascending)
    member, conditions = _all_projects(shape.filters, shape.projects)
    page = f"""
        SELECT found.* FROM {member} CROSS JOIN LATERAL ({_parts(shape, order, conditions, "t.*")}) AS found
        ORDER BY {order.by_labels("found")} OFFSET :skip LIMIT :size
    """
    sql = _as_json(page, order, with_more=shape.with_more)
    if shape.with_total:
        sql = f"SELECT counted.total, page.* FROM ({_count(shape)}) AS counted CROSS JOIN ({sql}) AS page"
    return _typed("list tasks", sql, order, shared=False)


@lru_cache(maxsize=64)
def count_alone(shape: Shape) -> Statement:
    """Return the statement that counts any list."""
    return Statement("count tasks", _count(shape), LIST_TYPES)


def matching_tasks(filters: tuple[str, ...], projects: int) -> str:
    """Return what follows FROM for all tasks `t` of a list; `projects` is how many are named, 2 for several."""
    member, conditions = _all_projects(filters, projects)
    return f"{member} JOIN tasks t ON {conditions}"


def _all_projects(filters: tuple[str, ...], projects: int) -> tuple[str, str]:
    which = "m.project_id = ANY(:project_ids)" if projects else _IS_LISTED
    member = f"(SELECT m.project_id FROM project_members m WHERE m.user_id = :user_id AND {which}) AS member"
    # A given project is a condition here too, so that PostgreSQL knows how large it is.
    project = ":project_id" if projects == 1 else "member.project_id"
    return member, " AND ".join([f"t.project_id = {project}", *(_CONDITIONS[name] for name in filters)])


def _count(shape: Shape) -> str:
    return f"SELECT count(*) AS total FROM {matching_tasks(shape.filters, shape.projects)}"

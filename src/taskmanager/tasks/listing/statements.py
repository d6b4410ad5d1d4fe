"""The statements of lists of tasks: which part of which index gives a page, as JSON.

A list is read in runs: for each project, and for each value of a filter that stands in front of the order in an index,
the tasks lie in the index as the list wants them. No more than the page is read of each run; the runs are merged.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from taskmanager.database.statements import Statement
from taskmanager.tasks.due import DUE_AT, HAS_NO_DUE
from taskmanager.tasks.listing.filters import CONDITIONS, TYPES, WITH_A_DUE, WITHOUT_A_DUE
from taskmanager.tasks.listing.orders import Order
from taskmanager.tasks.listing.page_json import tasks_as_json
from taskmanager.tasks.listing.schemas import SortKey, TaskSort

# A shared statement counts no further, so that a long list does not hold up the others.
MOST_COUNTED = 1_000
# Filters that stand in front of (created_at, id) in an index, and the column that they compare.
_RUNS_BY_TIME: Final = {"statuses": "status", "priorities": "priority", "assignee_ids": "assignee_id"}
# And those that stand in front of the position.
_RUNS_BY_POSITION: Final = {"section_ids": "section_id"}
_RUNS: Final = {**_RUNS_BY_TIME, **_RUNS_BY_POSITION}


# Of each membership `m`. No join, which could be planned as a scan of all projects.
IS_LISTED: Final = "(:archived IS NULL OR (SELECT p.archived FROM projects p WHERE p.id = m.project_id) = :archived)"


class Shape(NamedTuple):
    """All of a list that its statement depends on; the rest are parameters.

    `projects` is how many are named, 2 for several. `seen` says which keys of the last task seen are not NULL.
    `with_more` is for lists that show something else with the tasks, `:with_people` or `:with_counts`.
    """

    sort: tuple[SortKey, ...]
    filters: tuple[str, ...]
    projects: int
    seen: tuple[bool, ...]
    with_total: bool = False
    with_more: bool = False

    @property
    def run(self) -> str | None:
        """The filter whose values each make a run of their own."""
        return self.filters[0] if self.filters else None

    @property
    def begins_with_due(self) -> bool:
        """Whether the first key is NULL in some tasks."""
        return self.sort[0].by is TaskSort.DUE_AT


def _parts(shape: Shape, order: Order, conditions: str, columns: str) -> str:
    """Return the first tasks of one run, as many as the page could need, each part in the order of an index."""
    source = f"SELECT {columns}, {order.labelled_keys()} FROM tasks t WHERE {conditions}"
    if not shape.begins_with_due:
        after = f" AND {order.after(shape.seen)}" if shape.seen else ""
        return f"{source}{after} ORDER BY {order.by()} LIMIT :needed"
    # Tasks that are not due come last both ways, which no one index gives: two ordered parts do.
    undated = f"{source} AND {HAS_NO_DUE}"
    by_the_rest = f"ORDER BY {order.by(1)} LIMIT :needed"
    if shape.seen and not shape.seen[0]:
        return f"{undated} AND {order.after(shape.seen, 1)} {by_the_rest}"
    undated = f"{undated} {by_the_rest}"
    after = f" AND {order.after(shape.seen)}" if shape.seen else ""
    dated = f"{source} AND {DUE_AT} IS NOT NULL{after} ORDER BY {order.by()} LIMIT :needed"
    # Otherwise PostgreSQL would read the whole project to find that the other part has no task.
    if not WITH_A_DUE.isdisjoint(shape.filters):
        return dated
    if not WITHOUT_A_DUE.isdisjoint(shape.filters):
        return undated
    return f"({dated}) UNION ALL ({undated})"


def page_as_json(page: str, order: Order, *, with_more: bool) -> str:
    """Return a page as one row: its tasks as JSON without the brackets, how many were found, the last one's keys."""
    # Numbered behind the limit, so that no more than the page is ever sorted.
    numbered = f"SELECT t.*, row_number() OVER (ORDER BY {order.by_labels('t')}) AS place FROM ({page}) AS t"
    keys = ", ".join(f"(array_agg(t.key_{n}))[:size - 1] AS key_{n}" for n in range(len(order.keys)))
    return tasks_as_json(numbered, "", f"count(*) AS found, {keys}", "t.place < :size", with_more=with_more)


def typed(name: str, sql: str, order: Order, *, shared: bool) -> Statement:
    """Return a statement that has parameters of filters and of an order."""
    return Statement(name, sql, {**TYPES, **order.seen_types()}, shared=shared, most_shared=32)


def _runs(shape: Shape) -> tuple[str, str]:
    """Return SQL for the runs of a shared list, and the condition by which a task `t` is in a `run`."""
    member = f"m.user_id = :user_id AND (:project_id IS NULL OR m.project_id = :project_id) AND {IS_LISTED}"
    if shape.run is None:
        return f"SELECT m.project_id FROM project_members m WHERE {member}", "t.project_id = run.project_id"
    values = f"unnest(:{shape.run}) AS one (value)"
    runs = f"SELECT m.project_id, one.value FROM project_members m CROSS JOIN {values} WHERE {member}"
    return runs, f"t.project_id = run.project_id AND t.{_RUNS[shape.run]} = run.value"


def _shared_page(shape: Shape) -> Statement:
    order = Order(shape.sort)
    runs, is_in_run = _runs(shape)
    if not shape.begins_with_due:
        # A page of n tasks can only come from the n runs whose first tasks come first; of each other run PostgreSQL
        # reads one entry of the index.
        after = f" AND {order.after(shape.seen)}" if shape.seen else ""
        runs = f"""
            SELECT run.* FROM ({runs}) AS run CROSS JOIN LATERAL (
                SELECT {order.labelled_keys()} FROM tasks t WHERE {is_in_run}{after}
                ORDER BY {order.by()} LIMIT 1
            ) AS first ORDER BY {order.by_labels("first")} LIMIT :needed
        """
    page = f"""
        SELECT found.* FROM ({runs}) AS run CROSS JOIN LATERAL ({_parts(shape, order, is_in_run, "t.*")}) AS found
        ORDER BY {order.by_labels("found")} OFFSET :skip LIMIT :size
    """
    sql = page_as_json(page, order, with_more=shape.with_more)
    return typed(f"list tasks by {shape.sort[0].by}", sql, order, shared=True)


def _shared_count(shape: Shape) -> Statement:
    runs, is_in_run = _runs(shape)
    sql = f"""
        SELECT count(*) AS total FROM (
            SELECT FROM ({runs}) AS run JOIN tasks t ON {is_in_run} LIMIT {MOST_COUNTED + 1}
        ) AS counted
    """
    return Statement("count tasks", sql, TYPES, shared=True, most_shared=32)


def _shareable() -> list[Shape]:
    shapes = []
    for ascending in (False, True):
        for sort_by in TaskSort:
            sort = (SortKey(sort_by, ascending),)
            keys = len(Order(sort).keys)
            seen: list[tuple[bool, ...]] = [(), (True,) * keys]
            if sort_by is TaskSort.DUE_AT:
                seen.append((False, *(True,) * (keys - 1)))
            filters: list[tuple[str, ...]] = [()]
            if sort_by is TaskSort.CREATED_AT:
                filters += [(name,) for name in _RUNS_BY_TIME]
            if sort_by is TaskSort.POSITION:
                filters += [(name,) for name in _RUNS_BY_POSITION]
            shapes += [
                Shape(sort, one, 1, page, with_more=with_more)
                for one in filters
                for page in seen
                for with_more in (False, True)
            ]
    return shapes


# Every list that requests can share a statement for: each order that has an index, and the filters of `_RUNS`.
SHARED_PAGES: Final = {shape: _shared_page(shape) for shape in _shareable()}
SHARED_COUNTS: Final = {
    shape.run: _shared_count(shape) for shape in SHARED_PAGES if not shape.seen and not shape.with_more
}


# Making the statement takes as long as running it.
@lru_cache(maxsize=64)
def page_alone(shape: Shape) -> Statement:
    """Return the statement of any list, which is planned for its values."""
    order = Order(shape.sort)
    member, conditions = _all_projects(shape.filters, shape.projects)
    page = f"""
        SELECT found.* FROM {member} CROSS JOIN LATERAL ({_parts(shape, order, conditions, "t.*")}) AS found
        ORDER BY {order.by_labels("found")} OFFSET :skip LIMIT :size
    """
    sql = page_as_json(page, order, with_more=shape.with_more)
    if shape.with_total:
        sql = f"SELECT counted.total, page.* FROM ({_count(shape)}) AS counted CROSS JOIN ({sql}) AS page"
    return typed("list tasks", sql, order, shared=False)


@lru_cache(maxsize=64)
def count_alone(shape: Shape) -> Statement:
    """Return the statement that counts any list."""
    return Statement("count tasks", _count(shape), TYPES)


def matching_tasks(filters: tuple[str, ...], projects: int) -> str:
    """Return what follows FROM for all tasks `t` of a list; `projects` is how many are named, 2 for several."""
    member, conditions = _all_projects(filters, projects)
    return f"{member} JOIN tasks t ON {conditions}"


def _all_projects(filters: tuple[str, ...], projects: int) -> tuple[str, str]:
    which = "m.project_id = ANY(:project_ids)" if projects else IS_LISTED
    member = f"(SELECT m.project_id FROM project_members m WHERE m.user_id = :user_id AND {which}) AS member"
    # A given project is a condition here too, so that PostgreSQL knows how large it is.
    project = ":project_id" if projects == 1 else "member.project_id"
    return member, " AND ".join([f"t.project_id = {project}", *(CONDITIONS[name] for name in filters)])


def _count(shape: Shape) -> str:
    return f"SELECT count(*) AS total FROM {matching_tasks(shape.filters, shape.projects)}"

"""The statement that lists tasks: filtered, sorted, by page or by key."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import RowMapping, TextClause
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.types import BigInteger, Integer, Text, TypeEngine

from taskmanager.database.database import ReadSession, statement
from taskmanager.pagination import CursorSigner
from taskmanager.tasks.schemas import ProjectTaskQuery, TaskList, TaskRead, TaskSort
from taskmanager.tasks.statements import TASK_FIELDS, task_columns

_TIME = TIMESTAMP(timezone=True)
_CREATED_AT_AND_ID = ("t.created_at", "t.id")
_SORT_KEYS = {
    TaskSort.UPDATED_AT: "t.updated_at",
    TaskSort.PRIORITY: "t.priority",
    TaskSort.TITLE: 'lower(t.title) COLLATE "C"',
    TaskSort.DUE_AT: "t.due_at",
}
_KEY_TYPES: dict[str, TypeEngine[Any]] = {
    "t.created_at": _TIME,
    "t.id": BigInteger(),
    "t.updated_at": _TIME,
    "t.priority": Integer(),
    'lower(t.title) COLLATE "C"': Text(),
    "t.due_at": _TIME,
}
_OVERDUE = "t.due_at IS NOT NULL AND t.due_at < now() AND t.status NOT IN ('completed', 'cancelled')"
_CONDITIONS = {
    "status": "t.status = :status",
    "statuses": "t.status = ANY(:statuses)",
    "priority": "t.priority = :priority",
    "priorities": "t.priority = ANY(:priorities)",
    "assignee_id": "t.assignee_id = :assignee_id",
    "assignee_ids": "t.assignee_id = ANY(:assignee_ids)",
    "tags": "t.tags && :tags",
    "due_after": "t.due_at >= :due_after",
    "due_before": "t.due_at < :due_before",
    "overdue": _OVERDUE,
    "not overdue": f"NOT ({_OVERDUE})",
    "search": "(t.title ILIKE :search OR t.description ILIKE :search)",
}
_TYPES: dict[str, TypeEngine[Any]] = {
    "status": Text(),
    "statuses": ARRAY(Text),
    "priority": Integer(),
    "priorities": ARRAY(Integer),
    "tags": ARRAY(Text),
    "due_after": _TIME,
    "due_before": _TIME,
    "search": Text(),
    "needed": Integer(),
    "size": Integer(),
    "skip": Integer(),
}
_WITH_A_DUE_TIME = frozenset({"due_after", "due_before", "overdue"})


class _Order:
    """The order of a list: a sort key, then time of creation and id, all in one direction."""

    def __init__(self, sort_by: TaskSort, *, ascending: bool) -> None:
        first = _SORT_KEYS.get(sort_by)
        self.keys = _CREATED_AT_AND_ID if first is None else (first, *_CREATED_AT_AND_ID)
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

    def seen_types(self) -> dict[str, TypeEngine[Any]]:
        """Return the types of the parameters of `after`."""
        return {f"seen_{number}": _KEY_TYPES[key] for number, key in enumerate(self.keys)}

    def seen_values(self, cursor_values: Sequence[Any]) -> dict[str, Any]:
        """Return the parameters of `after`, from what a cursor holds."""
        return {
            f"seen_{number}": datetime.fromisoformat(value) if _KEY_TYPES[key] is _TIME and value is not None else value
            for number, (key, value) in enumerate(zip(self.keys, cursor_values, strict=True))
        }

    def cursor_values(self, row: RowMapping) -> list[Any]:
        """Return the sort key of a row of the result."""
        return [row[f"key_{number}"] for number in range(len(self.keys))]


class _Shape(NamedTuple):
    """All of a list that its statement depends on; the rest are parameters.

    `projects` is how many are named, 2 for several. `seen` are the keys of the last task seen that are not NULL.
    """

    sort_by: TaskSort
    ascending: bool
    filters: tuple[str, ...]
    projects: int
    seen: tuple[bool, ...]
    with_total: bool


def _candidates(shape: _Shape, order: _Order, conditions: str) -> str:
    """Return the first tasks of one project, as many as the page could need, each part in the order of an index."""
    source = f"SELECT {task_columns('t')}, {order.labelled_keys()} FROM tasks t WHERE {conditions}"
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
        return dated  # PostgreSQL would read the whole project to find that nothing else is left
    return f"({dated}) UNION ALL ({undated} {by_creation})"


# To put a statement together takes as long as to run it.
@lru_cache(maxsize=64)
def _page(shape: _Shape) -> TextClause:
    order = _Order(shape.sort_by, ascending=shape.ascending)
    named = " AND project_id = ANY(:project_ids)" if shape.projects else ""
    member = f"(SELECT project_id FROM project_members WHERE user_id = :user_id{named}) AS member"
    # A project that is named is named here too: PostgreSQL then knows how large that one is.
    project = ":project_id" if shape.projects == 1 else "member.project_id"
    conditions = " AND ".join([f"t.project_id = {project}", *(_CONDITIONS[name] for name in shape.filters)])
    # Limited per project, so that each part is read from an index and stops early; merged and cut to the page.
    page = f"""
        SELECT found.* FROM {member} CROSS JOIN LATERAL ({_candidates(shape, order, conditions)}) AS found
        ORDER BY {order.by_labels("found")} OFFSET :skip LIMIT :size
    """
    if shape.with_total:
        # The outer join keeps the total when the page is empty.
        sql = f"""
            SELECT counted.total, page.*
            FROM (SELECT count(*) AS total FROM {member} JOIN tasks t ON {conditions}) AS counted
            LEFT JOIN ({page}) AS page ON true
            ORDER BY {order.by_labels("page")}
        """
    else:
        sql = page
    types = {**_TYPES, **order.seen_types()}
    return statement(sql, **{name: types[name] for name in set(re.findall(r":(\w+)", sql)) if name in types})


def _filters(query: ProjectTaskQuery, user_id: int) -> dict[str, Any]:
    """Return the filters that are given, by their names in `_CONDITIONS`, and their values.

    One value is compared as such: PostgreSQL then reads an index in its order, which it does not for an array of one.
    """
    given: dict[str, Any] = {}
    assignees = [user_id if who == "me" else who for who in query.assignee]
    repeated: tuple[tuple[str, str, Sequence[Any]], ...] = (
        ("status", "statuses", query.status),
        ("priority", "priorities", query.priority),
        ("assignee_id", "assignee_ids", assignees),
    )
    for one, several, values in repeated:
        if values:
            distinct = sorted(set(values))
            given.update({one: distinct[0]} if len(distinct) == 1 else {several: distinct})
    if query.tag:
        given["tags"] = query.tag
    if query.due_after is not None:
        given["due_after"] = query.due_after
    if query.due_before is not None:
        given["due_before"] = query.due_before
    if query.overdue is not None:
        given["overdue" if query.overdue else "not overdue"] = True
    if query.search is not None:
        escaped = query.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        given["search"] = f"%{escaped}%"
    return given


def list_name(query: ProjectTaskQuery, project_ids: Sequence[int]) -> str:
    """Return what tells a list from those with other projects, filters or order."""
    return f"{sorted(set(project_ids))} {query.model_dump_json(exclude={'cursor', 'skip', 'limit', 'count'})}"


def cursor_binding(name: str, *, user_id: int) -> str:
    """Return what the cursors of a user's list are bound to."""
    return f"tasks {user_id} {name}"


class TaskListReader:
    """Lists tasks of projects that the caller is a member of."""

    def __init__(self, session: ReadSession, signer: CursorSigner) -> None:
        self._session = session
        self._signer = signer

    async def read(self, query: ProjectTaskQuery, *, user_id: int, project_ids: Sequence[int]) -> TaskList:
        """Return one page of the tasks in all projects of the caller, or in the given ones.

        Raises:
            InvalidCursorError: The cursor belongs to another list, filter, sort or user.
        """
        binding = cursor_binding(list_name(query, project_ids), user_id=user_id)
        seen = self._signer.read(query.cursor, binding) if query.cursor else None
        filters = _filters(query, user_id)
        named = sorted(set(project_ids))
        shape = _Shape(
            query.sort_by,
            ascending=query.order == "asc",
            filters=tuple(filters),
            projects=min(len(named), 2),
            seen=tuple(value is not None for value in seen or ()),
            with_total=query.count == "exact" or (query.count is None and seen is None),
        )
        order = _Order(query.sort_by, ascending=shape.ascending)
        parameters = {
            **filters,
            **(order.seen_values(seen) if seen else {}),
            "user_id": user_id,
            "project_ids": named,
            "project_id": named[0] if named else None,
            "needed": query.skip + query.limit + 1,
            "size": query.limit + 1,
            "skip": query.skip,
        }
        if filters:
            await self._session.plan_by_value()
        rows = (await self._session.execute(_page(shape), parameters)).mappings().all()
        tasks = [row for row in rows if row["id"] is not None]
        page = tasks[: query.limit]
        return TaskList(
            total=rows[0]["total"] if shape.with_total else None,
            skip=query.skip,
            limit=query.limit,
            tasks=[TaskRead.model_validate({name: row[name] for name in TASK_FIELDS}) for row in page],
            next_cursor=self._signer.write(order.cursor_values(page[-1]), binding) if len(tasks) > len(page) else None,
        )

"""The statement that lists tasks: filtered, sorted, by page or by key."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    RowMapping,
    Select,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger, Integer, Text, TypeEngine

from taskmanager.database import ReadSession
from taskmanager.pagination import CursorSigner
from taskmanager.projects.models import ProjectMember
from taskmanager.tasks.models import Task
from taskmanager.tasks.schemas import ProjectTaskQuery, TaskList, TaskRead, TaskSort, TaskStatus
from taskmanager.tasks.statements import TASK_FIELDS

_TASKS = Task.__table__
_TASK = _TASKS.c
_MEMBER = ProjectMember.__table__.c
_COLUMNS = [_TASK[name] for name in TASK_FIELDS]
_SORT_KEYS: dict[TaskSort, ColumnElement[Any]] = {
    TaskSort.UPDATED_AT: _TASK.updated_at,
    TaskSort.PRIORITY: _TASK.priority,
    TaskSort.TITLE: func.lower(_TASK.title).collate("C"),
    TaskSort.DUE_AT: _TASK.due_at,
}
_TIMES = (_TASK.created_at, _TASK.updated_at, _TASK.due_at)
_USER = bindparam("user_id", type_=BigInteger())
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "status": _TASK.status.in_(bindparam("status", expanding=True)),
    "priority": _TASK.priority.in_(bindparam("priority", expanding=True)),
    "tag": Task.tags.overlap(bindparam("tag", type_=ARRAY(Text))),
    "assignee": _TASK.assignee_id.in_(bindparam("assignee", expanding=True)),
    "due_after": _TASK.due_at >= bindparam("due_after"),
    "due_before": _TASK.due_at < bindparam("due_before"),
    "overdue": and_(
        _TASK.due_at.is_not(None),
        _TASK.due_at < func.now(),
        _TASK.status.not_in((TaskStatus.COMPLETED, TaskStatus.CANCELLED)),
    ),
    "search": or_(_TASK.title.ilike(bindparam("search")), _TASK.description.ilike(bindparam("search"))),
}
_CONDITIONS["not overdue"] = not_(_CONDITIONS["overdue"])


class _Order:
    """The order of a list: a sort key, then time of creation and id, all in one direction."""

    def __init__(self, sort_by: TaskSort, *, ascending: bool) -> None:
        self.sort_by = sort_by
        self._ascending = ascending
        self._keys: list[ColumnElement[Any]] = [_TASK.created_at, _TASK.id]
        if sort_by is not TaskSort.CREATED_AT:
            self._keys.insert(0, _SORT_KEYS[sort_by])

    def clauses(self, keys: Sequence[ColumnElement[Any]] | None = None) -> list[ColumnElement[Any]]:
        """Return the ORDER BY clauses of an index, for rows whose keys are not NULL."""
        return [key.asc() if self._ascending else key.desc() for key in (self._keys if keys is None else keys)]

    def clauses_nulls_last(self, keys: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        """Return the ORDER BY clauses for any rows; NULL sorts last both ways."""
        first, *rest = self.clauses(keys)
        return [first.nulls_last(), *rest]

    def labelled_keys(self) -> list[ColumnElement[Any]]:
        """Return the sort keys as columns of the result."""
        return [key.label(f"key_{number}") for number, key in enumerate(self._keys)]

    def keys_of(self, source: FromClause) -> list[ColumnElement[Any]]:
        """Return the columns of a subquery that hold the sort keys."""
        return [source.c[f"key_{number}"] for number in range(len(self._keys))]

    def after(self, *, skip_first: bool = False) -> ColumnElement[bool]:
        """Return the condition that a row comes behind the values `seen_0` and so on, which must not be NULL."""
        keys = list(enumerate(self._keys))[1 if skip_first else 0 :]
        row = tuple_(*(key for _, key in keys))
        seen = tuple_(*(bindparam(f"seen_{number}", type_=_type_of(key)) for number, key in keys))
        return row > seen if self._ascending else row < seen

    def seen_values(self, cursor_values: Sequence[Any]) -> dict[str, Any]:
        """Return the parameters of `after`, from what a cursor holds."""
        return {
            f"seen_{number}": datetime.fromisoformat(value) if key in _TIMES and value is not None else value
            for number, (key, value) in enumerate(zip(self._keys, cursor_values, strict=True))
        }

    def cursor_values(self, row: RowMapping) -> list[Any]:
        """Return the sort key of a row of the result."""
        return [row[f"key_{number}"] for number in range(len(self._keys))]


def _type_of(key: ColumnElement[Any]) -> TypeEngine[Any]:
    if key is _TASK.priority:
        return Integer()
    if key is _TASK.id:
        return BigInteger()
    return _TASK.created_at.type if key in _TIMES else Text()


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


def _candidates(
    shape: _Shape, order: _Order, member: FromClause, project_id: ColumnElement[int]
) -> Select[Any] | CompoundSelect[Any]:
    """Return the first tasks of one project, as many as the page could need, each part in the order of an index."""
    source = (
        select(*_COLUMNS, *order.labelled_keys())
        .where(_TASK.project_id == project_id, *(_CONDITIONS[name] for name in shape.filters))
        .correlate(member)
    )
    needed = bindparam("needed", type_=Integer())
    if order.sort_by is not TaskSort.DUE_AT:
        if shape.seen:
            source = source.where(order.after())
        return source.order_by(*order.clauses()).limit(needed)
    # Tasks without a due time come last both ways, which no one index gives: two ordered parts do.
    dated = source.where(_TASK.due_at.is_not(None)).order_by(*order.clauses()).limit(needed)
    undated = source.where(_TASK.due_at.is_(None)).order_by(*order.clauses([_TASK.created_at, _TASK.id])).limit(needed)
    if shape.seen and not shape.seen[0]:
        return undated.where(order.after(skip_first=True))
    if shape.seen:
        dated = dated.where(order.after())
    if not {"due_after", "due_before", "overdue"}.isdisjoint(shape.filters):
        return dated  # PostgreSQL would read the whole project to find that nothing else is left
    return union_all(dated, undated)


# To put a statement together takes longer than to run it. Each takes 200 KB, SQLAlchemy's own memory of it included.
@lru_cache(maxsize=64)
def _page(shape: _Shape) -> Select[Any]:
    order = _Order(shape.sort_by, ascending=shape.ascending)
    memberships = select(_MEMBER.project_id).where(_MEMBER.user_id == _USER)
    if shape.projects:
        memberships = memberships.where(_MEMBER.project_id.in_(bindparam("project_ids", expanding=True)))
    member = memberships.subquery("member")
    # A project that is named is named here too: PostgreSQL then knows how large that one is.
    project_id = bindparam("project_id", type_=BigInteger()) if shape.projects == 1 else member.c.project_id
    # Limited per project, so that each part is read from an index and stops early; merged and cut to the page.
    found = _candidates(shape, order, member, project_id).lateral("found")
    page = (
        select(*(found.c[name] for name in TASK_FIELDS), *order.keys_of(found))
        .select_from(member.join(found, true()))
        .order_by(*order.clauses_nulls_last(order.keys_of(found)))
        .offset(bindparam("skip", type_=Integer()))
        .limit(bindparam("size", type_=Integer()))
        .subquery("page")
    )
    if not shape.with_total:
        return select(page).order_by(*order.clauses_nulls_last(order.keys_of(page)))
    counted = (
        select(func.count().label("total"))
        .select_from(member.join(_TASKS, _TASK.project_id == project_id))
        .where(*(_CONDITIONS[name] for name in shape.filters))
        .subquery("counted")
    )
    # The outer join keeps the total when the page is empty.
    return (
        select(counted.c.total, page)
        .outerjoin_from(counted, page, true())
        .order_by(*order.clauses_nulls_last(order.keys_of(page)))
    )


def _filters(query: ProjectTaskQuery, user_id: int) -> dict[str, Any]:
    """Return the filters that are given, by their names in `_CONDITIONS`, and their values."""
    values: dict[str, Any] = {
        "status": query.status,
        "priority": query.priority,
        "tag": query.tag,
        "assignee": [user_id if who == "me" else who for who in query.assignee],
        "due_after": query.due_after,
        "due_before": query.due_before,
    }
    given = {name: value for name, value in values.items() if value}
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

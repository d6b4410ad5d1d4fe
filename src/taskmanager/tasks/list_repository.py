"""The statement that lists tasks: filtered, sorted, by page or by key."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    RowMapping,
    Select,
    and_,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.types import BigInteger, Integer, Text

from taskmanager.database import ReadSession
from taskmanager.pagination import CursorSigner
from taskmanager.projects.models import ProjectMember
from taskmanager.tasks.models import Task
from taskmanager.tasks.schemas import ProjectTaskQuery, TaskList, TaskRead, TaskSort, TaskStatus
from taskmanager.tasks.statements import TASK_FIELDS

_TASK = Task.__table__.c
_COLUMNS = [_TASK[name] for name in TASK_FIELDS]
_SORT_KEYS: dict[TaskSort, ColumnElement[Any]] = {
    TaskSort.UPDATED_AT: _TASK.updated_at,
    TaskSort.PRIORITY: _TASK.priority,
    TaskSort.TITLE: func.lower(_TASK.title).collate("C"),
    TaskSort.DUE_AT: _TASK.due_at,
}


class _Order:
    """The order of a list: a sort key, then time of creation and id, all in one direction."""

    def __init__(self, query: ProjectTaskQuery) -> None:
        self.sort_by = query.sort_by
        self.ascending = query.order == "asc"
        self._keys: list[ColumnElement[Any]] = [_TASK.created_at, _TASK.id]
        if query.sort_by is not TaskSort.CREATED_AT:
            self._keys.insert(0, _SORT_KEYS[query.sort_by])

    def clauses(self, keys: Sequence[ColumnElement[Any]] | None = None) -> list[ColumnElement[Any]]:
        """Return the ORDER BY clauses of an index, for rows whose keys are not NULL."""
        return [key.asc() if self.ascending else key.desc() for key in (self._keys if keys is None else keys)]

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

    def cursor_values(self, row: RowMapping) -> list[Any]:
        """Return the sort key of a row of the result."""
        return [row[f"key_{number}"] for number in range(len(self._keys))]

    def after(self, values: Sequence[Any], *, skip_first: bool = False) -> ColumnElement[bool]:
        """Return the condition that a row comes behind these values, which must not be NULL."""
        pairs = list(zip(self._keys, values, strict=True))[1 if skip_first else 0 :]
        row = tuple_(*(key for key, _ in pairs))
        seen = tuple_(*(_typed(key, value) for key, value in pairs))
        return row > seen if self.ascending else row < seen


def _typed(key: ColumnElement[Any], value: Any) -> ColumnElement[Any]:
    if isinstance(value, int):
        return literal(value, Integer() if key is _TASK.priority else BigInteger())
    if key in (_TASK.created_at, _TASK.updated_at, _TASK.due_at):
        return literal(datetime.fromisoformat(value), _TASK.created_at.type)
    return literal(value, Text())


def _conditions(query: ProjectTaskQuery, *, user_id: int) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.status:
        conditions.append(_TASK.status.in_(query.status))
    if query.priority:
        conditions.append(_TASK.priority.in_(query.priority))
    if query.tag:
        conditions.append(Task.tags.overlap(query.tag))
    if query.assignee:
        conditions.append(_TASK.assignee_id.in_([user_id if who == "me" else who for who in query.assignee]))
    if query.due_after:
        conditions.append(_TASK.due_at >= query.due_after)
    if query.due_before:
        conditions.append(_TASK.due_at < query.due_before)
    if query.overdue is not None:
        overdue = and_(
            _TASK.due_at.is_not(None),
            _TASK.due_at < func.now(),
            _TASK.status.not_in((TaskStatus.COMPLETED, TaskStatus.CANCELLED)),
        )
        conditions.append(overdue if query.overdue else not_(overdue))
    if query.search is not None:
        escaped = query.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"%{escaped}%"
        conditions.append(or_(_TASK.title.ilike(pattern), _TASK.description.ilike(pattern)))
    return conditions


def _candidates(
    query: ProjectTaskQuery,
    order: _Order,
    member: FromClause,
    seen: Sequence[Any] | None,
    *,
    user_id: int,
    project_id: ColumnElement[int],
) -> Select[Any] | CompoundSelect[Any]:
    """Return the first tasks of one project, as many as the page could need, each part in the order of an index."""
    source = (
        select(*_COLUMNS, *order.labelled_keys())
        .where(_TASK.project_id == project_id, *_conditions(query, user_id=user_id))
        .correlate(member)
    )
    needed = query.skip + query.limit + 1
    if order.sort_by is not TaskSort.DUE_AT:
        if seen is not None:
            source = source.where(order.after(seen))
        return source.order_by(*order.clauses()).limit(needed)
    # Tasks without a due time come last both ways, which no one index gives: two ordered parts do.
    dated = source.where(_TASK.due_at.is_not(None)).order_by(*order.clauses()).limit(needed)
    undated = source.where(_TASK.due_at.is_(None)).order_by(*order.clauses([_TASK.created_at, _TASK.id])).limit(needed)
    if seen is not None and seen[0] is None:
        return undated.where(order.after(seen, skip_first=True))
    if seen is not None:
        dated = dated.where(order.after(seen))
    if query.due_after or query.due_before or query.overdue:
        return dated  # PostgreSQL would read the whole project to find that nothing else is left
    return union_all(dated, undated)


def _page(
    query: ProjectTaskQuery,
    order: _Order,
    seen: Sequence[Any] | None,
    *,
    user_id: int,
    project_ids: Sequence[int],
    with_total: bool,
) -> Select[Any]:
    memberships = select(ProjectMember.project_id).where(ProjectMember.user_id == user_id)
    if project_ids:
        memberships = memberships.where(ProjectMember.project_id.in_(project_ids))
    member = memberships.subquery("member")
    # A project that is named is named here too: PostgreSQL then knows how large that one is.
    named = set(project_ids)
    project_id = literal(named.pop(), BigInteger()) if len(named) == 1 else member.c.project_id
    # Limited per project, so that each part is read from an index and stops early; merged and cut to the page.
    found = _candidates(query, order, member, seen, user_id=user_id, project_id=project_id).lateral("found")
    page = (
        select(*(found.c[name] for name in TASK_FIELDS), *order.keys_of(found))
        .select_from(member.join(found, true()))
        .order_by(*order.clauses_nulls_last(order.keys_of(found)))
        .offset(query.skip)
        .limit(query.limit + 1)
        .subquery("page")
    )
    if not with_total:
        return select(page).order_by(*order.clauses_nulls_last(order.keys_of(page)))
    counted = (
        select(func.count().label("total"))
        .select_from(member.join(Task, _TASK.project_id == project_id))
        .where(*_conditions(query, user_id=user_id))
        .subquery("counted")
    )
    # The outer join keeps the total when the page is empty.
    return (
        select(counted.c.total, page)
        .outerjoin_from(counted, page, true())
        .order_by(*order.clauses_nulls_last(order.keys_of(page)))
    )


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
        order = _Order(query)
        binding = cursor_binding(list_name(query, project_ids), user_id=user_id)
        seen = self._signer.read(query.cursor, binding) if query.cursor else None
        with_total = query.count == "exact" or (query.count is None and seen is None)
        statement = _page(query, order, seen, user_id=user_id, project_ids=project_ids, with_total=with_total)
        if _conditions(query, user_id=user_id):
            await self._session.plan_by_value()
        rows = (await self._session.execute(statement)).mappings().all()
        tasks = [row for row in rows if row["id"] is not None]
        page = tasks[: query.limit]
        return TaskList(
            total=rows[0]["total"] if with_total else None,
            skip=query.skip,
            limit=query.limit,
            tasks=[TaskRead.model_validate({name: row[name] for name in TASK_FIELDS}) for row in page],
            next_cursor=self._signer.write(order.cursor_values(page[-1]), binding) if len(tasks) > len(page) else None,
        )

"""Lists tasks: filtered, sorted, by page or by key."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.http.pagination import CursorSigner
from taskmanager.tasks.listing.chosen import CHOSEN_TASKS
from taskmanager.tasks.listing.statements import (
    FEW,
    MOST_COUNTED,
    PAGES_OF_FEW,
    SHARED_COUNTS,
    SHARED_PAGES,
    Order,
    Shape,
    count_alone,
    page_alone,
)
from taskmanager.tasks.schemas import Included, ProjectTaskQuery, TaskFilters

# A page further back reads so much that it runs alone.
_MOST_SKIPPED = 500
# A single value is compared by `=`: PostgreSQL then reads an index in order, which it does not for an array.
_NO_FILTERS = dict.fromkeys(
    (
        *("statuses", "priorities", "assignee_ids", "section_ids", "has_no_section", "tags"),
        *("due_after", "due_before", "is_overdue", "search"),
    )
)
_SINGLE = {
    "statuses": "status",
    "priorities": "priority",
    "assignee_ids": "assignee_id",
    "section_ids": "section_id",
}


class TaskPage(NamedTuple):
    """A page of a list as the bytes of its JSON object, and whether there are any tasks in it."""

    body: bytes
    is_empty: bool
    next_cursor: str | None


def given_filters(query: TaskFilters, user_id: int) -> dict[str, Any]:
    """Return the filters that are given, and their values."""
    given: dict[str, Any] = {}
    for name, values in (
        ("statuses", query.status),
        ("priorities", query.priority),
        ("assignee_ids", [user_id if who == "me" else who for who in query.assignee]),
        ("tags", query.tag),
    ):
        if values:
            given[name] = list(dict.fromkeys(values))
    given.update(_sections(query))
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


def _sections(query: TaskFilters) -> dict[str, Any]:
    """Return the filter by section, and its value."""
    wanted = list(dict.fromkeys(query.section_id))
    if "none" not in wanted:
        return {"section_ids": wanted} if wanted else {}
    wanted.remove("none")
    return {"no_or_section_ids": wanted} if wanted else {"no section": True}


def with_single_values(filters: dict[str, Any]) -> dict[str, Any]:
    """Return filters by one value as such, which are planned for it."""
    return {
        (_SINGLE[name] if name in _SINGLE and len(value) == 1 else name): (
            value[0] if name in _SINGLE and len(value) == 1 else value
        )
        for name, value in filters.items()
    }


def values_for_few(filters: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return all values of a statement on few tasks, whose filters are NULL where they are not given."""
    is_overdue = True if "overdue" in filters else False if "not overdue" in filters else None
    has_no_section = "no section" in filters or "no_or_section_ids" in filters or None
    return {
        **_NO_FILTERS,
        **values,
        **filters,
        "is_overdue": is_overdue,
        "section_ids": filters.get("section_ids") or filters.get("no_or_section_ids"),
        "has_no_section": has_no_section,
        "project_ids": values["project_ids"] or None,
    }


def chosen_projects(query: TaskFilters, *, user_id: int, project_ids: Sequence[int]) -> dict[str, Any]:
    """Return the values that choose projects: those that are named, or else all of the caller's that are wanted."""
    named = sorted(set(project_ids))
    return {
        "user_id": user_id,
        "project_ids": named,
        "project_id": named[0] if named else None,
        "archived": None if named else query.archived.wanted,
    }


def cursor_binding(name: str, *, user_id: int) -> str:
    """Return what the cursors of a user's list are bound to."""
    return f"tasks {user_id} {name}"


class TaskListReader:
    """Lists tasks of projects that the caller is a member of."""

    def __init__(self, reads: Reads, signer: CursorSigner) -> None:
        self._reads = reads
        self._signer = signer

    async def read(self, query: ProjectTaskQuery, *, user_id: int, project_ids: Sequence[int]) -> TaskPage:
        """Return one page of the tasks in the given projects, or in all of the caller's that `query.archived` wants.

        Raises:
            InvalidCursorError: The cursor belongs to another list, filter, sort or user.
        """
        projects = chosen_projects(query, user_id=user_id, project_ids=project_ids)
        named = projects["project_ids"]
        chosen = "" if named else query.archived.in_binding
        binding = cursor_binding(f"{named} {query.filters_and_order}{chosen}", user_id=user_id)
        seen = self._signer.read(query.cursor, binding) if query.cursor else None
        filters = given_filters(query, user_id)
        order = Order(query.sort_by, ascending=query.order == "asc")
        shape = Shape(
            query.sort_by,
            ascending=query.order == "asc",
            filters=tuple(filters),
            projects=min(len(named), 2),
            seen=tuple(value is not None for value in seen or ()),
            with_total=query.count == "exact" or (query.count is None and seen is None),
            with_more=any(query.included),
        )
        values = {
            **(order.seen_values(seen) if seen else {}),
            **projects,
            "needed": query.skip + query.limit + 1,
            "size": query.limit + 1,
            "skip": query.skip,
            "with_people": query.included.people,
            "with_counts": query.included.counts,
        }
        page, total = await self._read(shape, filters, values)
        next_cursor = None
        if page["found"] > query.limit:
            next_cursor = self._signer.write([page[f"key_{n}"] for n in range(len(order.keys))], binding)
        head = f'{{"total":{"null" if total is None else total},"skip":{query.skip},"limit":{query.limit},"tasks":['
        tail = '"next_cursor":null}' if next_cursor is None else f'"next_cursor":"{next_cursor}"}}'
        body = b"%b%b],%b%b" % (head.encode(), page["tasks"] or b"", page.get("more") or b"", tail.encode())
        return TaskPage(body, is_empty=not page["found"], next_cursor=next_cursor)

    async def read_those(self, task_ids: Sequence[int], included: Included, *, user_id: int) -> TaskPage:
        """Return tasks in the order of the ids, as one page; those that the caller may not see are left out."""
        asked = list(dict.fromkeys(task_ids))
        row = await self._one(
            CHOSEN_TASKS[any(included)],
            {"task_ids": asked, "user_id": user_id, "with_people": included.people, "with_counts": included.counts},
        )
        head = f'{{"total":{row["found"]},"skip":0,"limit":{len(asked)},"tasks":['
        body = b'%b%b],%b"next_cursor":null}' % (head.encode(), row["tasks"] or b"", row.get("more") or b"")
        return TaskPage(body, is_empty=not row["found"], next_cursor=None)

    async def _read(
        self, shape: Shape, filters: dict[str, Any], values: dict[str, Any]
    ) -> tuple[asyncpg.Record, int | None]:
        shared = None
        if shape.projects < 2 and values["skip"] <= _MOST_SKIPPED:
            shared = SHARED_PAGES.get(shape._replace(projects=1, with_total=False))
        if shared is None:
            if values["skip"] <= FEW:
                few = PAGES_OF_FEW[shape._replace(filters=(), projects=0, with_total=False)]
                page = await self._one(few, values_for_few(filters, values))
                if page["is_small"]:
                    return page, page["total"] if shape.with_total else None
            filters = with_single_values(filters)
            alone = page_alone(shape._replace(filters=tuple(filters)))
            page = await self._one(alone, {**values, **filters})
            return page, page["total"] if shape.with_total else None
        if not shape.with_total:
            return await self._one(shared, {**values, **filters}), None
        counted = self._reads.begin(SHARED_COUNTS[shape.run], **values, **filters)
        page = await self._one(shared, {**values, **filters})
        count = await counted.row()
        assert count is not None
        total: int = count["total"]
        if total > MOST_COUNTED:
            filters = with_single_values(filters)
            alone = count_alone(shape._replace(filters=tuple(filters), seen=(), with_more=False))
            total = (await self._one(alone, {**values, **filters}))["total"]
        return page, total

    async def _one(self, statement: Statement, values: dict[str, Any]) -> asyncpg.Record:
        row = await self._reads.one(statement, **values)
        assert row is not None  # an aggregate always gives a row
        return row

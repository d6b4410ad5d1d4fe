"""Lists tasks: filtered, sorted, by page or by key."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.http.pagination import CursorSigner
from taskmanager.tasks.listing.chosen import CHOSEN_TASKS
from taskmanager.tasks.listing.few import FEW, page_of_few
from taskmanager.tasks.listing.filters import (
    chosen_projects,
    filters_of_few,
    given_filters,
    values_for_few,
    with_single_values,
)
from taskmanager.tasks.listing.orders import order_of
from taskmanager.tasks.listing.schemas import Counting, ProjectTaskQuery
from taskmanager.tasks.listing.statements import (
    MOST_COUNTED,
    SHARED_COUNTS,
    SHARED_PAGES,
    Shape,
    count_alone,
    page_alone,
)
from taskmanager.tasks.schemas import Included

# A page further back reads so much that it runs alone.
_MOST_SKIPPED = 500


class TaskPage(NamedTuple):
    """A page of a list as the bytes of its JSON object, and whether there are any tasks in it."""

    body: bytes
    is_empty: bool
    next_cursor: str | None


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
        order = order_of(query.sort)
        shape = Shape(
            query.sort,
            filters=tuple(filters),
            projects=min(len(named), 2),
            seen=tuple(value is not None for value in seen or ()),
            with_total=query.count is Counting.EXACT or (query.count is None and seen is None),
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
            few = page_of_few(shape, filters_of_few(filters))
            if few is not None and values["skip"] <= FEW:
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

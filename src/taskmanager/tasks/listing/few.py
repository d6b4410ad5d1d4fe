"""The statements of any list of few tasks: all of them are looked at, so requests share one whatever they ask for."""

from functools import cache
from typing import Final

from taskmanager.database.statements import Statement
from taskmanager.tasks.due import DUE_AT, HAS_NO_DUE
from taskmanager.tasks.listing.filters import FiltersOfFew
from taskmanager.tasks.listing.orders import Order
from taskmanager.tasks.listing.statements import IS_LISTED, SHARED_PAGES, Shape, page_as_json, typed

# Up to this many tasks, any list is found by looking at all of them.
FEW = 500


_MEMBER: Final = f"""
    m.user_id = :user_id AND (:project_ids IS NULL OR m.project_id = ANY(:project_ids)) AND {IS_LISTED}
"""
_ALL: Final = f"""
    FROM tasks t WHERE t.project_id = m.project_id ORDER BY t.created_at DESC, t.id DESC LIMIT {FEW + 1}
"""
# In the order of an index that has those with a due alone.
_IN_WINDOW: Final = f"""
    FROM tasks t WHERE t.project_id = m.project_id
      AND {DUE_AT} >= COALESCE(:window_from, '-infinity') AND {DUE_AT} <= COALESCE(:window_to, 'infinity')
    ORDER BY {DUE_AT}, t.created_at, t.id LIMIT {FEW + 1}
"""


def few_tasks(filters: FiltersOfFew) -> str:
    """Return the steps `size` (is_small) and `few`, the caller's tasks that meet the filters.

    `is_small` is whether there are `FEW` at most before they are filtered, in the window of their due if they have one.
    """
    tasks = _IN_WINDOW if filters.in_window else _ALL
    return f"""size AS MATERIALIZED (
        SELECT count(*) <= {FEW} AS is_small FROM (
            SELECT FROM project_members m CROSS JOIN LATERAL (SELECT {tasks}) AS t WHERE {_MEMBER}
            LIMIT {FEW + 1}
        ) AS counted
    ), few AS MATERIALIZED (
        SELECT t.* FROM project_members m CROSS JOIN LATERAL (SELECT t.* {tasks}) AS t
        WHERE {_MEMBER} AND (SELECT is_small FROM size) AND {filters.condition}
    )
    """


def page_of_few(shape: Shape, filters: FiltersOfFew) -> Statement | None:
    """Return the statement of any list of few tasks in this order, which is shared; None in an order of no index.

    Where there are more than `FEW` (see `few_tasks`), it says so (`is_small`) and reads none of them.
    """
    plain = shape._replace(filters=(), projects=1, with_total=False)
    return _page_of_few(plain, filters) if plain in SHARED_PAGES else None


# There are no more than four for each of `SHARED_PAGES`.
@cache
def _page_of_few(shape: Shape, filters: FiltersOfFew) -> Statement:
    order = Order(shape.sort)
    behind = "true"
    if shape.seen and not shape.seen[0]:
        behind = f"{HAS_NO_DUE} AND {order.after(shape.seen, 1)}"
    elif shape.seen:
        behind = f"({order.after(shape.seen)}{f' OR {HAS_NO_DUE}' if shape.begins_with_due else ''})"
    page = f"""
        SELECT few.* FROM (SELECT t.*, {order.labelled_keys()} FROM few t WHERE {behind}) AS few
        ORDER BY {order.by_labels("few")} OFFSET :skip LIMIT :size
    """
    sql = f"""
        WITH {few_tasks(filters)}
        SELECT size.is_small, (SELECT count(*) FROM few) AS total, page.*
        FROM size CROSS JOIN LATERAL ({page_as_json(page, order, with_more=shape.with_more)}) AS page
    """
    return typed(f"list few tasks by {shape.sort[0].by}", sql, order, shared=True)

"""The statements of any list of few tasks: all of them are looked at, so requests share one whatever they ask for."""

from typing import Final

from taskmanager.database.statements import Statement
from taskmanager.tasks.due import HAS_NO_DUE
from taskmanager.tasks.listing.filters import ANY_FILTERS
from taskmanager.tasks.listing.orders import Order
from taskmanager.tasks.listing.statements import IS_LISTED, SHARED_PAGES, Shape, page_as_json, typed

# Up to this many tasks, any list is found by looking at all of them.
FEW = 500


_MEMBER: Final = f"""
    m.user_id = :user_id AND (:project_ids IS NULL OR m.project_id = ANY(:project_ids)) AND {IS_LISTED}
"""
_TASKS: Final = f"""
    FROM tasks t WHERE t.project_id = m.project_id ORDER BY t.created_at DESC, t.id DESC LIMIT {FEW + 1}
"""
# The steps `size` (is_small), whether the caller has `FEW` tasks there at most, and `few`, those that meet the filters.
FEW_TASKS: Final = f"""size AS MATERIALIZED (
        SELECT count(*) <= {FEW} AS is_small FROM (
            SELECT FROM project_members m CROSS JOIN LATERAL (SELECT {_TASKS}) AS t WHERE {_MEMBER}
            LIMIT {FEW + 1}
        ) AS counted
    ), few AS MATERIALIZED (
        SELECT t.* FROM project_members m CROSS JOIN LATERAL (SELECT t.* {_TASKS}) AS t
        WHERE {_MEMBER} AND (SELECT is_small FROM size) AND {ANY_FILTERS}
    )
"""


def _page_of_few(shape: Shape) -> Statement:
    """Return the statement of any list of few tasks, which is shared whatever its filters are.

    Where the caller has more than `FEW` tasks in the projects, it says so (`is_small`) and reads none of them.
    """
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
        WITH {FEW_TASKS}
        SELECT size.is_small, (SELECT count(*) FROM few) AS total, page.*
        FROM size CROSS JOIN LATERAL ({page_as_json(page, order, with_more=shape.with_more)}) AS page
    """
    return typed(f"list few tasks by {shape.sort[0].by}", sql, order, shared=True)


PAGES_OF_FEW: Final = {
    shape: _page_of_few(shape) for shape in (one._replace(projects=0) for one in SHARED_PAGES if one.run is None)
}

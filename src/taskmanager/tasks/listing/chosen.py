"""The statement that finds tasks by their ids."""

from taskmanager.database.statements import Statement
from taskmanager.tasks.listing.page_json import tasks_as_json
from taskmanager.tasks.statements import INCLUDED_TYPES

# OFFSET 0 has PostgreSQL look each of them up; a join could be planned as a scan of all tasks.
_CHOSEN = """
    SELECT found.*, asked.place FROM unnest(:task_ids) WITH ORDINALITY AS asked (id, place)
    CROSS JOIN LATERAL (
        SELECT t.* FROM tasks t JOIN project_members m ON m.project_id = t.project_id AND m.user_id = :user_id
        WHERE t.id = asked.id OFFSET 0
    ) AS found
"""


def _find(*, with_more: bool) -> Statement:
    sql = tasks_as_json(_CHOSEN, " ORDER BY t.place", "count(*) AS found", with_more=with_more)
    return Statement("find chosen tasks", sql, INCLUDED_TYPES, shared=True, most_shared=32)


CHOSEN_TASKS = {with_more: _find(with_more=with_more) for with_more in (False, True)}

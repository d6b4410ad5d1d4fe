"""Names and counts cost what the page is long, and a person is found by indexes, in a large project."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskmanager.database.pools import Pool
from taskmanager.people.repository import _FIND, _LIST
from taskmanager.tasks.counting.schemas import CountBy
from taskmanager.tasks.counting.statements import counts_alone
from taskmanager.tasks.listing.chosen import CHOSEN_TASKS
from tests.support.plans import EXECUTIONS, LargeProject, Plan, Sent, large_project
from tests.support.rows import execute

SIZE = 30_000
PAGE = 20
COMMENTS_EACH = 2
CREATED_AT = "tasks_project_id_created_at_id_idx"
# Those who have made tasks and left; and one whom nobody in the large project knows.
FIRST_FORMER, LAST_FORMER, STRANGER = 1_001, 1_100, 2_000
_FILL = (
    """
    INSERT INTO users (id, username, email, password_hash)
    SELECT n, 'user' || n, 'user' || n || '@example.com', 'x' FROM generate_series(1001, 6000) AS n
    """,
    "UPDATE tasks SET created_by = 1001 + id % 100 WHERE project_id = 1",
    """
    INSERT INTO comments (project_id, task_id, author_id, body)
    SELECT t.project_id, t.id, 1001 + (t.id + k) % 100, 'A comment'
    FROM tasks t CROSS JOIN generate_series(1, 2) AS k WHERE t.project_id = 1
    """,
)


@pytest.fixture(scope="module")
async def large(database_url: str) -> AsyncIterator[LargeProject]:
    """The database, in which each task of the large project has comments and was made by somebody who has left."""
    async with large_project(database_url, SIZE) as project:
        for statement in _FILL:
            await execute(project.database, statement)
        held = await project.database.connect(Pool.ALONE)
        try:
            await held.fetch("VACUUM ANALYZE users, tasks, comments")
        finally:
            await held.discard()
        yield project


def rows_of(plan: Plan, relation: str) -> int:
    """Return how many rows of a table a plan handled, thrown away or not."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in plan.nodes
        if node.get("Relation Name") == relation
    )


@pytest.mark.parametrize("together", [0, 8])
@pytest.mark.parametrize("query", [{}, {"status": ["pending"]}, {"sort_by": "title"}, {"sort_by": "due_at"}])
async def test_a_page_with_names_and_counts_reads_what_belongs_to_it(
    large: LargeProject, query: dict[str, Any], together: int
) -> None:
    requests = together or 1
    plain = {**query, "count": "none", "limit": PAGE}
    for executions in (1, EXECUTIONS):
        without = await large.plan(plain, executions=executions, together=together)
        plan = await large.plan({**plain, "include": ["people", "counts"]}, executions=executions, together=together)
        assert plan.task_scans == without.task_scans
        assert rows_of(plan, "tasks") == rows_of(without, "tasks")
        assert rows_of(plan, "comments") == COMMENTS_EACH * PAGE * requests
        assert rows_of(plan, "users") <= 2 * PAGE * requests


@pytest.mark.parametrize("together", [0, 8])
async def test_tasks_are_found_by_their_ids(large: LargeProject, together: int) -> None:
    statement = CHOSEN_TASKS[True]
    values = {"task_ids": list(range(5_000, 5_100)), "user_id": 1, "with_people": True, "with_counts": True}
    plan = await large.explain(Sent(statement, statement.arguments(values)), together=together)
    assert plan.task_scans == {"tasks_id_idx"}
    assert rows_of(plan, "tasks") == 100 * (together or 1)
    assert rows_of(plan, "comments") == COMMENTS_EACH * 100 * (together or 1)


@pytest.mark.parametrize("together", [0, 8])
@pytest.mark.parametrize("person_id", [FIRST_FORMER, STRANGER, 10**9])
async def test_a_person_is_found_by_indexes(large: LargeProject, person_id: int, together: int) -> None:
    for executions in (1, EXECUTIONS):
        read = Sent(_FIND, _FIND.arguments({"person_id": person_id, "user_id": 1}))
        plan = await large.explain(read, executions=executions, together=together)
        assert rows_of(plan, "tasks") <= (together or 1)
        assert rows_of(plan, "comments") <= (together or 1)
        assert rows_of(plan, "users") <= (together or 1)


async def test_100_people_are_found_by_indexes(large: LargeProject) -> None:
    ids = list(range(FIRST_FORMER, LAST_FORMER + 1))
    plan = await large.explain(Sent(_LIST, _LIST.arguments({"person_ids": ids, "user_id": 1})))
    assert rows_of(plan, "users") == len(ids)
    assert rows_of(plan, "tasks") <= len(ids)


@pytest.mark.parametrize(("by", "filters"), [("status", {}), ("priority", {}), ("tag", {"status": "cancelled"})])
async def test_tasks_are_counted_by_one_look_at_those_that_match(
    large: LargeProject, by: str, filters: dict[str, Any]
) -> None:
    statement = counts_alone(CountBy(by), tuple(filters), 1)
    values = {"user_id": 1, "project_ids": [1], "project_id": 1, **filters}
    plan = await large.explain(Sent(statement, statement.arguments(values)))
    assert rows_of(plan, "tasks") <= SIZE
    if filters:
        assert plan.task_scans == {"tasks_status_idx"}
        assert rows_of(plan, "tasks") <= SIZE / 10

"""Lists of a large project read from indexes what the page needs, on a late page as on the first.

The same with 1,000,000 tasks is under tests/long.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.plans import EXECUTIONS, NEEDLES, LargeProject, large_project

SIZE = 30_000
# Four projects may each give a page and one more; those who sort by due time read two parts of each.
FEW_ROWS = 4 * 2 * 21
CREATED_AT = "tasks_project_id_created_at_id_idx"
SORTS = {
    "created_at": {CREATED_AT},
    "updated_at": {"tasks_updated_at_idx"},
    "priority": {"tasks_priority_idx"},
    "title": {"tasks_folded_title_idx"},
    "due_at": {"tasks_due_idx", CREATED_AT},
    "position": {"tasks_position_idx"},
}
RARE: dict[str, tuple[dict[str, Any], str]] = {
    "status": ({"status": ["cancelled"]}, "tasks_status_idx"),
    "priority": ({"priority": [5]}, "tasks_priority_idx"),
    "tag": ({"tag": ["rare"]}, "tasks_folded_search_idx"),
    "assignee": ({"assignee": ["me"]}, "tasks_assignee_created_at_idx"),
    "due date": (
        {"due_after": "2026-01-01T01:00:00Z", "due_before": "2026-01-01T01:00:30Z"},
        "tasks_due_idx",
    ),
    "due today": ({"due": ["today"]}, "tasks_due_idx"),
    "due this week": ({"due": ["week"]}, "tasks_due_idx"),
    "updated lately": ({"updated_after": "2029-06-01T00:00:00Z"}, "tasks_updated_at_idx"),
    "created then": (
        {"created_after": "2026-01-01T01:00:00Z", "created_before": "2026-01-01T01:00:05Z"},
        "tasks_project_id_created_at_id_idx",
    ),
    "search": ({"search": "needle"}, "tasks_folded_search_idx"),
    "search without a match": ({"search": "no such text"}, "tasks_folded_search_idx"),
    "tag without a match": ({"tag": ["never"]}, "tasks_folded_search_idx"),
}
COMMON: dict[str, dict[str, Any]] = {
    "status": {"status": ["pending"]},
    "priority": {"priority": [2]},
    "tag": {"tag": ["common"]},
    "assignee": {"assignee": [2]},
    "due date": {"due_after": "2026-01-01T00:00:00Z", "due_before": "2027-01-01T00:00:00Z"},
    "search": {"search": "task"},
    "overdue": {"overdue": True},
    "due before now": {"due": ["overdue"]},
    "without due": {"due": ["none"]},
    "due or not": {"due": ["overdue", "none"]},
    "without assignee": {"assignee": ["none"]},
    "another status": {"not_status": ["cancelled"]},
    "another tag": {"not_tag": ["common"]},
    "another assignee": {"not_assignee": [2]},
    "created since": {"created_after": "2026-01-01T00:00:10Z"},
    "updated since": {"updated_after": "2026-01-01T00:00:10Z"},
}


@pytest.fixture(scope="module")
async def large(database_url: str) -> AsyncIterator[LargeProject]:
    """The database."""
    async with large_project(database_url, SIZE) as project:
        yield project


@pytest.mark.parametrize("anywhere", [False, True], ids=["in the project", "in all projects"])
class TestPlans:
    """The first time, and once PostgreSQL has settled on a plan."""

    @pytest.mark.parametrize("sort_by", SORTS)
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_every_order_is_read_from_its_index(
        self, large: LargeProject, sort_by: str, order: str, anywhere: bool
    ) -> None:
        query = {"sort_by": sort_by, "order": order, "count": "none"}
        for executions in (1, EXECUTIONS):
            plan = await large.plan(query, anywhere=anywhere, executions=executions)
            assert plan.task_scans == SORTS[sort_by]
            assert plan.most_rows <= FEW_ROWS

    @pytest.mark.parametrize("sort_by", SORTS)
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_a_late_page_costs_as_much_as_the_first(
        self, large: LargeProject, sort_by: str, order: str, anywhere: bool
    ) -> None:
        query = {"sort_by": sort_by, "order": order, "count": "none"}
        first = await large.plan(query, anywhere=anywhere)
        late, _ = await large.read({**query, "skip": 10_000}, anywhere=anywhere)
        for _ in range(2):
            assert late.next_cursor is not None
            plan = await large.plan({**query, "cursor": late.next_cursor}, anywhere=anywhere)
            assert plan.task_scans <= SORTS[sort_by]
            assert plan.most_rows <= FEW_ROWS
            assert plan.buffers <= 1.5 * first.buffers
            late, _ = await large.read({**query, "cursor": late.next_cursor, "limit": 100}, anywhere=anywhere)

    @pytest.mark.parametrize(
        ("first", "then"),
        [("needle", "task"), ("no such text", "task"), ("task", "no such text"), ("task", "needle"), ("e", "needle")],
    )
    async def test_a_word_is_not_read_along_the_plan_of_another(
        self, large: LargeProject, first: str, then: str, anywhere: bool
    ) -> None:
        query = {"count": "none"}
        plan = await large.plan({**query, "search": then}, after={**query, "search": first}, anywhere=anywhere)
        assert plan.most_rows <= FEW_ROWS

    async def test_a_short_word_is_looked_for_inside_the_filter(self, large: LargeProject, anywhere: bool) -> None:
        plan = await large.plan({"search": "~~", "assignee": ["me"], "count": "none"}, anywhere=anywhere)
        assert plan.task_scans == {"tasks_assignee_created_at_idx"}
        assert plan.most_rows <= FEW_ROWS


# Of all projects together PostgreSQL knows only their average size, too little for everything below.
@pytest.mark.parametrize("name", RARE)
@pytest.mark.parametrize(
    ("sort_by", "anywhere"),
    [("created_at", False), ("title", False), ("due_at", False), ("created_at", True), ("title", True)],
)
async def test_a_filter_that_finds_little_reads_little(
    large: LargeProject, name: str, sort_by: str, anywhere: bool
) -> None:
    filters, index = RARE[name]
    page, _ = await large.read(filters, anywhere=anywhere)
    assert page.total is not None
    assert page.total <= 3 * NEEDLES
    for count in ("none", "exact"):
        plan = await large.plan({**filters, "sort_by": sort_by, "count": count}, anywhere=anywhere)
        assert index in plan.task_scans, count
        assert "Seq Scan" not in plan.task_scans, count
        assert plan.most_rows <= FEW_ROWS, count


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize("sort_by", SORTS)
async def test_a_filter_that_finds_much_stops_when_the_page_is_full(
    large: LargeProject, name: str, sort_by: str
) -> None:
    plan = await large.plan({**COMMON[name], "sort_by": sort_by, "count": "none"})
    assert "Seq Scan" not in plan.task_scans
    assert plan.most_rows <= SIZE / 10


@pytest.mark.parametrize("query", [{"due": ["today"]}, {"due": ["overdue", "today"]}, {"overdue": True}], ids=repr)
@pytest.mark.parametrize("anywhere", [False, True], ids=["in the project", "in all projects"])
async def test_what_is_due_from_now_is_a_range_of_the_index(
    large: LargeProject, query: dict[str, Any], anywhere: bool
) -> None:
    plan = await large.plan({**query, "sort_by": "due_at", "count": "none"}, anywhere=anywhere)
    conditions = [node.get("Index Cond", "") for node in plan.nodes if node.get("Index Name") == "tasks_due_idx"]
    assert conditions
    assert all(" <= " in one for one in conditions)


# Those that requests share for a page by time: without a filter, and with each that stands in front of it in an index.
SHARED: dict[str, dict[str, Any]] = {
    "newest": {},
    "status": {"status": ["pending"]},
    "statuses": {"status": ["pending", "in_progress"]},
    "priority": {"priority": [2]},
    "priorities": {"priority": [1, 2, 5]},
    "assignee": {"assignee": [2]},
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("anywhere", [False, True], ids=["in the project", "in all projects"])
async def test_a_shared_page_is_read_from_its_index(large: LargeProject, name: str, order: str, anywhere: bool) -> None:
    query = {**SHARED[name], "order": order, "count": "none"}
    runs = len(query.get("status") or query.get("priority") or [1])
    first = await large.plan(query, anywhere=anywhere, together=1)
    page, _ = await large.read(query, anywhere=anywhere)
    late = await large.plan({**query, "cursor": page.next_cursor}, anywhere=anywhere, together=1)
    for plan in (first, late):
        assert not {"Seq Scan", "Bitmap Heap Scan"} & {node["Node Type"] for node in plan.nodes}
        # Of each run the first task, and a page and one more.
        assert plan.most_rows <= 4 * runs * 22


@pytest.mark.parametrize("query", [{}, {"sort_by": "title"}, {"sort_by": "due_at"}, {"status": ["pending"]}], ids=repr)
@pytest.mark.parametrize("archived", ["false", "true", "any"])
async def test_whether_a_project_is_archived_is_looked_up_by_its_key(
    large: LargeProject, query: dict[str, Any], archived: str
) -> None:
    # Many projects, of which Bob is a member of 201 and Alice of 4.
    for user_id, members in ((1, 4), (2, 201)):
        asked = {**query, "archived": archived, "count": "none"}
        for together in (0, 8):
            plan = await large.plan(asked, anywhere=True, together=together, user_id=user_id)
            looks = [node for node in plan.nodes if node.get("Relation Name") == "projects"]
            assert {node["Node Type"] for node in looks} <= {"Index Scan", "Index Only Scan"}
            read = sum(node["Actual Rows"] * node["Actual Loops"] for node in looks)
            assert read <= (0 if archived == "any" else members * max(together, 1))


async def test_to_find_that_tasks_are_not_few_takes_few_entries_of_an_index(large: LargeProject) -> None:
    for anywhere in (False, True):
        plan = await large.plan({"search": "needle"}, anywhere=anywhere, of_few=True)
        assert plan.root["Actual Rows"] == 1
        assert plan.task_scans == {CREATED_AT}
        assert plan.most_rows <= 501


@pytest.mark.parametrize(
    "query",
    [
        {"due": ["today"]},
        {"due": ["week"], "sort_by": "title"},
        {"due": ["today"], "assignee": ["none"], "include": ["counts"]},
        {"due_after": "2026-01-01T01:00:00Z", "due_before": "2026-01-01T01:00:30Z", "sort_by": "priority"},
        {"due_before": "2025-12-31T00:00:00Z"},
        {"due_after": "2035-01-01T00:00:00Z", "due": ["today"]},
    ],
    ids=repr,
)
async def test_few_with_a_due_in_a_window_are_few_in_a_large_project(
    large: LargeProject, query: dict[str, Any]
) -> None:
    for anywhere in (False, True):
        page, sent = await large.run(query, anywhere=anywhere)
        assert len(sent) == 1
        plan = await large.plan(query, anywhere=anywhere)
        assert plan.task_scans == {"tasks_due_idx"}
        assert plan.most_rows <= 501
        assert page.total is not None


async def test_many_with_a_due_in_a_window_are_not_few(large: LargeProject) -> None:
    query = {"due_after": "2026-01-01T00:00:00Z"}
    _, sent = await large.run(query)
    assert len(sent) == 2
    plan = await large.plan(query, of_few=True)
    assert plan.task_scans == {"tasks_due_idx"}
    assert plan.most_rows <= 501


async def test_a_shared_page_of_many_projects_is_never_sorted_as_a_whole(large: LargeProject) -> None:
    # Bob is a member of all 201.
    plan = await large.plan({"count": "none"}, anywhere=True, together=1, user_id=2)
    assert {node["Sort Method"] for node in plan.nodes if node["Node Type"] == "Sort"} == {"top-N heapsort"}
    (numbered,) = (node for node in plan.nodes if node["Node Type"] == "WindowAgg")
    assert numbered["Actual Rows"] == 21
    # Of 201 projects the newest task each, and the newest 21 of the 21 projects in which the page must lie.
    read = sum(
        node["Actual Rows"] * node["Actual Loops"] for node in plan.nodes if node.get("Relation Name") == "tasks"
    )
    assert read <= 201 + 21 * 21

"""Long lists by cursor: each task exactly once while others write, and page 10,000 for the price of page 1.

`TASKS` sets the size of the project for the timing, 1,000,000 by default.
"""

import asyncio
import os
import statistics
import time
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.plans import LargeProject, large_project
from tests.support.sessions import open_session, open_transaction

SORTS = ("created_at", "updated_at", "priority", "title", "due_at")
TASKS = int(os.environ.get("TASKS", "1000000"))
WALKED = 100_000
TIMINGS = 100


async def _disturb(project: LargeProject) -> None:
    """Add tasks to the project and take them away again, for ever."""
    while True:
        async with open_transaction(project.database) as session:
            insert = text(
                "INSERT INTO tasks (project_id, title, priority, due_at, created_at)"
                " SELECT 1, 'Disturbance ' || n, 1 + n % 5, now(), '2026-01-01'::timestamptz + n * interval '1 h'"
                " FROM generate_series(1, 20) AS n RETURNING id"
            )
            ids = list((await session.execute(insert)).scalars())
        async with open_transaction(project.database) as session:
            await session.execute(text("DELETE FROM tasks WHERE project_id = 1 AND id = ANY(:ids)"), {"ids": ids[::2]})


async def test_each_task_comes_once_while_others_write(database_url: str) -> None:
    async with large_project(database_url, WALKED) as project:
        async with open_session(project.database) as session:
            lasting = set((await session.execute(text("SELECT id FROM tasks WHERE project_id = 1"))).scalars())
        disturbance = asyncio.create_task(_disturb(project))
        try:
            for number, sort_by in enumerate(SORTS):
                order = "desc" if number % 2 else "asc"
                query: dict[str, Any] = {"sort_by": sort_by, "order": order, "limit": 100, "count": "none"}
                seen = Counter[int]()
                pages = 0
                while True:
                    page, _ = await project.read(query)
                    pages += 1
                    seen.update(task.id for task in page.tasks)
                    if page.next_cursor is None:
                        break
                    query["cursor"] = page.next_cursor
                missed = [task_id for task_id in lasting if seen[task_id] != 1]
                print(f"{sort_by} {order}: {pages} pages, {len(seen)} tasks seen, {len(missed)} missed or repeated")
                assert missed == []
                assert max(seen.values()) == 1
        finally:
            disturbance.cancel()


async def test_page_10000_costs_what_page_1_costs(database_url: str) -> None:
    ratios = {}
    async with large_project(database_url, TASKS) as project:
        for sort_by in SORTS:
            first: dict[str, Any] = {"sort_by": sort_by, "order": "desc", "count": "none", "limit": 20}
            late = {**first, "limit": 100}
            # Page 10,000 of 20 tasks begins where page 2,000 of 100 does.
            for _ in range(min(2_000, TASKS // 100 - 1)):
                late["cursor"] = (await project.read(late))[0].next_cursor
            late["limit"] = 20
            timings: dict[str, list[float]] = {"first": [], "late": []}
            for _ in range(TIMINGS):
                for name, query in (("first", first), ("late", late)):
                    started = time.perf_counter()
                    page, _ = await project.read(query)
                    timings[name].append(time.perf_counter() - started)
                    assert len(page.tasks) == 20
            medians = {name: statistics.median(values) * 1000 for name, values in timings.items()}
            ratios[sort_by] = medians["late"] / medians["first"]
            told = ", ".join(f"{name} {median:.2f} ms" for name, median in medians.items())
            print(f"{sort_by}: {told}, ratio {ratios[sort_by]:.2f}")
    assert {sort_by: ratio for sort_by, ratio in ratios.items() if ratio > 1.3} == {}


@pytest.mark.parametrize(
    "filters",
    [{"status": ["cancelled"]}, {"priority": [5]}, {"tag": ["rare"]}, {"assignee": ["me"]}, {"search": "needle"}],
    ids=str,
)
async def test_a_rare_filter_reads_an_index(database_url: str, filters: dict[str, Any]) -> None:
    async with large_project(database_url, min(TASKS, 200_000)) as project:
        plan = await project.plan({**filters, "count": "none"})
        assert "Seq Scan" not in plan.task_scans
        assert plan.most_rows < 1_000

"""Pages of tasks in every order, while tasks come and go."""

import random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.pages import (
    SORTS,
    TASKS,
    Query,
    Stock,
    add_tasks,
    next_target,
    walk,
)

FILTERS: tuple[Query, ...] = (
    (),
    (("status", "pending"), ("status", "completed")),
    (("priority", 1), ("priority", 2)),
    (("tag", "home"), ("tag", "work")),
    (("assignee", "me"),),
    (("due_after", "2026-01-02T00:00:00Z"), ("due_before", "2026-01-05T00:00:00Z")),
    (("overdue", "true"),),
    (("overdue", "false"),),
    (("search", "a"),),
    (("search", "ask"), ("status", "pending"), ("priority", 1), ("priority", 3)),
)


class TestTasks:
    """GET /tasks and GET /projects/{project_id}/tasks."""

    @pytest.mark.parametrize("sort_by", SORTS)
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_pages_together_are_the_whole_list(
        self, alice: Person, stock: Stock, sort_by: str, order: str
    ) -> None:
        nonempty = 0
        for path in ("/tasks", f"/projects/{stock.project_ids[0]}/tasks"):
            for filters in FILTERS:
                query = [*filters, ("sort_by", sort_by), ("order", order)]
                whole = (await alice.get(path, params=[*query, ("limit", 100)])).json()
                ids = [task["id"] for task in whole["tasks"]]
                assert ids == stock.in_order(set(ids), sort_by, order)
                assert (whole["total"], whole["next_cursor"]) == (len(ids), None)
                assert await walk(alice, path, "tasks", query, limit=6) == whole["tasks"], query
                nonempty += bool(ids)
        assert nonempty == 2 * len(FILTERS)

    @pytest.mark.parametrize("sort_by", SORTS)
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_what_was_there_throughout_appears_once_while_others_come_and_go(
        self, alice: Person, stock: Stock, sort_by: str, order: str, database: Database
    ) -> None:
        in_order = stock.in_order(set(stock.rows), sort_by, order)
        short_lived = set(in_order[::3])
        lasting = [task_id for task_id in in_order if task_id not in short_lived]
        chance = random.Random(3)
        number = 1_000

        async def disturb(seen: list[dict[str, Any]]) -> None:
            nonlocal number
            for task_id in {
                seen[-1]["id"],
                *chance.sample(sorted(short_lived), min(1, len(short_lived))),
            } & short_lived:
                short_lived.remove(task_id)
                await alice.delete(f"/tasks/{task_id}")
            await add_tasks(database, alice, stock.project_ids, number, number + 2)
            number += 3

        query = [("sort_by", sort_by), ("order", order)]
        # More are added per page than a page of two would hold.
        ids = [task["id"] for task in await walk(alice, "/tasks", "tasks", query, limit=5, between=disturb)]
        assert [task_id for task_id in ids if task_id in set(lasting)] == lasting
        assert len(set(ids)) == len(ids)

    async def test_a_cursor_stays_good_although_its_task_is_gone(self, alice: Person, stock: Stock) -> None:
        for sort_by in SORTS:
            query = [("sort_by", sort_by), ("limit", 3), ("count", "none")]
            first = (await alice.get("/tasks", params=query)).json()
            expected = (await alice.get("/tasks", params=[*query, ("cursor", first["next_cursor"])])).json()
            await alice.delete(f"/tasks/{first['tasks'][-1]['id']}")
            after = (await alice.get("/tasks", params=[*query, ("cursor", first["next_cursor"])])).json()
            assert after["tasks"] == expected["tasks"]

    async def test_the_longest_title_fits_in_a_cursor(self, alice: Person) -> None:
        # Lower-case forms may take more room than what they come from.
        titles = ["😀" * 200, "İ" * 200, "Ⱥ" * 200, '"' * 200, "\\" * 200, "x" * 200]
        for title in titles:
            await alice.new_task(title=title)
        for order in ("asc", "desc"):
            tasks = await walk(alice, "/tasks", "tasks", [("sort_by", "title"), ("order", order)], limit=1)
            assert sorted(task["title"] for task in tasks) == sorted(titles)

    async def test_following_the_link_keeps_filters_and_drops_skip(self, alice: Person) -> None:
        for number in range(9):
            await alice.new_task(title=f"50% & more? ü={number}", tags=["a b"], priority=1 + number % 2)
        query = [("search", "% & more? ü="), ("tag", "A B"), ("priority", 1), ("priority", 2), ("limit", 2)]
        expected = [t["id"] for t in (await alice.get("/tasks", params=[*query[:-1], ("skip", 1)])).json()["tasks"]]
        response = await alice.get("/tasks", params=[*query, ("skip", 1)])
        ids = [task["id"] for task in response.json()["tasks"]]
        while "Link" in response.headers:
            followed = parse_qsl(urlsplit(next_target(response)).query)
            assert [pair for pair in followed if pair[0] != "cursor"] == [(name, str(value)) for name, value in query]
            response = await alice.client.get(next_target(response))
            ids += [task["id"] for task in response.json()["tasks"]]
        assert ids == expected
        assert len(ids) == 8

    async def test_head_has_the_link_too(self, alice: Person, stock: Stock) -> None:
        head = await alice.request("HEAD", "/tasks", 200, params={"limit": 2})
        assert (await alice.client.get(next_target(head))).status_code == 200

    async def test_skip_and_cursor_are_422(self, alice: Person, stock: Stock) -> None:
        cursor = (await alice.get("/tasks", params={"limit": 2})).json()["next_cursor"]
        await alice.get("/tasks", 422, params={"cursor": cursor, "skip": 1})


class TestCount:
    """`total` and `count`."""

    async def test_the_first_page_counts_and_those_by_cursor_do_not(self, alice: Person, stock: Stock) -> None:
        first = (await alice.get("/tasks", params={"limit": 2})).json()
        assert first["total"] == TASKS
        second = (await alice.get("/tasks", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert second["total"] is None
        assert (await alice.get("/tasks", params={"skip": 50})).json()["total"] == TASKS

    async def test_exact_counts_on_every_page_what_the_filter_finds(self, alice: Person, stock: Stock) -> None:
        query: list[tuple[str, Any]] = [("count", "exact"), ("limit", 2), ("priority", 1)]
        expected = sum(row["priority"] == 1 for row in stock.rows.values())
        cursor: str | None = None
        for _ in range(3):
            page = (await alice.get("/tasks", params=[*query, *([("cursor", cursor)] if cursor else [])])).json()
            assert page["total"] == expected
            cursor = page["next_cursor"]

    async def test_none_does_not_count(self, alice: Person, stock: Stock, query_recorder: list[str]) -> None:
        page = (await alice.get("/tasks", params={"count": "none", "limit": 2})).json()
        assert (page["total"], len(page["tasks"])) == (None, 2)
        page = (await alice.get("/tasks", params={"count": "none", "limit": 2, "sort_by": "title"})).json()
        assert (page["total"], len(page["tasks"])) == (None, 2)
        assert not any("AS total" in statement for statement in query_recorder)
        page = (await alice.get("/tasks", params={"count": "none", "skip": 1_000})).json()
        assert (page["total"], page["tasks"]) == (None, [])

    async def test_an_empty_list_has_the_total_0(self, alice: Person) -> None:
        assert (await alice.get("/tasks", params={"count": "exact"})).json()["total"] == 0

    async def test_a_cursor_works_with_another_count_or_limit(self, alice: Person, stock: Stock) -> None:
        cursor = (await alice.get("/tasks", params={"limit": 2})).json()["next_cursor"]
        page = (await alice.get("/tasks", params={"limit": 50, "count": "exact", "cursor": cursor})).json()
        assert (page["total"], len(page["tasks"])) == (TASKS, 50)

    @pytest.mark.parametrize("value", ["", "Exact", "1", "true", "estimated"])
    async def test_other_values_are_422(self, alice: Person, value: str) -> None:
        await alice.get("/tasks", 422, params={"count": value})

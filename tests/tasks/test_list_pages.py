"""Pages of tasks, refused queries, and that a list shows only what its reader may see."""

from itertools import combinations
from typing import Any

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.task_lists import add, listed


class TestPages:
    """`skip`, `limit` and `total`."""

    async def test_skip_and_limit_cut_a_page(self, alice: Person, database: Database) -> None:
        await add(database, alice.inbox_id, [{"title": f"{n:02}"} for n in range(25)])
        page = (await alice.get("/tasks")).json()
        assert [task["title"] for task in page["tasks"]] == [f"{n:02}" for n in range(24, 4, -1)]
        assert {name: page[name] for name in ("total", "skip", "limit")} == {"total": 25, "skip": 0, "limit": 20}
        page = (await alice.get("/tasks", params={"skip": 20, "limit": 3})).json()
        assert [task["title"] for task in page["tasks"]] == ["04", "03", "02"]
        assert {name: page[name] for name in ("total", "skip", "limit")} == {"total": 25, "skip": 20, "limit": 3}

    @pytest.mark.parametrize("skip", [3, 4, 10_000])
    async def test_a_page_beyond_the_end_is_empty_and_still_has_the_total(self, alice: Person, skip: int) -> None:
        for _ in range(3):
            await alice.new_task()
        for path in ("/tasks", f"/projects/{alice.inbox_id}/tasks"):
            page = (await alice.get(path, params={"skip": skip})).json()
            assert (page["total"], page["skip"], page["tasks"]) == (3, skip, [])

    @pytest.mark.parametrize("parameters", [{"skip": 0}, {"skip": 10_000}, {"limit": 1}, {"limit": 100}], ids=str)
    async def test_bounds_are_inclusive(self, alice: Person, parameters: dict[str, int]) -> None:
        page = (await alice.get("/tasks", params=parameters)).json()
        assert {name: page[name] for name in parameters} == parameters

    async def test_outside_the_bounds_is_422_never_clamped(self, alice: Person) -> None:
        for name, values in (
            ("skip", ("-1", "10001", "99999999999999999999", "1e3")),
            ("limit", ("0", "-1", "101", "99999999999999999999", "ten", "")),
        ):
            for value in values:
                problem = (await alice.get("/tasks", 422, params={name: value})).json()
                assert [error["loc"] for error in problem["errors"]] == [["query", name]]


class TestRefusals:
    """What a list does not take."""

    @pytest.mark.parametrize("name", ["priority", "skip", "limit", "project_id", "assignee"])
    async def test_numbers_are_plain_digits(self, alice: Person, name: str) -> None:
        for written in ("1_0", "%201", "1%20", "1.0", "%2B1", "0x1", "-0", "%D9%A1", "1e0", "true"):
            await alice.get(f"/tasks?{name}={written}", 422)

    async def test_values_outside_their_range_are_422(self, alice: Person) -> None:
        for query in (
            "priority=0",
            "priority=6",
            "status=done",
            "status=%20",
            "status=pending,completed",
            "assignee=you",
            "assignee=0",
            "project_id=0",
            "project_id=9223372036854775808",
            "assignee=9223372036854775808",
            "tag=%20",
            "tag=a%00b",
            "overdue=maybe",
            "due=tomorrow",
            "not_status=done",
            "not_tag=%20",
            "not_assignee=you",
            "created_by=none",
            "created_by=0",
        ):
            await alice.get(f"/tasks?{query}", 422)

    async def test_an_unknown_parameter_is_422_and_named(self, alice: Person) -> None:
        for name in ("page", "Status", "owner_id", "updated_before", "title", "limit[]", ""):
            for path in ("/tasks", f"/projects/{alice.inbox_id}/tasks"):
                problem = (await alice.get(path, 422, params={name: "1"})).json()
                assert [error["loc"] for error in problem["errors"]] == [["query", name]]


class TestPrivacy:
    """A list holds the caller's tasks and nobody else's, whatever it is asked for."""

    FILTERS = (
        ("status", "pending"),
        ("priority", "3"),
        ("tag", "shared"),
        ("search", "same"),
        ("due_after", "2020-01-01T00:00:00Z"),
        ("due_before", "2021-01-01T00:00:00Z"),
        ("overdue", "true"),
        ("sort_by", "title"),
        ("sort_by", "due_at,priority"),
        ("due", "overdue"),
        ("assignee", "none"),
        ("not_status", "completed"),
        ("not_tag", "other"),
        ("created_before", "2100-01-01T00:00:00Z"),
        ("updated_after", "2020-01-01T00:00:00Z"),
    )

    async def test_no_filter_shows_foreign_tasks(self, alice: Person, bob: Person) -> None:
        values: dict[str, Any] = {
            "title": "Same",
            "description": "same",
            "priority": 3,
            "tags": ["shared"],
            "due_at": "2020-06-01T00:00:00Z",
        }
        mine = {
            (await alice.new_task(**values))["id"],
            (await alice.new_task(await alice.new_project(), **values))["id"],
        }
        await bob.new_task(**values)
        await bob.new_task(await bob.new_project(), **values)
        one_of_each = tuple({name: (name, value) for name, value in self.FILTERS}.values())
        for chosen in (one_of_each, *combinations(self.FILTERS, 1), *combinations(one_of_each, 2)):
            page = (await alice.get("/tasks", params=list(chosen))).json()
            assert {task["id"] for task in page["tasks"]} == mine, chosen
            assert page["total"] == 2, chosen

    async def test_naming_foreign_projects_or_people_shows_nothing(self, alice: Person, bob: Person) -> None:
        project_id = await bob.new_project()
        await bob.new_task(project_id, assignee_id=bob.id)
        await alice.new_task(title="mine")
        assert await listed(alice, ("project_id", project_id)) == []
        assert await listed(alice, ("project_id", project_id), ("project_id", alice.inbox_id)) == ["mine"]
        assert await listed(alice, ("assignee", bob.id)) == []

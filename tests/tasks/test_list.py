"""Lists of tasks: filters, search, order and pages."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.task_lists import add, listed

Parameters = Sequence[tuple[str, Any]]


class TestFilters:
    """Different filters are ANDed, a repeated one is OR."""

    TABLE: tuple[tuple[Parameters, str], ...] = (
        ([], "a b c d e"),
        ([("status", "pending")], "a e"),
        ([("status", "pending"), ("status", "completed")], "a c e"),
        ([("priority", 1)], "a e"),
        ([("priority", 1), ("priority", 5)], "a d e"),
        ([("tag", "home")], "a b"),
        ([("tag", "home"), ("tag", "work")], "a b c"),
        ([("tag", " HOME ")], "a b"),
        ([("tag", "hom")], ""),
        ([("assignee", "me")], "b"),
        ([("status", "pending"), ("priority", 1), ("tag", "home")], "a"),
        ([("status", "pending"), ("status", "in_progress"), ("tag", "home"), ("tag", "work")], "a b"),
        ([("status", "pending"), ("priority", 5)], ""),
        ([("search", "b"), ("status", "pending")], ""),
        ([("not_status", "pending")], "b c d"),
        ([("not_status", "pending"), ("not_status", "completed")], "b d"),
        ([("not_status", "pending"), ("status", "pending")], ""),
        ([("not_tag", "home")], "c d e"),
        ([("not_tag", "home"), ("not_tag", "work")], "d e"),
        ([("tag", "home"), ("not_tag", "work")], "a"),
        ([("assignee", "none")], "a c d e"),
        ([("assignee", "none"), ("assignee", "me")], "a b c d e"),
        ([("not_assignee", "me")], "a c d e"),
        ([("not_assignee", "none")], "b"),
        ([("not_assignee", "none"), ("not_assignee", "me")], ""),
        ([("created_by", "me")], "a b c d e"),
        ([("created_by", 2**53 - 1)], ""),
        ([("created_by", 2**53 - 1), ("created_by", "me"), ("priority", 5)], "d"),
    )

    @pytest.mark.parametrize("few", [500, -1], ids=["few tasks", "many tasks"])
    async def test_select(
        self, alice: Person, subtests: pytest.Subtests, few: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("taskmanager.tasks.listing.repository.FEW", few)
        await alice.new_task(title="a", status="pending", priority=1, tags=["home"])
        await alice.new_task(title="b", status="in_progress", priority=2, tags=["home", "work"], assignee_id=alice.id)
        await alice.new_task(title="c", status="completed", priority=3, tags=["work"])
        await alice.new_task(title="d", status="cancelled", priority=5)
        await alice.new_task(title="e")
        for parameters, expected in self.TABLE:
            with subtests.test(parameters=parameters):
                page = (await alice.get("/tasks", params=parameters)).json()
                assert {task["title"] for task in page["tasks"]} == set(expected.split())
                assert page["total"] == len(expected.split())

    @pytest.mark.parametrize("few", [500, -1], ids=["few tasks", "many tasks"])
    async def test_times_of_creation_and_change(
        self, alice: Person, database: Database, few: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("taskmanager.tasks.listing.repository.FEW", few)
        rows = [
            {"title": str(n), "created_at": f"2026-01-0{n}T00:00:00Z", "updated_at": f"2026-02-0{9 - n}T00:00:00Z"}
            for n in range(1, 5)
        ]
        await add(database, alice.inbox_id, rows)
        assert await listed(alice, ("created_after", "2026-01-03T00:00:00Z")) == ["4", "3"]
        assert await listed(alice, ("created_before", "2026-01-03T00:00:00Z")) == ["2", "1"]
        between = (("created_after", "2026-01-02T00:00:00Z"), ("created_before", "2026-01-04T00:00:00Z"))
        assert await listed(alice, *between, ("order", "asc")) == ["2", "3"]
        assert await listed(alice, ("updated_after", "2026-02-07T01:00:00+01:00"), ("order", "asc")) == ["1", "2"]
        for parameters in (
            {"created_after": "2026-01-02T00:00:00Z", "created_before": "2026-01-02T00:00:00Z"},
            {"created_after": "2026-01-02"},
            {"updated_after": "yesterday"},
        ):
            await alice.get("/tasks", 422, params=parameters)

    async def test_created_by_finds_what_others_made(self, alice: Person, bob: Person) -> None:
        project_id = await alice.new_project()
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
        await alice.new_task(project_id, title="Alice's")
        await bob.new_task(project_id, title="Bob's")
        assert await listed(alice, ("created_by", bob.id)) == ["Bob's"]
        assert await listed(bob, ("created_by", "me")) == ["Bob's"]

    async def test_assignee_takes_ids_besides_me(self, alice: Person, bob: Person) -> None:
        await alice.new_task(title="mine", assignee_id=alice.id)
        await alice.new_task(title="nobody's")
        assert await listed(alice, ("assignee", alice.id)) == ["mine"]
        assert await listed(alice, ("assignee", bob.id), ("assignee", "me")) == ["mine"]
        assert await listed(alice, ("assignee", bob.id)) == []

    async def test_project_id_selects_projects(self, alice: Person) -> None:
        first, second = await alice.new_project(), await alice.new_project()
        await alice.new_task(title="inbox")
        await alice.new_task(first, title="first")
        await alice.new_task(second, title="second")
        assert await listed(alice) == ["second", "first", "inbox"]
        assert await listed(alice, ("project_id", first)) == ["first"]
        assert await listed(alice, ("project_id", first), ("project_id", alice.inbox_id)) == ["first", "inbox"]
        assert await listed(alice, path=f"/projects/{second}/tasks") == ["second"]

    async def test_the_list_of_a_project_takes_the_other_filters(self, alice: Person) -> None:
        project_id = await alice.new_project()
        await alice.new_task(project_id, title="high", priority=5)
        await alice.new_task(project_id, title="low")
        await alice.new_task(title="elsewhere", priority=5)
        path = f"/projects/{project_id}/tasks"
        assert await listed(alice, ("priority", 5), path=path) == ["high"]
        assert await listed(alice, ("sort_by", "title"), ("order", "asc"), path=path) == ["high", "low"]
        await alice.get(path, 422, params={"project_id": project_id})

    async def test_the_list_of_a_foreign_or_missing_project_is_404(self, alice: Person, bob: Person) -> None:
        for project_id in (bob.inbox_id, await bob.new_project(), 999_999):
            await alice.get(f"/projects/{project_id}/tasks", 404)
        await alice.get(f"/projects/{bob.inbox_id}/tasks", 404, params={"search": "anything"})

    async def test_the_list_of_an_empty_project_is_empty(self, alice: Person) -> None:
        page = (await alice.get(f"/projects/{await alice.new_project()}/tasks")).json()
        assert (page["total"], page["tasks"]) == (0, [])


class TestDue:
    """`due_after`, `due_before` and `overdue`."""

    TABLE: tuple[tuple[Parameters, str], ...] = (
        ([("due_after", "2026-01-02T00:00:00Z")], "second third"),
        ([("due_after", "2026-01-02T00:00:00.000001Z")], "third"),
        ([("due_before", "2026-01-02T00:00:00Z")], "first"),
        ([("due_before", "2026-01-02T00:00:00.000001Z")], "first second"),
        ([("due_after", "2026-01-02T00:00:00Z"), ("due_before", "2026-01-03T00:00:00Z")], "second"),
        ([("due_after", "2026-01-02T14:00:00+14:00")], "second third"),
        ([("due_after", "0001-01-02T00:00:00Z")], "first second third"),
        ([("due_before", "9999-12-31T00:00:00Z")], "first second third"),
    )

    async def test_after_is_inclusive_and_before_exclusive(self, alice: Person, subtests: pytest.Subtests) -> None:
        for title, day in (("first", "01"), ("second", "02"), ("third", "03")):
            await alice.new_task(title=title, due_at=f"2026-01-{day}T00:00:00Z")
        await alice.new_task(title="whenever")
        for parameters, expected in self.TABLE:
            with subtests.test(parameters=parameters):
                assert set(await listed(alice, *parameters)) == set(expected.split())

    @pytest.mark.parametrize("before", ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-02T12:00:00+14:00"])
    async def test_a_reversed_or_empty_range_is_422(self, alice: Person, before: str) -> None:
        await alice.get("/tasks", 422, params={"due_after": "2026-01-02T00:00:00Z", "due_before": before})

    async def test_a_bound_without_offset_is_422(self, alice: Person) -> None:
        for name in ("due_after", "due_before"):
            for value in ("2026-01-02", "2026-01-02T00:00:00", "1767312000", "now", " "):
                await alice.get("/tasks", 422, params={name: value})

    async def test_overdue_is_due_before_now_and_still_open(self, alice: Person) -> None:
        for status in ("pending", "in_progress", "completed", "cancelled"):
            await alice.new_task(title=f"past {status}", status=status, due_at="2020-01-01T00:00:00Z")
        await alice.new_task(title="future", due_at="2999-01-01T00:00:00Z")
        await alice.new_task(title="whenever")
        assert set(await listed(alice, ("overdue", "true"))) == {"past pending", "past in_progress"}
        others = {"past completed", "past cancelled", "future", "whenever"}
        assert set(await listed(alice, ("overdue", "false"))) == others


class TestSearch:
    """`search` is a literal part of title or description."""

    TABLE: tuple[tuple[str, list[str]], ...] = (
        ("100%", ["100% sure"]),
        ("%", ["100% sure"]),
        ("_", ["snake_case"]),
        ("e_c", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ("k\\s", ["back\\slash"]),
        ("slash\\", []),
        ("\\%", []),
        ("SURE", ["100% sure"]),
        ("äpfel", ["ÄPFEL essen"]),
        ("z", ["hidden"]),
        ("in the middle", ["hidden"]),
        ("MIDDLE", ["hidden"]),
        ("'; DROP TABLE tasks; --", []),
        ("*", []),
        ("😀", ["😀"]),
        ("SNAKE_CASE", ["snake_case"]),
        (" ", ["ÄPFEL essen", "hidden", "100% sure"]),
    )

    async def test_wildcards_are_literal_and_case_does_not_count(
        self, alice: Person, subtests: pytest.Subtests
    ) -> None:
        for title in ("100% sure", "snake_case", "back\\slash"):
            await alice.new_task(title=title)
        await alice.new_task(title="hidden", description="zzz in the middle zzz")
        for title in ("ÄPFEL essen", "😀"):
            await alice.new_task(title=title)
        for search, expected in self.TABLE:
            with subtests.test(search=search):
                assert await listed(alice, ("search", search)) == expected

    @pytest.mark.parametrize("search", ["x" * 101, "a\x00b"], ids=["long", "NUL"])
    async def test_too_long_or_unstorable_is_422(self, alice: Person, search: str) -> None:
        await alice.get("/tasks", 422, params={"search": search})

    async def test_of_100_characters_is_fine(self, alice: Person) -> None:
        await alice.new_task(title="x" * 100)
        assert await listed(alice, ("search", "X" * 100)) == ["x" * 100]


class TestOrder:
    """`sort_by` and `order`."""

    ROWS = (
        {"title": "b", "priority": 2, "due_at": "2026-03-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z"},
        {"title": "B", "priority": 1, "due_at": None, "created_at": "2026-01-02T00:00:00Z"},
        {"title": "a", "priority": 2, "due_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-03T00:00:00Z"},
        {"title": "Z", "priority": 5, "due_at": "2026-03-01T00:00:00Z", "created_at": "2026-01-04T00:00:00Z"},
        {"title": "_", "priority": 2, "due_at": None, "created_at": "2026-01-04T00:00:00Z"},
        {"title": "ä", "priority": 1, "due_at": "2026-02-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z"},
    )

    TABLE = (
        ("created_at", "asc", "b ä B a Z _"),
        ("created_at", "desc", "_ Z a B ä b"),
        ("updated_at", "asc", "ä _ Z a B b"),
        ("updated_at", "desc", "b B a Z _ ä"),
        ("priority", "asc", "ä B b a _ Z"),
        ("priority", "desc", "Z _ a b B ä"),
        # By code point of the lower-case title: an underscore comes before letters, an umlaut after them.
        ("title", "asc", "_ a b B Z ä"),
        ("title", "desc", "ä Z B b a _"),
        ("due_at", "asc", "a ä b Z B _"),
        ("due_at", "desc", "Z b ä a _ B"),
    )

    async def test_each_key_both_ways_with_ties_by_age(
        self, alice: Person, database: Database, subtests: pytest.Subtests
    ) -> None:
        days = len(self.ROWS)
        rows = [{**row, "updated_at": f"2026-02-{days - n:02}T00:00:00Z"} for n, row in enumerate(self.ROWS)]
        await add(database, alice.inbox_id, rows)
        for sort_by, order, expected in self.TABLE:
            with subtests.test(sort_by=sort_by, order=order):
                assert " ".join(await listed(alice, ("sort_by", sort_by), ("order", order))) == expected

    async def test_newest_first_unless_asked_otherwise(self, alice: Person) -> None:
        for title in ("first", "second", "third"):
            await alice.new_task(title=title)
        assert await listed(alice) == ["third", "second", "first"]
        assert await listed(alice, ("order", "asc")) == ["first", "second", "third"]
        assert await listed(alice, ("sort_by", "title")) == ["third", "second", "first"]

    async def test_full_ties_go_by_id_and_pages_neither_miss_nor_repeat(
        self, alice: Person, database: Database, subtests: pytest.Subtests
    ) -> None:
        other = await alice.new_project()
        for project_id in (alice.inbox_id, other, alice.inbox_id):
            await add(database, project_id, [{"title": "Same"}] * 4)
        for sort_by, order in product(("created_at", "updated_at", "priority", "title", "due_at"), ("asc", "desc")):
            with subtests.test(sort_by=sort_by, order=order):
                seen: list[int] = []
                for skip in range(0, 12, 5):
                    parameters: Parameters = [("sort_by", sort_by), ("order", order), ("skip", skip), ("limit", 5)]
                    seen += [task["id"] for task in (await alice.get("/tasks", params=parameters)).json()["tasks"]]
                assert len(seen) == 12
                assert seen == sorted(seen, reverse=order == "desc")

    async def test_other_names_are_422(self, alice: Person) -> None:
        for parameters in (
            {"sort_by": "hashed_password"},
            {"sort_by": "id"},
            {"sort_by": "title,"},
            {"sort_by": "title,title"},
            {"sort_by": "title, priority"},
            {"sort_by": "title,priority,due_at"},
            {"sort_by": "TITLE"},
            {"sort_by": "created_by.email"},
            {"sort_by": ""},
            {"order": "DESC"},
            {"order": "ascending"},
            {"order": "asc,desc"},
            {"sort_by": "title,priority", "order": "asc,"},
            {"order": "asc; DROP TABLE tasks"},
        ):
            await alice.get("/tasks", 422, params=parameters)

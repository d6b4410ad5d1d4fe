"""How many tasks there are of each kind, whatever the filters, of few and of many."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.rows import execute


async def counts(person: Person, by: str, path: str = "/tasks", **query: Any) -> tuple[dict[Any, int], int]:
    """Return the counts by their keys, and the total."""
    answer = (await person.get(f"{path}/counts", params={"by": by, **query})).json()
    assert list(answer) == ["counts", "total"]
    keys = [one["key"] for one in answer["counts"]]
    assert len(set(keys)) == len(keys)
    numbers = [one["count"] for one in answer["counts"]]
    assert numbers == sorted(numbers, reverse=True)
    return dict(zip(keys, numbers, strict=True)), answer["total"]


@pytest.fixture(params=[0, 600], ids=["few tasks", "many tasks"])
async def garden(request: pytest.FixtureRequest, alice: Person, bob: Person, database: Database) -> int:
    """A project of Alice's and Bob's with tasks of all kinds; many have no part in what is counted by a search."""
    project_id = await alice.new_project()
    await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
    for values in (
        {"title": "Dig one", "tags": ["a", "b"], "assignee_id": bob.id, "priority": 3},
        {"title": "Dig two", "tags": ["b"], "status": "completed"},
        {"title": "Dig three", "assignee_id": bob.id, "priority": 3},
        {"title": "Dig four", "tags": ["ü"], "assignee_id": alice.id},
    ):
        await alice.new_task(project_id, **values)
    await execute(
        database,
        "INSERT INTO tasks (project_id, title) SELECT :id, 'Another ' || n FROM generate_series(1, :n) AS n",
        id=project_id,
        n=request.param,
    )
    return project_id


async def test_by_section_and_by_when_they_are_due(alice: Person, garden: int) -> None:
    section = (await alice.post(f"/projects/{garden}/sections", {"name": "Doing"})).json()["id"]
    today = datetime.now(ZoneInfo("Pacific/Kiritimati")).date()
    await alice.patch("/users/me", {"time_zone": "Pacific/Kiritimati"})
    sunday = today + timedelta(days=6 - today.weekday())
    long_ago = today - timedelta(days=30)
    for day, more in (
        (today - timedelta(days=1), {}),
        (long_ago, {"status": "completed"}),
        (today, {"section_id": section}),
        (sunday, {"section_id": section}),
        (sunday + timedelta(days=1), {}),
    ):
        await alice.new_task(garden, title="Dig soon", due_on=day.isoformat(), **more)
    path = f"/projects/{garden}/tasks"
    assert await counts(alice, "section", path, search="dig") == ({None: 7, section: 2}, 9)
    of_week: dict[str | None, int] = {"today": 2} if sunday == today else {"today": 1, "week": 1}
    expected: dict[str | None, int] = {"none": 4, "overdue": 1, **of_week, "later": 1, None: 1}
    assert await counts(alice, "due", path, search="dig") == (expected, 9)


async def test_by_everything(alice: Person, bob: Person, garden: int) -> None:
    await alice.new_task(title="Dig elsewhere")
    for path, more in (("/tasks", Counter([alice.inbox_id])), (f"/projects/{garden}/tasks", Counter[int]())):
        n = more.total()

        async def by(name: str, path: str = path) -> tuple[dict[Any, int], int]:
            return await counts(alice, name, path, search="dig")

        assert await by("status") == ({"pending": 3 + n, "completed": 1}, 4 + n)
        assert await by("priority") == ({3: 2, 1: 2 + n}, 4 + n)
        assert await by("assignee") == ({bob.id: 2, alice.id: 1, None: 1 + n}, 4 + n)
        # A task with two tags counts twice, but once in the total.
        assert await by("tag") == ({"b": 2, "a": 1, "ü": 1, None: 1 + n}, 4 + n)
        assert await by("project") == ({garden: 4, **more}, 4 + n)


async def test_with_the_filters_of_the_list(alice: Person, bob: Person, garden: int) -> None:
    for query in (
        {},
        {"status": ["pending", "cancelled"]},
        {"priority": 3},
        {"tag": ["a", "b"]},
        {"assignee": bob.id},
        {"assignee": ["me", str(bob.id)], "status": "pending"},
        {"search": "dig t"},
        {"overdue": "false"},
        {"due_after": "2030-01-01T00:00:00Z"},
    ):
        for path in ("/tasks", f"/projects/{garden}/tasks"):
            listed = (await alice.get(path, params={**query, "count": "exact"})).json()
            for by in ("status", "priority", "assignee", "tag", "project"):
                found, total = await counts(alice, by, path, **query)
                assert total == listed["total"], (by, query)
                assert sum(found.values()) >= total
                if by != "tag":
                    assert sum(found.values()) == total


async def test_of_chosen_and_archived_projects(alice: Person, garden: int) -> None:
    other = await alice.new_project()
    await alice.new_task(other)
    assert await counts(alice, "project", project_id=other) == ({other: 1}, 1)
    both, total = await counts(alice, "project", project_id=[other, garden], search="a")
    assert set(both) <= {other, garden}
    assert total == sum(both.values())
    await alice.patch(f"/projects/{other}", {"archived": True})
    assert other not in (await counts(alice, "project"))[0]
    assert await counts(alice, "project", archived="true") == ({other: 1}, 1)
    assert await counts(alice, "status", f"/projects/{other}/tasks") == ({"pending": 1}, 1)


async def test_what_a_person_does_not_see_is_not_counted(
    alice: Person, bob: Person, garden: int, sign_up: SignUp
) -> None:
    carol = await sign_up("carol")
    assert await counts(carol, "project") == ({}, 0)
    assert await counts(carol, "project", project_id=garden) == ({}, 0)
    await carol.get(f"/projects/{garden}/tasks/counts?by=status", 404)
    await carol.get(f"/projects/{10**9}/tasks/counts?by=status", 404)
    assert await counts(bob, "status", search="dig") == ({"pending": 3, "completed": 1}, 4)


async def test_an_empty_project_has_no_counts(alice: Person) -> None:
    assert await counts(alice, "status", f"/projects/{alice.inbox_id}/tasks") == ({}, 0)


async def test_the_1000_kinds_with_most_tasks_are_listed(alice: Person, database: Database) -> None:
    await execute(
        database,
        "INSERT INTO tasks (project_id, title, tags) "
        "SELECT :id, 'Task', ARRAY[to_char(n, 'FM0000')] FROM generate_series(1, 1200) AS n",
        id=alice.inbox_id,
    )
    await alice.new_task(tags=["1200"])
    found, total = await counts(alice, "tag")
    assert (len(found), total) == (1_000, 1_201)
    assert found["1200"] == 2
    assert list(found)[1:4] == ["0001", "0002", "0003"]


@pytest.mark.parametrize(
    "query", ["", "by=", "by=title", "by=status&by=tag", "by=status&limit=1", "by=status&sort_by=title"]
)
async def test_it_says_by_what_and_has_no_pages(alice: Person, query: str) -> None:
    await alice.get(f"/tasks/counts?{query}", 422)
    await alice.get(f"/projects/{alice.inbox_id}/tasks/counts?{query}", 422)


async def test_one_statement_counts_few_tasks(alice: Person, query_recorder: list[str]) -> None:
    await alice.new_task()
    query_recorder.clear()
    await counts(alice, "status")
    assert len(query_recorder) == 1

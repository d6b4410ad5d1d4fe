"""Lists by two keys, each in its own direction, and tasks that are not due last: as a page, and along cursors."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from operator import itemgetter
from typing import Any

import pytest

from taskmanager.database.database import Database
from taskmanager.tasks.listing.schemas import TaskSort
from tests.conftest import Person
from tests.support.pages import assert_refused, walk
from tests.support.rows import execute

_ADD = """
INSERT INTO tasks (project_id, title, priority, due_at, due_on, created_at, updated_at)
SELECT :project_id, (ARRAY['a', 'B', 'b', '_'])[1 + n % 4], 1 + n % 3,
       CASE WHEN n % 4 = 1 THEN CAST('2026-01-03T00:00:00Z' AS timestamptz) + make_interval(hours => n % 5 * 24) END,
       CASE WHEN n % 4 = 2 THEN CAST('2026-01-02' AS date) + n % 5 END,
       CAST('2026-01-01' AS timestamptz) + make_interval(mins => n % 4),
       CAST('2026-01-01' AS timestamptz) + make_interval(mins => n % 6)
FROM generate_series(1, 50) AS n
"""


def _due(task: dict[str, Any]) -> datetime | None:
    if task["due_on"] is not None:
        return datetime.fromisoformat(task["due_on"]).replace(tzinfo=UTC) + timedelta(days=1)
    return None if task["due_at"] is None else datetime.fromisoformat(task["due_at"])


KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{name: itemgetter(name) for name in ("created_at", "updated_at", "priority", "id")},
    "title": lambda task: task["title"].lower(),
    "due_at": _due,
}


def in_order(tasks: list[dict[str, Any]], *keys: tuple[str, bool]) -> list[int]:
    """Return the ids of tasks sorted by keys, each ascending or not, those without a value last."""
    ordered = list(tasks)
    # The sort is stable, so the last key comes first.
    for name, ascending in reversed([*keys, ("created_at", keys[-1][1]), ("id", keys[-1][1])]):
        value = KEYS[name]
        present = [task for task in ordered if value(task) is not None]
        missing = [task for task in ordered if value(task) is None]
        ordered = sorted(present, key=value, reverse=not ascending) + missing
    return [task["id"] for task in ordered]


def test_a_key_that_sorts_can_be_second_here_too() -> None:
    # No two tasks of a project have the same position.
    assert set(TaskSort) - {TaskSort.POSITION} == set(KEYS) - {"id"}


@pytest.fixture
async def tasks(alice: Person, database: Database) -> list[dict[str, Any]]:
    """Tasks in two projects, of which many have the same values."""
    for project_id in (alice.inbox_id, await alice.new_project()):
        await execute(database, _ADD, project_id=project_id)
    return await walk(alice, "/tasks", "tasks", limit=100)


@pytest.mark.parametrize("order", ["asc", "desc", "asc,desc", "desc,asc"])
@pytest.mark.parametrize(("first", "second"), list(permutations(sorted(KEYS.keys() - {"id"}), 2)))
async def test_a_walk_comes_by_all_in_their_order(
    alice: Person, tasks: list[dict[str, Any]], first: str, second: str, order: str
) -> None:
    directions = [one == "asc" for one in (order.split(",") * 2)[:2]]
    expected = in_order(tasks, (first, directions[0]), (second, directions[1]))
    query = [("sort_by", f"{first},{second}"), ("order", order)]
    page = (await alice.get("/tasks", params=[*query, ("limit", 100)])).json()
    assert [task["id"] for task in page["tasks"]] == expected
    assert page["total"] == len(expected)
    for limit in (3, 32):
        found = await walk(alice, "/tasks", "tasks", query, limit=limit)
        assert [task["id"] for task in found] == expected


@pytest.mark.parametrize("filters", [("priority", 2), ("due", "none"), ("due_after", "2026-01-05T00:00:00Z")], ids=repr)
@pytest.mark.parametrize("sort_by", ["due_at", "due_at,title", "title,due_at"])
async def test_a_walk_along_a_filter(
    alice: Person, tasks: list[dict[str, Any]], sort_by: str, filters: tuple[str, Any]
) -> None:
    query = [filters, ("sort_by", sort_by), ("order", "asc")]
    whole = (await alice.get("/tasks", params=[*query, ("limit", 100)])).json()["tasks"]
    assert len(whole) > 10
    assert [task["id"] for task in whole] == in_order(whole, *((name, True) for name in sort_by.split(",")))
    assert await walk(alice, "/tasks", "tasks", query, limit=3) == whole


async def test_creation_as_the_second_key_is_what_follows_anyway(alice: Person, tasks: list[dict[str, Any]]) -> None:
    named, plain = [
        (await alice.get("/tasks", params={"sort_by": sort_by, "limit": 100})).json()["tasks"]
        for sort_by in ("priority,created_at", "priority")
    ]
    assert named == plain


async def test_a_cursor_belongs_to_its_keys_and_their_directions(alice: Person, tasks: list[dict[str, Any]]) -> None:
    query = {"sort_by": "priority,due_at", "order": "desc,asc", "limit": 2}
    cursor = (await alice.get("/tasks", params=query)).json()["next_cursor"]
    await alice.get("/tasks", params={**query, "cursor": cursor})
    for other in (
        {"sort_by": "due_at,priority"},
        {"sort_by": "priority"},
        {"order": "asc,desc"},
        {"order": "desc"},
        {"due": "none"},
        {"not_status": "completed"},
        {"created_by": "me"},
    ):
        changed = {**query, **other}
        if changed["sort_by"] == "priority":
            changed["order"] = "desc"
        await assert_refused(alice, "/tasks", [*changed.items(), ("cursor", cursor)])

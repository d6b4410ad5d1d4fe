"""Pages and counts of tasks that requests share, and how many statements a short request costs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.tasks.listing.statements import MOST_COUNTED, SHARED_COUNTS
from tests.conftest import Person
from tests.support.recorded_statements import recorded_statements
from tests.support.rows import execute
from tests.support.shared_statements import become_quiet, shared_statements


@contextmanager
def counts_sent(database: Database) -> Iterator[list[str]]:
    """Yield which statements that count lists are sent meanwhile: "shared" or "alone"."""
    counts: list[str] = []
    with recorded_statements(database) as statements:
        yield counts
    counts += ["shared" if f"LIMIT {MOST_COUNTED + 1}" in sql else "alone" for sql in statements if "AS total" in sql]


async def add_tasks(person: Person, database: Database, number: int) -> None:
    """Add tasks to a person's Inbox."""
    await execute(
        database,
        "INSERT INTO tasks (project_id, title, created_by, status, priority)"
        " SELECT :project, 'Task ' || n, :owner, 'in_progress', 3 FROM generate_series(1, :number) AS n",
        project=person.inbox_id,
        owner=person.id,
        number=number,
    )


async def count_shared(app: FastAPI, person: Person, run: str | None) -> int:
    """Return what the shared statement itself counts of a person's tasks."""
    statement = SHARED_COUNTS[run]
    arguments = statement.arguments(
        {
            "user_id": person.id,
            "project_id": None,
            "archived": False,
            "statuses": ["in_progress"],
            "priorities": [3],
        }
    )
    # By the connections that the application holds: there may be no other.
    [row] = await app.state.reads.fetch_alone(statement, arguments)
    total: int = row["total"]
    return total


@pytest.mark.parametrize(
    ("query", "run"),
    [("", None), ("?status=in_progress", "statuses"), ("?priority=3&sort_by=created_at&order=asc", "priorities")],
)
async def test_a_shared_statement_counts_no_further_than_the_longest_list_that_it_counts(
    alice: Person, app: FastAPI, database: Database, query: str, run: str | None
) -> None:
    await add_tasks(alice, database, MOST_COUNTED)
    with counts_sent(database) as counts:
        assert (await alice.get(f"/tasks{query}")).json()["total"] == MOST_COUNTED
    assert counts == ["shared"]
    await add_tasks(alice, database, 5)
    with counts_sent(database) as counts:
        assert (await alice.get(f"/tasks{query}")).json()["total"] == MOST_COUNTED + 5
    assert counts == ["shared", "alone"]
    assert await count_shared(app, alice, run) == MOST_COUNTED + 1


async def test_a_short_write_or_read_asks_the_database_once_and_to_count_is_one_more(
    alice: Person, app: FastAPI
) -> None:
    await become_quiet(alice)
    task = await alice.new_task()
    for method, path, body, status, expected in (
        ("GET", f"/tasks/{task['id']}", None, 200, 1),
        ("GET", f"/projects/{alice.inbox_id}/tasks/{task['id']}", None, 200, 1),
        ("GET", "/tasks", None, 200, 2),
        ("GET", "/tasks?limit=5&count=none", None, 200, 1),
        ("GET", "/tasks?limit=5&count=exact&status=pending", None, 200, 2),
        ("GET", f"/projects/{alice.inbox_id}/tasks", None, 200, 2),
        ("GET", f"/projects/{alice.inbox_id}/tasks?count=none&priority=1&priority=2", None, 200, 1),
        # Nothing is found: whether there is such a project is asked then.
        ("GET", f"/projects/{alice.inbox_id}/tasks?count=none&priority=4", None, 200, 2),
        ("POST", "/tasks", {"title": "x", "tags": ["y"]}, 201, 1),
        ("POST", f"/projects/{alice.inbox_id}/tasks", {"title": "x"}, 201, 1),
        ("PATCH", f"/tasks/{task['id']}", {"title": "x"}, 200, 1),
        ("DELETE", f"/tasks/{(await alice.new_task())['id']}", None, 204, 1),
        ("PUT", f"/projects/{alice.inbox_id}/tasks/{task['id']}", {"status": "completed"}, 200, 1),
    ):
        shared, all_statements = shared_statements(app), app.state.database.meter.statements
        await alice.request(method, path, status, json=body)
        sent = shared_statements(app) - shared, app.state.database.meter.statements - all_statements
        # A lone write shares with nobody.
        assert sent == (expected if method == "GET" else 0, expected), path


async def test_a_page_of_more_projects_than_it_has_tasks(alice: Person) -> None:
    projects = [await alice.new_project(f"Project {number}") for number in range(7)]
    # Some projects lie wholly before others, some between them.
    for project_id in (*projects, projects[0], projects[0], projects[0], *reversed(projects), *projects[2:5] * 2):
        await alice.new_task(project_id)
    # With a filter it is another statement.
    expected = [task["id"] for task in (await alice.get("/tasks?limit=100&priority=1")).json()["tasks"]]
    for limit in (1, 2, 3, 6, 7, 20):
        found: list[int] = []
        query = f"/tasks?limit={limit}&count=none"
        page = (await alice.get(query)).json()
        found += [task["id"] for task in page["tasks"]]
        while page["next_cursor"]:
            page = (await alice.get(f"{query}&cursor={page['next_cursor']}")).json()
            found += [task["id"] for task in page["tasks"]]
        assert found == expected
    assert len(expected) == 23

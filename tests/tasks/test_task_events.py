"""Every change of a task is an event, and two writers lose none."""

import asyncio
from itertools import combinations
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.database.sharing import Coalescer
from taskmanager.main import create_app
from tests.conftest import Person, make_settings
from tests.support.applications import started
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.recorded_statements import recorded_statements
from tests.support.sessions import open_session, open_transaction

OPERATIONS: list[tuple[str, str, Any]] = [
    ("POST", "/tasks", {"title": "A task"}),
    ("POST", "/projects/{project}/tasks", {"title": "A task"}),
    ("PATCH", "/tasks/{task}", {"title": "New", "status": "completed"}),
    ("PUT", "/projects/{project}/tasks/{task}", {"title": "New"}),
    ("DELETE", "/tasks/{task}", None),
    ("GET", "/tasks/{task}", None),
    ("GET", "/tasks", None),
    ("GET", "/tasks?sort_by=title&limit=100", None),
    ("GET", "/projects/{project}/tasks", None),
    ("GET", "/projects/{project}/tasks/{task}", None),
    ("GET", "/tasks?count=none", None),
    ("GET", "/tasks?sort_by=due_at&count=none", None),
]


def is_counted(method: str, path: str) -> bool:
    """Tell whether a request reads a list that is counted by a statement of its own."""
    return method == "GET" and path.partition("?")[0].endswith("/tasks") and "count=none" not in path


class TestEvents:
    """Each change appends one event, in its own statement."""

    async def test_creation_is_logged(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(title="New")
        assert await events_of(database, "task", task["id"]) == [
            {
                "project_id": alice.inbox_id,
                "actor_id": alice.id,
                "version": 1,
                "action": "created",
                "changes": {"title": {"old": None, "new": "New"}},
            }
        ]

    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("notify", [False, True])
    async def test_any_fields_are_set_and_logged_and_no_others(
        self, alice: Person, database: Database, number: int, notify: bool
    ) -> None:
        project = await alice.new_project()
        sections = [
            (await alice.post(f"/projects/{project}/sections", {"name": name})).json()["id"]
            for name in ("To do", "Done")
        ]
        before = {
            "title": "Old",
            "description": "Same",
            "status": "pending",
            "priority": 2,
            "tags": ["a"],
            "due_at": None,
            "due_on": None,
            "start_at": "2030-01-01T00:00:00.000000Z",
            "assignee_id": None,
            "section_id": sections[0],
        }
        after = {
            "title": "New",
            "description": None,
            "status": "completed",
            "priority": 5,
            "tags": ["a", "b"],
            "due_at": "2031-01-01T00:00:00.000000Z",
            "due_on": "2031-01-01",
            "start_at": None,
            "assignee_id": alice.id,
            "section_id": sections[1],
        }
        for fields in combinations(after, number):
            if {"due_at", "due_on"} <= set(fields):
                continue
            task = await alice.new_task(project, **before)
            changes = {name: after[name] for name in fields}
            path = f"/tasks/{task['id']}"
            changed = (await alice.patch(f"{path}?notify=true" if notify else path, changes)).json()
            is_completed = "status" in fields
            assert (changed["completed_at"] is not None) == is_completed
            same = {**task, **changes, "version": 2}
            for varying in ("updated_at", "completed_at"):
                same[varying] = changed[varying]
            assert changed == same == (await alice.get(path)).json()
            event = (await events_of(database, "task", task["id"]))[-1]
            assert event["action"] == "updated"
            assert event["changes"] == {name: {"old": before[name], "new": after[name]} for name in fields}

    async def test_an_update_is_logged_with_the_changed_fields_alone(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(title="Old", priority=2, tags=["a"], description="Same")
        changes = {
            "title": "New",
            "description": "Same",
            "status": "completed",
            "priority": 3,
            "tags": ["b"],
            "due_at": "2031-01-31T12:00:00+01:00",
            "assignee_id": alice.id,
        }
        await alice.patch(f"/tasks/{task['id']}", changes)
        log = await events_of(database, "task", task["id"])
        assert len(log) == 2
        assert log[1] == {
            "project_id": alice.inbox_id,
            "actor_id": alice.id,
            "version": 2,
            "action": "updated",
            "changes": {
                "title": {"old": "Old", "new": "New"},
                "status": {"old": "pending", "new": "completed"},
                "priority": {"old": 2, "new": 3},
                "tags": {"old": ["a"], "new": ["b"]},
                "due_at": {"old": None, "new": "2031-01-31T11:00:00.000000Z"},
                "assignee_id": {"old": None, "new": alice.id},
            },
        }

    async def test_deletion_is_logged(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(title="Gone")
        await alice.delete(f"/tasks/{task['id']}")
        log = await events_of(database, "task", task["id"])
        assert [(event["action"], event["version"]) for event in log] == [("created", 1), ("deleted", 2)]
        assert log[1]["changes"] == {"title": {"old": "Gone", "new": None}}

    @pytest.mark.parametrize(
        ("method", "status", "body"),
        [("POST", 422, {"title": ""}), ("PATCH", 404, {"title": "New"}), ("DELETE", 404, None)],
    )
    async def test_a_refused_change_is_not_logged(
        self, alice: Person, bob: Person, database: Database, method: str, status: int, body: Any
    ) -> None:
        task = await alice.new_task()
        path = "/tasks" if method == "POST" else f"/tasks/{task['id']}"
        await bob.request(method, path, status, json=body)
        assert len(await events_of(database, "task", task["id"])) == 1
        async with open_session(database) as session:
            assert (await session.execute(text("SELECT count(*) FROM events WHERE entity = 'task'"))).scalar() == 1

    @pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
    async def test_an_operation_is_one_statement_after_the_one_that_authenticates(
        self, alice: Person, database_url: str, method: str, path: str, body: Any
    ) -> None:
        task = await alice.new_task()
        path = path.format(project=alice.inbox_id, task=task["id"])
        app = create_app(make_settings(database_url=database_url, share_statements=False))
        headers = {"Authorization": f"Bearer {alice.token}"}
        async with started(app) as client:
            with recorded_statements(app.state.database) as statements:
                assert (await client.request(method, f"/api/v1{path}", json=body, headers=headers)).is_success
        authentication, operation, *counts = statements
        assert "FROM sessions" in authentication
        assert ("INSERT INTO events" in operation) == (method != "GET")
        assert ["count(*) AS total" in count for count in counts] == [True] * is_counted(method, path)

    @pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
    async def test_with_shared_statements_it_is_one_that_checks_the_login_too(
        self, alice: Person, app: FastAPI, query_recorder: list[str], method: str, path: str, body: Any
    ) -> None:
        task = await alice.new_task()
        path = path.format(project=alice.inbox_id, task=task["id"])
        kinds: list[Coalescer[Any, Any]] = app.state.shared_connections.kinds
        query_recorder.clear()
        before = sum(kind.statements for kind in kinds)
        assert (await alice.request(method, path, json=body)).is_success
        # The login is checked by the statement itself; only to count is one more.
        assert len(query_recorder) == 1 + is_counted(method, path)
        assert "FROM sessions" in query_recorder[0]
        # A lone write shares with nobody.
        shared = sum(kind.statements for kind in kinds) - before
        assert shared == (len(query_recorder) if method == "GET" else 0)


class TestTwoWriters:
    """Requests that meet at one task."""

    async def test_changes_of_different_fields_are_all_kept(self, alice: Person, database: Database) -> None:
        task = await alice.new_task()
        path = f"/tasks/{task['id']}"
        for number in range(20):
            changes: list[dict[str, Any]] = [
                {"title": f"Title {number}"},
                {"description": f"Description {number}"},
                {"priority": 2 + number % 4},
                {"tags": [f"tag {number}"]},
            ]
            await asyncio.gather(*(alice.patch(path, change) for change in changes))
            after = (await alice.get(path)).json()
            expected = {name: value for change in changes for name, value in change.items()}
            assert {name: after[name] for name in expected} == expected
        log = await events_of(database, "task", task["id"])
        assert [event["version"] for event in log] == list(range(1, 82))
        assert all(len(event["changes"]) == 1 for event in log)

    async def test_one_that_waits_keeps_what_the_other_wrote(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(title="Old")
        async with open_transaction(database) as session:
            await session.execute(
                text("UPDATE tasks SET title = 'Theirs', version = version + 1 WHERE id = :id"), {"id": task["id"]}
            )
            update = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"priority": 5}))
            await until_blocked(database)
        after = (await update).json()
        assert (after["title"], after["priority"], after["version"]) == ("Theirs", 5, 3)

    async def test_the_log_has_the_value_that_was_really_replaced(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(title="Old")
        async with open_transaction(database) as session:
            await session.execute(text("UPDATE tasks SET title = 'Theirs' WHERE id = :id"), {"id": task["id"]})
            update = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"title": "Mine"}))
            await until_blocked(database)
        assert (await update).json()["title"] == "Mine"
        log = await events_of(database, "task", task["id"])
        assert log[-1]["changes"] == {"title": {"old": "Theirs", "new": "Mine"}}

    @pytest.mark.parametrize(("method", "body"), [("PATCH", {"title": "New"}), ("DELETE", None)])
    async def test_a_task_deleted_while_one_waits_is_404(
        self, alice: Person, database: Database, method: str, body: Any
    ) -> None:
        task = await alice.new_task()
        async with open_transaction(database) as session:
            await session.execute(text("DELETE FROM tasks WHERE id = :id"), {"id": task["id"]})
            request = asyncio.create_task(alice.request(method, f"/tasks/{task['id']}", json=body))
            await until_blocked(database)
        assert (await request).status_code == 404
        assert len(await events_of(database, "task", task["id"])) == 1

    async def test_deleting_and_changing_at_once_is_never_an_error(self, alice: Person, database: Database) -> None:
        for _ in range(10):
            task = await alice.new_task()
            path = f"/tasks/{task['id']}"
            change, first, second = await asyncio.gather(
                alice.patch(path, {"title": "New"}, None), alice.delete(path, None), alice.delete(path, None)
            )
            assert change.status_code in {200, 404}
            assert sorted((first.status_code, second.status_code)) == [204, 404]
            actions = [event["action"] for event in await events_of(database, "task", task["id"])]
            assert actions.count("deleted") == 1
            assert actions[-1] == "deleted"

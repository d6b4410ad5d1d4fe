"""Creating, reading, changing and deleting single tasks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.database.sharing import Coalescer
from taskmanager.main import create_app
from tests.conftest import Person, make_settings, recorded_statements
from tests.support.applications import started
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked

NULLABLE = ("description", "due_at", "assignee_id")
NOT_NULLABLE = ("title", "status", "priority", "tags")


class TestCreate:
    """POST /tasks and POST /projects/{project_id}/tasks."""

    async def test_a_title_alone_takes_the_defaults(self, alice: Person) -> None:
        before = datetime.now(UTC)
        task = (await alice.post("/tasks", {"title": "A task"})).json()
        created_at = datetime.fromisoformat(task["created_at"])
        assert before - timedelta(seconds=5) < created_at < datetime.now(UTC) + timedelta(seconds=5)
        assert task == {
            "id": task["id"],
            "project_id": alice.inbox_id,
            "title": "A task",
            "description": None,
            "status": "pending",
            "priority": 1,
            "tags": [],
            "due_at": None,
            "assignee_id": None,
            "created_by": alice.id,
            "created_at": task["created_at"],
            "updated_at": task["created_at"],
            "completed_at": None,
            "version": 1,
        }

    async def test_all_fields_are_stored(self, alice: Person) -> None:
        project_id = await alice.new_project()
        body = {
            "project_id": project_id,
            "title": "A task",
            "description": "At length",
            "status": "in_progress",
            "priority": 5,
            "tags": ["a", "b"],
            "due_at": "2031-01-31T12:00:00.000000Z",
            "assignee_id": alice.id,
        }
        task = (await alice.post("/tasks", body)).json()
        assert {name: task[name] for name in body} == body
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_location_leads_to_the_task(self, alice: Person) -> None:
        project_id = await alice.new_project()
        for path in ("/tasks", f"/projects/{project_id}/tasks"):
            response = await alice.post(path, {"title": "A task"})
            assert response.headers["Location"] == f"/api/v1/tasks/{response.json()['id']}"
            assert (await alice.client.get(response.headers["Location"])).json() == response.json()

    async def test_null_project_id_means_the_inbox(self, alice: Person) -> None:
        task = (await alice.post("/tasks", {"title": "A task", "project_id": None})).json()
        assert task["project_id"] == alice.inbox_id

    async def test_under_a_project_it_belongs_there(self, alice: Person) -> None:
        project_id = await alice.new_project()
        task = (await alice.post(f"/projects/{project_id}/tasks", {"title": "A task"})).json()
        assert task["project_id"] == project_id

    async def test_under_a_project_the_body_names_no_project(self, alice: Person) -> None:
        project_id = await alice.new_project()
        body = {"title": "A task", "project_id": alice.inbox_id}
        await alice.post(f"/projects/{project_id}/tasks", body, expect=422)

    async def test_into_a_foreign_or_missing_project_is_404(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        for project_id in (bob.inbox_id, await bob.new_project(), 999_999):
            await alice.post("/tasks", {"title": "A task", "project_id": project_id}, expect=404)
            await alice.post(f"/projects/{project_id}/tasks", {"title": "A task"}, expect=404)
        assert await count_rows(database, "tasks") == 0

    async def test_created_as_completed_has_a_completion_time(self, alice: Person) -> None:
        task = await alice.new_task(status="completed")
        assert task["completed_at"] == task["created_at"]

    async def test_an_assignee_outside_the_project_is_422(self, alice: Person, bob: Person, database: Database) -> None:
        for stranger in (bob.id, 999_999):
            response = await alice.post("/tasks", {"title": "A task", "assignee_id": stranger}, expect=422)
            assert [error["loc"] for error in response.json()["errors"]] == [["body", "assignee_id"]]
        assert await count_rows(database, "tasks") == 0

    async def test_into_a_project_deleted_meanwhile_is_404(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM project_members WHERE project_id = :id"), {"id": project_id})
            await session.execute(text("DELETE FROM projects WHERE id = :id"), {"id": project_id})
            creation = asyncio.create_task(alice.post("/tasks", {"title": "Late", "project_id": project_id}, None))
            await until_blocked(database)
        assert (await creation).status_code == 404


class TestValues:
    """What single fields take and become."""

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ([" Home ", "WORK"], ["home", "work"]),
            (["b", "a", "B", "a"], ["a", "b"]),
            (["zwei wörter", "ÄPFEL"], ["zwei wörter", "äpfel"]),
            (["x" * 50], ["x" * 50]),
            ([f"{n:02}" for n in range(20)], [f"{n:02}" for n in range(20)]),
            ([], []),
        ],
    )
    async def test_tags_are_trimmed_lowered_unique_and_sorted(
        self, alice: Person, given: list[str], stored: list[str]
    ) -> None:
        task = await alice.new_task(tags=given)
        assert task["tags"] == stored
        other = await alice.new_task(tags=["other"])
        assert (await alice.patch(f"/tasks/{other['id']}", {"tags": given})).json()["tags"] == stored

    async def test_bad_tags_are_422(self, alice: Person) -> None:
        bad: tuple[Any, ...] = (
            ["x" * 51],
            [" "],
            [""],
            [None],
            [1],
            "home",
            {"home": 1},
            [f"{n}" for n in range(21)],
            ["İ" * 30],  # 60 characters in lower case
            ["a\x00b"],
        )
        for tags in bad:
            await alice.post("/tasks", {"title": "A task", "tags": tags}, expect=422)

    @pytest.mark.parametrize(
        ("given", "answered"),
        [
            ("2031-01-31T12:00:00Z", "2031-01-31T12:00:00.000000Z"),
            ("2031-01-31T12:00:00.123456Z", "2031-01-31T12:00:00.123456Z"),
            ("2031-01-31T12:00:00.5+00:00", "2031-01-31T12:00:00.500000Z"),
            ("2031-01-31T12:00:00+14:00", "2031-01-30T22:00:00.000000Z"),
            ("2031-01-31T12:00:00-12:00", "2031-02-01T00:00:00.000000Z"),
            ("2031-01-31 12:00:00+05:30", "2031-01-31T06:30:00.000000Z"),
            ("2031-01-31T12:00Z", "2031-01-31T12:00:00.000000Z"),
            ("0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00.000001Z"),
            ("9999-12-31T23:59:59.999998Z", "9999-12-31T23:59:59.999998Z"),
        ],
    )
    async def test_due_at_is_answered_in_utc_with_microseconds(
        self, alice: Person, database: Database, given: str, answered: str
    ) -> None:
        task = await alice.new_task(due_at=given)
        assert task["due_at"] == answered
        assert (await alice.patch(f"/tasks/{task['id']}", {"due_at": given})).json() == task
        other = await alice.new_task()
        assert (await alice.patch(f"/tasks/{other['id']}", {"due_at": given})).json()["due_at"] == answered
        assert (await alice.get(f"/tasks/{other['id']}")).json()["due_at"] == answered
        log = await events_of(database, "task", other["id"])
        assert log[-1]["changes"] == {"due_at": {"old": None, "new": answered}}

    async def test_a_due_at_without_offset_or_not_a_time_is_422(self, alice: Person, subtests: pytest.Subtests) -> None:
        bad: tuple[Any, ...] = (
            "2031-01-31T12:00:00",
            "2031-01-31",
            "12:00:00Z",
            "tomorrow",
            "",
            "1927281600",
            1_927_281_600,
            1_927_281_600.5,
            True,
            ["2031-01-31T12:00:00Z"],
            "2031-02-30T12:00:00Z",
            "2031-01-31T24:30:00Z",
            "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59-01:00",
            "\u0662\u0660\u0663\u0661-01-31T12:00:00Z",  # digits of another script
        )
        task = await alice.new_task()
        for due_at in bad:
            with subtests.test(due_at=due_at):
                await alice.post("/tasks", {"title": "A task", "due_at": due_at}, expect=422)
                await alice.patch(f"/tasks/{task['id']}", {"due_at": due_at}, expect=422)

    async def test_titles_are_trimmed(self, alice: Person) -> None:
        assert (await alice.new_task(title="\t A  task \n"))["title"] == "A  task"

    async def test_lengths_count_characters_after_trimming(self, alice: Person) -> None:
        task = await alice.new_task(title=" " + "😀" * 200, description="😀" * 2000)
        assert task["title"] == "😀" * 200
        assert task["description"] == "😀" * 2000
        await alice.post("/tasks", {"title": "😀" * 201}, expect=422)

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("title", ("", " ", "\t\n", "\u00a0", None, 5, ["A task"])),
            ("priority", (0, 6, -1, 2**31, 2**63, 1.0, 2.5, "3", True, None)),
            ("status", ("done", "PENDING", "", 1, None)),
            ("description", (1, ["text"], "x" * 2001)),
        ],
    )
    async def test_blank_text_other_types_and_what_is_out_of_range_is_422(
        self, alice: Person, field: str, values: tuple[Any, ...]
    ) -> None:
        for value in values:
            problem = (await alice.post("/tasks", {"title": "A task", field: value}, expect=422)).json()
            assert [error["loc"][:2] for error in problem["errors"]] == [["body", field]]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
class TestUpdate:
    """PUT and PATCH, which mean the same."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("title", "New"),
            ("description", "New"),
            ("status", "cancelled"),
            ("priority", 2),
            ("tags", ["new"]),
            ("due_at", "2032-01-01T00:00:00.000000Z"),
            ("assignee_id", None),
        ],
    )
    async def test_changes_only_the_given_field(self, alice: Person, method: str, field: str, value: Any) -> None:
        values: dict[str, Any] = {
            "description": "Old",
            "priority": 5,
            "tags": ["old"],
            "due_at": "2031-01-31T12:00:00Z",
        }
        before = await alice.new_task(title="Old", assignee_id=alice.id, **values)
        after = (await alice.request(method, f"/tasks/{before['id']}", 200, json={field: value})).json()
        assert after == {**before, field: value, "version": 2, "updated_at": after["updated_at"]}
        assert after["updated_at"] > before["updated_at"]
        assert (await alice.get(f"/tasks/{before['id']}")).json() == after

    @pytest.mark.parametrize("field", NULLABLE)
    async def test_null_clears_a_field_that_may_be_empty(self, alice: Person, method: str, field: str) -> None:
        values: dict[str, Any] = {"description": "Old", "due_at": "2031-01-31T12:00:00Z", "assignee_id": alice.id}
        task = await alice.new_task(**values)
        assert task[field] is not None
        after = (await alice.request(method, f"/tasks/{task['id']}", 200, json={field: None})).json()
        assert after[field] is None
        kept = set(NULLABLE) - {field}
        assert {name: after[name] for name in kept} == {name: task[name] for name in kept}

    @pytest.mark.parametrize("field", NOT_NULLABLE)
    async def test_null_elsewhere_is_422(self, alice: Person, method: str, field: str) -> None:
        task = await alice.new_task()
        response = await alice.request(method, f"/tasks/{task['id']}", 422, json={field: None})
        assert response.json()["errors"][0]["loc"] == ["body", field]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_a_mixture_of_good_and_bad_fields_changes_nothing(self, alice: Person, method: str) -> None:
        task = await alice.new_task()
        await alice.request(method, f"/tasks/{task['id']}", 422, json={"title": "New", "priority": 9})
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_without_any_difference_nothing_is_written(
        self, alice: Person, method: str, database: Database
    ) -> None:
        task = await alice.new_task(description="Text", tags=["a", "b"], due_at="2031-01-31T12:00:00Z")
        same = {name: task[name] for name in (*NULLABLE, *NOT_NULLABLE)}
        for body in ({}, same, {"tags": ["B", "a"]}, {"title": " A task "}, {"due_at": "2031-01-31T13:00:00+01:00"}):
            response = await alice.request(method, f"/tasks/{task['id']}", 200, json=body)
            assert response.json() == task
        assert [event["action"] for event in await events_of(database, "task", task["id"])] == ["created"]

    async def test_an_assignee_outside_the_project_is_422(self, alice: Person, bob: Person, method: str) -> None:
        task = await alice.new_task()
        response = await alice.request(method, f"/tasks/{task['id']}", 422, json={"assignee_id": bob.id})
        assert response.json()["errors"][0]["loc"] == ["body", "assignee_id"]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task


class TestCompletion:
    """`completed_at` follows the status."""

    async def test_is_set_when_the_task_is_completed(self, alice: Person) -> None:
        task = await alice.new_task()
        done = (await alice.patch(f"/tasks/{task['id']}", {"status": "completed"})).json()
        assert done["completed_at"] == done["updated_at"]

    async def test_stays_while_the_task_is_completed(self, alice: Person) -> None:
        task = await alice.new_task(status="completed")
        after = (await alice.patch(f"/tasks/{task['id']}", {"title": "New", "status": "completed"})).json()
        assert after["title"] == "New"
        assert after["completed_at"] == task["completed_at"]

    @pytest.mark.parametrize("status", ["pending", "in_progress", "cancelled"])
    async def test_is_cleared_by_any_other_status(self, alice: Person, status: str) -> None:
        task = await alice.new_task(status="completed")
        after = (await alice.patch(f"/tasks/{task['id']}", {"status": status})).json()
        assert after["completed_at"] is None

    async def test_cannot_be_given(self, alice: Person) -> None:
        body = {"title": "A task", "status": "completed", "completed_at": "2020-01-01T00:00:00Z"}
        await alice.post("/tasks", body, expect=422)


class TestUnderItsProject:
    """The same routes below /projects/{project_id}/tasks."""

    async def test_reads_changes_and_deletes(self, alice: Person) -> None:
        project_id = await alice.new_project()
        task = await alice.new_task(project_id)
        path = f"/projects/{project_id}/tasks/{task['id']}"
        assert (await alice.get(path)).json() == task
        assert (await alice.put(path, {"title": "Put"})).json()["title"] == "Put"
        assert (await alice.patch(path, {"priority": 2})).json()["title"] == "Put"
        await alice.delete(path)
        await alice.get(f"/tasks/{task['id']}", expect=404)

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_a_task_of_another_project_is_404(self, alice: Person, method: str) -> None:
        project_id = await alice.new_project()
        task = await alice.new_task()
        body = {"title": "New"} if method in {"PUT", "PATCH"} else None
        for wrong in (project_id, 999_999):
            await alice.request(method, f"/projects/{wrong}/tasks/{task['id']}", 404, json=body)
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task


class TestDelete:
    """DELETE /tasks/{task_id}."""

    async def test_takes_the_comments_along(self, alice: Person, database: Database) -> None:
        task, kept = await alice.new_task(), await alice.new_task()
        for number in range(3):
            await alice.post(f"/tasks/{task['id']}/comments", {"body": f"Comment {number}"})
        await alice.post(f"/tasks/{kept['id']}/comments", {"body": "Kept"})
        await alice.delete(f"/tasks/{task['id']}")
        await alice.get(f"/tasks/{task['id']}/comments", expect=404)
        assert await count_rows(database, "comments") == 1

    async def test_twice_is_404(self, alice: Person) -> None:
        task = await alice.new_task()
        await alice.delete(f"/tasks/{task['id']}")
        await alice.delete(f"/tasks/{task['id']}", expect=404)


class TestStrangers:
    """Another user's task is as good as none."""

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_get_the_same_404_as_for_an_unknown_id(self, alice: Person, bob: Person, method: str) -> None:
        task = await alice.new_task()
        body = {"title": "Mine now"} if method in {"PUT", "PATCH"} else None
        answers = []
        for path in (
            f"/tasks/{task['id']}",
            "/tasks/999999",
            f"/projects/{alice.inbox_id}/tasks/{task['id']}",
            f"/projects/{bob.inbox_id}/tasks/{task['id']}",
        ):
            problem = (await bob.request(method, path, 404, json=body)).json()
            answers.append({name: problem[name] for name in ("type", "title", "detail")})
        assert all(answer == answers[0] for answer in answers)
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task


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
        async with database.reader() as session:
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

    @pytest.mark.parametrize(("method", "path", "body"), [given for given in OPERATIONS if given[0] != "DELETE"])
    async def test_of_the_commonest_all_statements_are_shared(
        self, alice: Person, app: FastAPI, query_recorder: list[str], method: str, path: str, body: Any
    ) -> None:
        task = await alice.new_task()
        path = path.format(project=alice.inbox_id, task=task["id"])
        kinds: list[Coalescer[Any, Any]] = app.state.shared_connections.kinds
        query_recorder.clear()
        before = sum(kind.statements for kind in kinds)
        assert (await alice.request(method, path, json=body)).is_success
        # The login is checked by the statement itself; only to count is one more.
        expected = 1 + is_counted(method, path)
        assert len(query_recorder) == sum(kind.statements for kind in kinds) - before == expected


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
        async with database.transaction() as session:
            await session.execute(
                text("UPDATE tasks SET title = 'Theirs', version = version + 1 WHERE id = :id"), {"id": task["id"]}
            )
            update = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"priority": 5}))
            await until_blocked(database)
        after = (await update).json()
        assert (after["title"], after["priority"], after["version"]) == ("Theirs", 5, 3)

    async def test_the_log_has_the_value_that_was_really_replaced(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(title="Old")
        async with database.transaction() as session:
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
        async with database.transaction() as session:
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

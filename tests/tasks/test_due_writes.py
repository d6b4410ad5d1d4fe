"""A task is due on a day or at a moment, never both, whoever writes what at the same time."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import events_of
from tests.support.mirrors import Mirror, read_everything
from tests.support.rows import execute, fetch_one
from tests.support.shared_statements import shared_statements

MOMENT = "2031-01-31T12:00:00.000000Z"
DAY = "2031-01-31"


class TestCreate:
    """POST."""

    async def test_a_day_and_a_start_are_kept(self, alice: Person) -> None:
        project_id = await alice.new_project()
        for path, wrap in (("/tasks", False), (f"/projects/{project_id}/tasks", False), ("/tasks/bulk", True)):
            for assignee_id in (None, alice.id):
                new = {"title": "x", "due_on": DAY, "start_at": "2031-01-01T01:00:00+01:00", "assignee_id": assignee_id}
                answer = (await alice.post(path, {"tasks": [new]} if wrap else new)).json()
                task = answer["tasks"][0] if wrap else answer
                assert (task["due_at"], task["due_on"]) == (None, DAY)
                assert task["start_at"] == "2031-01-01T00:00:00.000000Z"
                assert (await alice.get(f"/tasks/{task['id']}")).json() == task
                assert task in (await alice.get("/tasks")).json()["tasks"]

    async def test_both_are_422(self, alice: Person) -> None:
        both = {"title": "x", "due_at": MOMENT, "due_on": DAY}
        problem = (await alice.post("/tasks", both, 422)).json()
        assert [error["loc"] for error in problem["errors"]] == [["body", "due_on"]]
        problem = (await alice.post("/tasks/bulk", {"tasks": [{"title": "y"}, both]}, 422)).json()
        assert [error["loc"] for error in problem["errors"]] == [["body", "tasks", 1, "due_on"]]
        assert (await alice.get("/tasks")).json()["total"] == 0
        for fine in ({"due_at": MOMENT, "due_on": None}, {"due_at": None, "due_on": DAY}):
            await alice.post("/tasks", {"title": "x", **fine})

    @pytest.mark.parametrize("day", ["0001-01-02", "1582-10-10", "2028-02-29", "9999-12-30"])
    async def test_any_day_is_kept_and_sorted(self, alice: Person, day: str) -> None:
        task = await alice.new_task(due_on=day)
        assert task["due_on"] == day
        await alice.new_task()
        page = (await alice.get("/tasks", params={"sort_by": "due_at", "limit": 1})).json()
        assert page["tasks"] == [task]
        await alice.get("/tasks", params={"sort_by": "due_at", "cursor": page["next_cursor"]})

    @pytest.mark.parametrize(
        "day",
        [
            *("2031-1-31", "2031-02-29", "31.01.2031", "2031-01-31T00:00:00Z", "2031-01-31T00:00:00", " 2031-01-31"),
            *("20310131", "2031-W05-5", "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "infinity", "today"),
            *("", 0, 1927584000, 1.5, True, [], "\u0662\u0660\u0663\u0661-01-31"),
        ],
        ids=repr,
    )
    async def test_what_is_no_day_is_422(self, alice: Person, day: Any) -> None:
        problem = (await alice.post("/tasks", {"title": "x", "due_on": day}, 422)).json()
        assert [error["loc"] for error in problem["errors"]] == [["body", "due_on"]]


class TestChange:
    """PATCH of one task and of many."""

    TABLE: tuple[tuple[dict[str, Any], dict[str, Any], str | None], ...] = (
        ({}, {"due_on": DAY}, None),
        ({}, {"due_at": MOMENT}, None),
        ({"due_on": DAY}, {"due_on": "2031-02-01"}, None),
        ({"due_on": DAY}, {"due_on": None}, None),
        ({"due_on": DAY}, {"due_at": None}, None),
        ({"due_on": DAY}, {"title": "Other"}, None),
        ({"due_on": DAY}, {"due_on": None, "due_at": MOMENT}, None),
        ({"due_at": MOMENT}, {"due_on": DAY, "due_at": None}, None),
        ({"due_at": MOMENT}, {"start_at": MOMENT}, None),
        ({"due_on": DAY}, {"due_at": MOMENT}, "due_at"),
        ({"due_at": MOMENT}, {"due_on": DAY}, "due_on"),
        ({"due_at": MOMENT}, {"due_on": DAY, "title": "Other"}, "due_on"),
    )

    @pytest.mark.parametrize("how", ["task", "assignee", "project", "move", "bulk"])
    async def test_from_one_to_the_other_needs_null(self, alice: Person, database: Database, how: str) -> None:
        target = await alice.new_project()
        for before, changes, fault in self.TABLE:
            task = await alice.new_task(**before)
            path, body, loc = f"/tasks/{task['id']}", changes, ["body", fault]
            if how == "assignee":
                body = {**changes, "assignee_id": alice.id}
            elif how == "project":
                path = f"/projects/{alice.inbox_id}{path}"
            elif how == "move":
                body = {**changes, "project_id": target}
            elif how == "bulk":
                other = await alice.new_task()
                path, body = "/tasks/bulk", {"ids": [other["id"], task["id"]], "set": changes}
                loc = ["body", "set", fault]
            answer = await alice.patch(path, body, 200 if fault is None else 422)
            now = (await alice.get(f"/tasks/{task['id']}")).json()
            if fault is None:
                assert {name: now[name] for name in changes} == changes
                assert None in {now["due_at"], now["due_on"]}
                continue
            assert [error["loc"] for error in answer.json()["errors"]] == [loc]
            assert now == task
            assert len(await events_of(database, "task", task["id"])) == 1
            if how == "bulk":
                assert (await alice.get(f"/tasks/{other['id']}")).json() == other

    async def test_both_are_422_whatever_is_set(self, alice: Person) -> None:
        task = await alice.new_task()
        for path, body, loc in (
            (f"/tasks/{task['id']}", {"due_at": MOMENT, "due_on": DAY}, ["body", "due_on"]),
            ("/tasks/bulk", {"ids": [task["id"]], "set": {"due_at": MOMENT, "due_on": DAY}}, ["body", "set", "due_on"]),
        ):
            problem = (await alice.patch(path, body, 422)).json()
            assert [error["loc"] for error in problem["errors"]] == [loc]

    async def test_a_stale_version_goes_first(self, alice: Person) -> None:
        task = await alice.new_task(due_on=DAY)
        changes, stale = {"due_at": MOMENT}, {"If-Match": '"7"'}
        await alice.patch(f"/tasks/{task['id']}", changes, 412, headers=stale)
        await alice.patch(f"/tasks/{task['id']}", changes, 422, headers={"If-Match": '"1"'})

    async def test_a_refused_change_can_be_sent_again_with_its_key(self, alice: Person) -> None:
        task = await alice.new_task(due_on=DAY)
        key = {"Idempotency-Key": "once"}
        await alice.patch(f"/tasks/{task['id']}", {"due_at": MOMENT}, 422, headers=key)
        await alice.patch(f"/tasks/{task['id']}", {"due_on": None}, 200)
        answer = await alice.patch(f"/tasks/{task['id']}", {"due_at": MOMENT}, 200, headers=key)
        assert (answer.json()["due_at"], answer.json()["due_on"]) == (MOMENT, None)
        again = await alice.patch(f"/tasks/{task['id']}", {"due_at": MOMENT}, 200, headers=key)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.content == answer.content


class TestTogether:
    """Many at the same time."""

    async def test_of_two_who_set_different_ones_the_later_is_refused(self, alice: Person, database: Database) -> None:
        for _ in range(10):
            task = await alice.new_task()
            path = f"/tasks/{task['id']}"
            answers = await asyncio.gather(
                *(alice.patch(path, changes, None) for changes in ({"due_on": DAY}, {"due_at": MOMENT}) for _ in "123")
            )
            statuses = [answer.status_code for answer in answers]
            assert set(statuses) == {200, 422}
            assert statuses in ([200] * 3 + [422] * 3, [422] * 3 + [200] * 3)
            assert len(await events_of(database, "task", task["id"])) == 2

    async def test_a_refused_one_does_not_disturb_those_that_share_its_statement(
        self, alice: Person, app: FastAPI
    ) -> None:
        tasks = [await alice.new_task(due_on=DAY if number % 4 == 0 else None) for number in range(32)]
        before = shared_statements(app)
        answers = await asyncio.gather(*(alice.patch(f"/tasks/{t['id']}", {"due_at": MOMENT}, None) for t in tasks))
        assert [answer.status_code for answer in answers] == [422 if n % 4 == 0 else 200 for n in range(32)]
        assert 0 < shared_statements(app) - before < 32


class TestElsewhere:
    """What others learn of it."""

    async def test_activity_and_conflicts_name_the_fields(self, alice: Person) -> None:
        task = await alice.new_task(due_at=MOMENT)
        changes = {"due_at": None, "due_on": DAY, "start_at": "2031-01-01T00:00:00Z"}
        await alice.patch(f"/tasks/{task['id']}", changes)
        event = (await alice.get(f"/tasks/{task['id']}/activity")).json()["events"][0]
        assert event["changes"] == {
            "due_at": {"old": MOMENT, "new": None},
            "due_on": {"old": None, "new": DAY},
            "start_at": {"old": None, "new": "2031-01-01T00:00:00.000000Z"},
        }
        problem = (await alice.patch(f"/tasks/{task['id']}", {"title": "x"}, 412, headers={"If-Match": '"1"'})).json()
        assert problem["changed_fields"] == ["due_at", "due_on", "start_at"]

    async def test_a_move_and_delta_sync_carry_them(self, alice: Person) -> None:
        target = await alice.new_project()
        task = await alice.new_task(due_on=DAY, start_at=MOMENT)
        mirror = Mirror(alice, 5)
        await mirror.catch_up()
        moved = (await alice.patch(f"/tasks/{task['id']}", {"project_id": target})).json()
        assert (moved["due_on"], moved["start_at"]) == (DAY, MOMENT)
        await alice.patch(f"/tasks/{task['id']}", {"due_on": "2031-02-01"})
        assert await mirror.catch_up() == await read_everything(alice)

    async def test_a_task_that_is_due_on_a_day_is_found_by_search(self, alice: Person) -> None:
        task = await alice.new_task(title="needle", due_on=DAY)
        for query in ("search=needle", "search=needle&sort_by=due_at", "due_after=2031-01-31T00:00:00Z"):
            assert (await alice.get(f"/tasks?{query}")).json()["tasks"] == [task]


class TestVersionBefore:
    """Code that does not know of days runs beside this one."""

    async def test_its_moment_takes_the_place_of_a_day(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(due_on=DAY)
        sql = f"UPDATE tasks SET title = 'Old', due_at = '{MOMENT}', version = version + 1 WHERE id = :id"
        await execute(database, sql, id=task["id"])
        now = (await alice.get(f"/tasks/{task['id']}")).json()
        assert (now["due_at"], now["due_on"], now["version"]) == (MOMENT, None, 2)

    async def test_what_it_writes_without_a_moment_leaves_the_day(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(due_on=DAY)
        await execute(database, "UPDATE tasks SET title = 'Old', due_at = NULL WHERE id = :id", id=task["id"])
        assert (await alice.get(f"/tasks/{task['id']}")).json()["due_on"] == DAY

    async def test_the_database_takes_no_row_with_both(self, alice: Person, database: Database) -> None:
        task = await alice.new_task(due_at=MOMENT)
        with pytest.raises(Exception, match="tasks_due_check"):
            await execute(database, f"UPDATE tasks SET due_on = '{DAY}' WHERE id = :id", id=task["id"])
        row = await fetch_one(database, "SELECT due_on FROM tasks WHERE id = :id", id=task["id"])
        assert row["due_on"] is None

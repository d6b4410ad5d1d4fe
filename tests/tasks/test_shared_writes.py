"""Writes of tasks that requests share, and those that run alone beside them, answer exactly as ordinary ones do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.rows import digests, execute
from tests.support.sessions import open_session, open_transaction
from tests.support.shared_statements import become_quiet, shared_statements


async def test_each_of_many_at_once_gets_their_own(sign_up: SignUp, app: FastAPI) -> None:
    people = [await sign_up(f"person{number}") for number in range(8)]

    async def work(person: Person) -> None:
        for turn in range(5):
            task = await person.new_task(title=f"{person.username} {turn}")
            assert task["created_by"] == person.id
            assert (await person.get(f"/tasks/{task['id']}")).json() == task
            changed = (await person.patch(f"/tasks/{task['id']}", {"title": f"{person.username} again"})).json()
            assert (changed["version"], changed["title"]) == (2, f"{person.username} again")
            listed = (await person.get("/tasks")).json()
            assert listed["total"] == turn + 1
            assert {one["created_by"] for one in listed["tasks"]} == {person.id}
            other = people[(people.index(person) + 1) % len(people)]
            await other.get(f"/tasks/{task['id']}", 404)
            await other.patch(f"/tasks/{task['id']}", {"title": "Stolen"}, 404)

    before = shared_statements(app)
    await asyncio.gather(*(work(person) for person in people))
    # In each of the five turns of eight people: three writes, two reads of one statement, and a list of two.
    assert 0 < shared_statements(app) - before < 8 * 5 * (3 + 2 + 2)


async def test_of_many_changes_to_one_task_none_is_lost(alice: Person, database: Database) -> None:
    task = await alice.new_task()
    await asyncio.gather(*(alice.patch(f"/tasks/{task['id']}", {"title": f"Title {n}"}) for n in range(20)))
    assert (await alice.get(f"/tasks/{task['id']}")).json()["version"] == 21
    async with open_session(database) as session:
        versions = await session.execute(
            text("SELECT version FROM events WHERE entity = 'task' AND entity_id = :id ORDER BY xid, id"),
            {"id": task["id"]},
        )
        assert versions.scalars().all() == list(range(1, 22))


async def test_a_comment_that_is_being_written_delays_no_change_of_its_task(alice: Person, database: Database) -> None:
    task = await alice.new_task()
    async with open_transaction(database) as session:
        await session.execute(
            text(
                "INSERT INTO comments (project_id, task_id, author_id, body)"
                " VALUES (:project_id, :id, :created_by, 'Not yet')"
            ),
            task,
        )
        for number in range(2, 12):
            async with asyncio.timeout(5):
                changed = await alice.patch(f"/tasks/{task['id']}", {"title": f"Title {number}"})
            assert changed.json()["version"] == number


@asynccontextmanager
async def others_share(person: Person, database: Database) -> AsyncIterator[int]:
    """Keep a change and a new task from ending, so that others share statements; yield the id of the changed task."""
    await become_quiet(person)
    task_id, project_id = (await person.new_task())["id"], await person.new_project()
    async with open_transaction(database) as session:
        await session.execute(text("SELECT FROM tasks WHERE id = :id FOR UPDATE"), {"id": task_id})
        await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": project_id})
        waiting = [
            asyncio.create_task(person.patch(f"/tasks/{task_id}", {"title": "Later"})),
            asyncio.create_task(person.new_task(project_id)),
        ]
        await until_blocked(database, waiting=2)
        yield task_id
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


class TestBoth:
    """A write that runs alone, and those that share a statement meanwhile."""

    async def test_a_locked_task_delays_nobody_else(self, alice: Person, database: Database, app: FastAPI) -> None:
        free = (await alice.new_task())["id"]
        async with others_share(alice, database):
            before = shared_statements(app)
            async with asyncio.timeout(1):
                for number in range(5):
                    await alice.patch(f"/tasks/{free}", {"title": f"Now {number}"})
                    await alice.new_task()
            assert shared_statements(app) - before == 10

    async def test_together_they_are_fewer_statements(
        self, alice: Person, database: Database, query_recorder: list[str]
    ) -> None:
        ids = [(await alice.new_task())["id"] for _ in range(10)]
        async with others_share(alice, database):
            query_recorder.clear()
            changed = await asyncio.gather(*(alice.patch(f"/tasks/{one}", {"title": f"{one}"}) for one in ids))
            created = await asyncio.gather(*(alice.new_task(title=f"New {one}") for one in ids))
            assert len(query_recorder) <= 6
        assert [answer.json()["title"] for answer in changed] == [f"{one}" for one in ids]
        assert [task["title"] for task in created] == [f"New {one}" for one in ids]

    async def test_at_one_task_none_is_lost(self, alice: Person, database: Database) -> None:
        async with others_share(alice, database) as task_id:
            # What is locked is passed over by the statement they share; then each waits alone.
            changes = [
                asyncio.create_task(alice.patch(f"/tasks/{task_id}", {field: value}))
                for field, value in (
                    ("description", "New"),
                    ("priority", 5),
                    ("tags", ["new"]),
                    ("status", "completed"),
                )
            ]
            await until_blocked(database, waiting=3)
        answers = await asyncio.gather(*changes)
        assert max(answer.json()["version"] for answer in answers) == 6
        task = (await alice.get(f"/tasks/{task_id}")).json()
        found = [task[name] for name in ("title", "description", "priority", "tags", "status", "version")]
        assert found == ["Later", "New", 5, ["new"], "completed", 6]
        log = await events_of(database, "task", task_id)
        assert [event["version"] for event in log] == list(range(1, 7))

    async def test_each_is_refused_for_its_own_fault_only(
        self, alice: Person, bob: Person, sign_up: SignUp, database: Database
    ) -> None:
        carol = await sign_up("carol")
        read_only, archived = await alice.new_project(), await alice.new_project()
        for person in (bob, carol):
            await alice.post(f"/projects/{read_only}/members", {"username": person.username, "role": "viewer"})
        ids = [(await alice.new_task(project))["id"] for project in (read_only, archived, alice.inbox_id)]
        await alice.patch(f"/projects/{archived}", {"archived": True})
        await execute(database, "UPDATE sessions SET revoked_at = now() WHERE id = :id", id=carol.session_id)
        new, before = {"title": "New"}, (await alice.get(f"/tasks/{ids[2]}")).json()
        stale = {"headers": {"If-Match": '"7"'}}
        cases: list[tuple[Person, str, str, int, dict[str, Any]]] = [
            (bob, "PATCH", f"/tasks/{ids[0]}", 403, {}),
            (alice, "PATCH", f"/tasks/{ids[1]}", 409, {}),
            (bob, "PATCH", f"/tasks/{ids[2]}", 404, {}),
            (alice, "PATCH", f"/tasks/{ids[2]}", 412, stale),
            (carol, "PATCH", f"/tasks/{ids[0]}", 401, {}),
            (alice, "PATCH", f"/tasks/{ids[0]}", 200, {}),
            (bob, "POST", f"/projects/{read_only}/tasks", 403, {}),
            (alice, "POST", f"/projects/{archived}/tasks", 409, {}),
            (bob, "POST", f"/projects/{archived}/tasks", 404, {}),
            (carol, "POST", "/tasks", 401, {}),
            (bob, "POST", "/tasks", 201, {}),
        ]
        async with others_share(alice, database):
            count = await count_rows(database, "tasks")
            await asyncio.gather(
                *(who.request(method, path, status, json=new, **more) for who, method, path, status, more in cases)
            )
        assert (await alice.get(f"/tasks/{ids[2]}")).json() == before
        assert await count_rows(database, "tasks") == count + 1 + 1  # with the one that `others_share` keeps

    async def test_a_login_revoked_before_a_request_arrives_changes_nothing(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        task_id = (await bob.new_task())["id"]
        async with others_share(alice, database):
            await bob.patch(f"/tasks/{task_id}", {"title": "Before"})
            await execute(database, "UPDATE sessions SET revoked_at = now() WHERE id = :id", id=bob.session_id)
            before = await digests(database)
            await asyncio.gather(
                *(bob.patch(f"/tasks/{task_id}", {"title": f"{number}"}, 401) for number in range(5)),
                *(bob.post("/tasks", {"title": "New"}, 401) for _ in range(5)),
            )
            assert await digests(database) == before


async def test_an_assignee_who_is_a_stranger_spoils_only_their_own_task(alice: Person, bob: Person) -> None:
    me = {"assignee_id": alice.id}
    wrong, *right = await asyncio.gather(
        alice.post("/tasks", {"title": "Wrong", "assignee_id": bob.id}, expect=422),
        *(
            alice.post("/tasks", {"title": f"Right {number}"} | assignee)
            for assignee in ({}, me)
            for number in range(3)
        ),
    )
    assert wrong.json()["errors"][0]["loc"] == ["body", "assignee_id"]
    assert len({task.json()["id"] for task in right}) == 6


async def test_a_login_that_has_ended_is_refused_with_the_next_request(alice: Person, app: FastAPI) -> None:
    task = await alice.new_task()
    async with open_transaction(app.state.database) as session:
        await session.execute(text("UPDATE sessions SET revoked_at = now() WHERE id = :id"), {"id": alice.session_id})
    for method, path, body in (
        ("GET", f"/tasks/{task['id']}", None),
        ("GET", "/tasks", None),
        ("POST", "/tasks", {"title": "x"}),
        ("PATCH", f"/tasks/{task['id']}", {"title": "x"}),
    ):
        await alice.request(method, path, 401, json=body)

"""Moving a task to another project: its id and comments stay, nobody sees more than they may."""

import asyncio

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.moves import share
from tests.support.rows import digests, fetch_all
from tests.support.sessions import open_transaction


class TestMove:
    """PATCH and PUT with another `project_id`."""

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    @pytest.mark.parametrize("nested", [False, True])
    async def test_keeps_the_id_and_every_field(
        self, alice: Person, source: int, target: int, method: str, nested: bool
    ) -> None:
        task = await alice.new_task(
            source,
            title="A task",
            description="At length",
            status="completed",
            priority=4,
            tags=["a", "b"],
            due_at="2031-01-31T12:00:00.000000Z",
        )
        path = f"/projects/{source}/tasks/{task['id']}" if nested else f"/tasks/{task['id']}"
        moved = (await alice.request(method, path, 200, json={"project_id": target})).json()
        assert moved == {
            **task,
            "project_id": target,
            "version": task["version"] + 1,
            "updated_at": moved["updated_at"],
        }
        assert moved["updated_at"] > task["updated_at"]
        for read in (f"/tasks/{task['id']}", f"/projects/{target}/tasks/{task['id']}"):
            assert (await alice.get(read)).json() == moved
        await alice.get(f"/projects/{source}/tasks/{task['id']}", expect=404)
        for project_id, ids in ((source, []), (target, [task["id"]])):
            listed = (await alice.get(f"/projects/{project_id}/tasks")).json()["tasks"]
            assert [listed_task["id"] for listed_task in listed] == ids

    async def test_keeps_the_comments(self, alice: Person, bob: Person, source: int, target: int) -> None:
        await share(alice, source, bob)
        task_id = (await alice.new_task(source))["id"]
        for person in (alice, bob, alice):
            await person.post(f"/tasks/{task_id}/comments", {"body": f"By {person.username}"})
        comments = (await alice.get(f"/tasks/{task_id}/comments")).json()["comments"]
        await alice.patch(f"/tasks/{task_id}/comments/{comments[0]['id']}", {"body": "Changed"})
        before = (await alice.get(f"/tasks/{task_id}/comments")).json()
        await alice.patch(f"/tasks/{task_id}", {"project_id": target})
        for comment in before["comments"]:
            comment["project_id"] = target
        assert (await alice.get(f"/tasks/{task_id}/comments")).json() == before
        assert [comment["version"] for comment in before["comments"]] == [2, 1, 1]
        # And they can be changed and answered there.
        await alice.patch(f"/tasks/{task_id}/comments/{comments[1]['id']}", {"body": "Changed"})
        await alice.post(f"/tasks/{task_id}/comments", {"body": "Another"})

    async def test_leaves_the_other_tasks_where_they_are(self, alice: Person, source: int, target: int) -> None:
        task, other = await alice.new_task(source), await alice.new_task(source)
        await alice.post(f"/tasks/{other['id']}/comments", {"body": "Stays"})
        await alice.patch(f"/tasks/{task['id']}", {"project_id": target})
        assert (await alice.get(f"/tasks/{other['id']}")).json() == other
        assert len((await alice.get(f"/tasks/{other['id']}/comments")).json()["comments"]) == 1

    async def test_to_and_from_the_inbox_and_back_again(self, alice: Person, source: int) -> None:
        task = await alice.new_task(source)
        for number, project_id in enumerate((alice.inbox_id, source, alice.inbox_id, source), 1):
            moved = (await alice.patch(f"/tasks/{task['id']}", {"project_id": project_id})).json()
            assert (moved["project_id"], moved["version"]) == (project_id, task["version"] + number)
        assert {**moved, "updated_at": None, "version": None} == {**task, "updated_at": None, "version": None}

    async def test_to_where_it_is_writes_nothing(self, alice: Person, source: int, database: Database) -> None:
        task = await alice.new_task(source)
        before = await digests(database)
        assert (await alice.patch(f"/tasks/{task['id']}", {"project_id": source})).json() == task
        assert await digests(database) == before

    async def test_takes_other_fields_along(self, alice: Person, source: int, target: int) -> None:
        task = await alice.new_task(source, description="Gone")
        body = {"project_id": target, "title": "New", "description": None, "status": "completed", "tags": ["x"]}
        moved = (await alice.patch(f"/tasks/{task['id']}", body)).json()
        assert {name: moved[name] for name in body} == body
        assert moved["completed_at"] is not None
        assert moved["version"] > task["version"]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == moved

    async def test_logs_moved_out_and_moved_in_without_text_and_without_the_other_project(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        task = await alice.new_task(source, title="A secret")
        await alice.patch(f"/tasks/{task['id']}", {"project_id": target})
        events = {event["action"]: event for event in await events_of(database, "task", task["id"])}
        assert set(events) == {"created", "moved_out", "moved_in"}
        common = {"actor_id": alice.id, "version": task["version"] + 1}
        left = {"project_id": {"old": source, "new": None}}
        assert events["moved_out"] == {**common, "project_id": source, "action": "moved_out", "changes": left}
        assert events["moved_in"] == {
            **common,
            "project_id": target,
            "action": "moved_in",
            "changes": {"project_id": {"old": None, "new": target}},
        }

    async def test_what_changes_along_is_logged_in_the_new_project_only(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        task = await alice.new_task(source, title="Old")
        await alice.patch(f"/tasks/{task['id']}", {"project_id": target, "title": "A secret"})
        rows = await fetch_all(
            database,
            "SELECT CAST(changes AS text) AS changes FROM events WHERE project_id = :id AND entity = 'task'",
            id=source,
        )
        assert not any("A secret" in row["changes"] for row in rows)
        last = (await events_of(database, "task", task["id"]))[-1]
        assert (last["project_id"], last["action"]) == (target, "updated")
        assert last["changes"] == {"title": {"old": "Old", "new": "A secret"}}


class TestAssignee:
    """Only a member can be assigned, also after a move."""

    async def test_who_is_no_member_there_is_cleared(
        self, alice: Person, bob: Person, source: int, target: int
    ) -> None:
        await share(alice, source, bob)
        task = await alice.new_task(source, assignee_id=bob.id)
        moved = (await alice.patch(f"/tasks/{task['id']}", {"project_id": target})).json()
        assert (moved["assignee_id"], moved["project_id"]) == (None, target)

    @pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
    async def test_who_is_a_member_there_stays(
        self, alice: Person, bob: Person, source: int, target: int, role: str
    ) -> None:
        await share(alice, source, bob)
        await share(alice, target, bob, role)
        task = await alice.new_task(source, assignee_id=bob.id)
        moved = (await alice.patch(f"/tasks/{task['id']}", {"project_id": target})).json()
        assert moved["assignee_id"] == bob.id

    async def test_another_can_be_given_along(self, alice: Person, bob: Person, source: int, target: int) -> None:
        await share(alice, target, bob)
        task = await alice.new_task(source, assignee_id=alice.id)
        body = {"project_id": target, "assignee_id": bob.id}
        assert (await alice.patch(f"/tasks/{task['id']}", body)).json()["assignee_id"] == bob.id

    async def test_one_who_is_no_member_there_is_422_and_nothing_moves(
        self, alice: Person, bob: Person, source: int, target: int, database: Database
    ) -> None:
        await share(alice, source, bob)
        task = await alice.new_task(source, assignee_id=bob.id)
        before = await digests(database)
        for body in ({"assignee_id": bob.id}, {"assignee_id": bob.id, "title": "New"}):
            answer = await alice.patch(f"/tasks/{task['id']}", {"project_id": target, **body}, expect=422)
            assert answer.json()["errors"][0]["loc"] == ["body", "assignee_id"]
        assert await digests(database) == before

    async def test_one_who_is_being_removed_there_is_cleared(
        self, alice: Person, bob: Person, source: int, target: int, database: Database
    ) -> None:
        await share(alice, source, bob)
        await share(alice, target, bob)
        task = await alice.new_task(source, assignee_id=bob.id)
        async with open_transaction(database) as session:
            parameters = {"project_id": target, "user_id": bob.id}
            await session.execute(
                text("DELETE FROM project_members WHERE project_id = :project_id AND user_id = :user_id"), parameters
            )
            moving = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"project_id": target}, expect=None))
            await asyncio.wait([moving], timeout=0.3)
        answer = await moving
        assert answer.status_code == 200, answer.text
        assert (answer.json()["project_id"], answer.json()["assignee_id"]) == (target, None)

    async def test_who_removes_them_there_never_waits_for_the_move(
        self, alice: Person, bob: Person, source: int, target: int, database: Database
    ) -> None:
        for project_id in (source, target):
            await share(alice, project_id, bob)
        task = await alice.new_task(source, assignee_id=bob.id)
        async with open_transaction(database) as session:
            # As a removal does: the project first, then its member. If the move held that, both would wait for ever.
            await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": target})
            moving = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"project_id": target}))
            await until_blocked(database)
            member = "SELECT FROM project_members WHERE project_id = :id AND user_id = :bob FOR UPDATE NOWAIT"
            await session.execute(text(member), {"id": target, "bob": bob.id})
        assert (await moving).json()["assignee_id"] == bob.id

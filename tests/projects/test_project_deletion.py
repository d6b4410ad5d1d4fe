"""A project is deleted with all that is in it, by its owners only."""

import asyncio

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.sessions import open_session, open_transaction


class TestDelete:
    """DELETE /projects/{project_id}."""

    async def test_takes_everything_in_it_and_nothing_else(self, alice: Person, database: Database) -> None:
        project_id, other_id = await alice.new_project(), await alice.new_project()
        for owner in (project_id, other_id):
            task = await alice.new_task(owner)
            await alice.post(f"/tasks/{task['id']}/comments", {"body": "A comment"})
        await alice.delete(f"/projects/{project_id}")
        await alice.get(f"/projects/{project_id}", 404)
        await alice.get(f"/projects/{project_id}/tasks", 404)
        assert (await alice.get("/tasks")).json()["total"] == 1
        assert [await count_rows(database, table) for table in ("tasks", "comments", "projects")] == [1, 1, 2]
        assert await count_rows(database, "project_members") == 2
        (task,) = (await alice.get(f"/projects/{other_id}/tasks")).json()["tasks"]
        assert len((await alice.get(f"/tasks/{task['id']}/comments")).json()["comments"]) == 1

    async def test_leaves_the_log_without_its_texts_and_each_member_their_loss(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        project_id = await alice.new_project()
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
        task = await alice.new_task(project_id)
        await alice.delete(f"/projects/{project_id}")
        async with open_session(database) as session:
            rows = await session.execute(
                text(
                    "SELECT entity, entity_id, version, action FROM events "
                    "WHERE project_id = :id AND changes = '{}' ORDER BY xid, id"
                ),
                {"id": project_id},
            )
            found = [tuple(row) for row in rows]
        assert found[:3] == [
            ("project", project_id, 1, "created"),
            ("member", bob.id, 1, "added"),
            ("task", task["id"], 1, "created"),
        ]
        assert sorted(found[3:]) == [
            ("member", alice.id, 2, "removed"),
            ("member", bob.id, 2, "removed"),
            ("project", project_id, 2, "deleted"),
        ]

    async def test_twice_at_once_succeeds_once(self, alice: Person, database: Database) -> None:
        for _ in range(10):
            project_id = await alice.new_project()
            answers = await asyncio.gather(*(alice.delete(f"/projects/{project_id}", None) for _ in range(3)))
            assert sorted(answer.status_code for answer in answers) == [204, 404, 404]
            told = [event["action"] for event in await events_of(database, "project", project_id)]
            assert told == ["created", "deleted"]

    async def test_while_tasks_are_created_leaves_none_behind(self, alice: Person, database: Database) -> None:
        for _ in range(5):
            project_id = await alice.new_project()
            creations = [alice.post(f"/projects/{project_id}/tasks", {"title": "New"}, None) for _ in range(6)]
            *created, deleted = await asyncio.gather(*creations, alice.delete(f"/projects/{project_id}", None))
            assert deleted.status_code == 204
            assert {answer.status_code for answer in created} <= {201, 404}
        assert await count_rows(database, "tasks") == 0

    @pytest.mark.parametrize("bulk", [False, True], ids=["one", "bulk"])
    async def test_never_waits_for_a_task_that_waits_for_it(
        self, alice: Person, database: Database, bulk: bool
    ) -> None:
        # Otherwise the two stand still until the server has found the deadlock.
        project_id = await alice.new_project()
        parameters = {"id": project_id}
        async with asyncio.TaskGroup() as group, open_transaction(database) as deletion:
            await deletion.execute(text("SELECT 1 FROM projects WHERE id = :id FOR UPDATE"), parameters)
            task = {"title": "New", "project_id": project_id}
            path, body = ("/tasks/bulk", {"tasks": [task]}) if bulk else ("/tasks", task)
            creation = group.create_task(alice.post(path, body, None))
            await until_blocked(database)
            await deletion.execute(text("SET LOCAL lock_timeout = '200ms'"))
            await deletion.execute(text("DELETE FROM project_members WHERE project_id = :id"), parameters)
            await deletion.execute(text("DELETE FROM projects WHERE id = :id"), parameters)
        assert creation.result().status_code == 404

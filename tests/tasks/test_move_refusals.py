"""Who may not move a task to another project, or not there."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.locks import until_blocked
from tests.support.moves import share
from tests.support.problem_answers import kind_of
from tests.support.rows import digests
from tests.support.sessions import open_transaction


class TestRefusal:
    """Who may not move it, or not there."""

    @pytest.mark.parametrize(
        ("here", "there", "status", "problem"),
        [
            ("editor", "editor", 200, None),
            ("owner", "editor", 200, None),
            ("editor", "owner", 200, None),
            ("viewer", "editor", 403, "role-too-low"),
            ("editor", "viewer", 403, "role-too-low"),
            ("viewer", "viewer", 403, "role-too-low"),
            ("editor", None, 404, "not-found"),
            ("viewer", None, 404, "not-found"),
            (None, "editor", 404, "not-found"),
            (None, None, 404, "not-found"),
        ],
    )
    async def test_needs_write_in_both(
        self,
        alice: Person,
        bob: Person,
        source: int,
        target: int,
        database: Database,
        here: str | None,
        there: str | None,
        status: int,
        problem: str | None,
    ) -> None:
        for project_id, role in ((source, here), (target, there)):
            if role:
                await share(alice, project_id, bob, role)
        task = await alice.new_task(source)
        before = await digests(database)
        for method in ("PUT", "PATCH"):
            body = {"project_id": target, "title": "New"}
            answer = await bob.request(method, f"/tasks/{task['id']}", status, json=body)
            if problem:
                assert kind_of(answer) == problem
                assert "Target" not in answer.text
                assert await digests(database) == before

    async def test_an_unseen_target_is_404_as_one_that_never_was(
        self, alice: Person, bob: Person, source: int, database: Database
    ) -> None:
        task = await alice.new_task(source)
        before = await digests(database)
        details = [
            (await alice.patch(f"/tasks/{task['id']}", {"project_id": project_id}, expect=404)).json()["detail"]
            for project_id in (await bob.new_project(), bob.inbox_id, 2**52)
        ]
        assert len(set(details)) == 1
        after = await digests(database)
        assert {table for table in after if after[table] != before[table]} <= {"projects", "project_members", "events"}
        assert after["tasks"] == before["tasks"]

    async def test_a_target_that_is_deleted_meanwhile_is_404(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        task = await alice.new_task(source)
        await alice.post(f"/tasks/{task['id']}/comments", {"body": "A comment"})
        async with open_transaction(database) as session:
            await session.execute(text("DELETE FROM project_members WHERE project_id = :id"), {"id": target})
            await session.execute(text("DELETE FROM projects WHERE id = :id"), {"id": target})
            moving = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"project_id": target}, 404))
            await until_blocked(database)
        assert (await moving).json()["detail"] == "There is no such project."
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    @pytest.mark.parametrize("which", ["source", "target", "both"])
    async def test_an_archived_project_is_409(
        self, alice: Person, source: int, target: int, database: Database, which: str
    ) -> None:
        task = await alice.new_task(source)
        for name, project_id in (("source", source), ("target", target)):
            if which in {name, "both"}:
                await alice.patch(f"/projects/{project_id}", {"archived": True})
        before = await digests(database)
        answer = await alice.patch(f"/tasks/{task['id']}", {"project_id": target}, expect=409)
        assert kind_of(answer) == "project-archived"
        assert await digests(database) == before

    async def test_a_viewers_403_comes_before_the_archived_409(
        self, alice: Person, bob: Person, source: int, target: int
    ) -> None:
        await share(alice, source, bob, "viewer")
        await share(alice, target, bob, "editor")
        task = await alice.new_task(source)
        await alice.patch(f"/projects/{source}", {"archived": True})
        await bob.patch(f"/tasks/{task['id']}", {"project_id": target}, expect=403)

    @pytest.mark.parametrize("project_id", [None, 0, -1, 2**63, "1", 1.5, True, [1]])
    async def test_an_id_that_is_none_is_422(
        self, alice: Person, source: int, database: Database, project_id: Any
    ) -> None:
        task = await alice.new_task(source)
        before = await digests(database)
        await alice.patch(f"/tasks/{task['id']}", {"project_id": project_id}, expect=422)
        assert await digests(database) == before

    async def test_under_the_wrong_project_is_404(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        task = await alice.new_task(source)
        before = await digests(database)
        await alice.patch(f"/projects/{target}/tasks/{task['id']}", {"project_id": target}, expect=404)
        assert await digests(database) == before

    async def test_who_is_only_in_the_old_project_sees_it_no_more(
        self, alice: Person, bob: Person, source: int, target: int
    ) -> None:
        await share(alice, source, bob)
        task = await alice.new_task(source, assignee_id=bob.id)
        comment = (await bob.post(f"/tasks/{task['id']}/comments", {"body": "Hello"})).json()
        await alice.patch(f"/tasks/{task['id']}", {"project_id": target})
        await bob.get(f"/tasks/{task['id']}", expect=404)
        await bob.get(f"/tasks/{task['id']}/comments", expect=404)
        await bob.patch(f"/tasks/{task['id']}/comments/{comment['id']}", {"body": "Mine"}, expect=404)
        assert (await bob.get("/tasks")).json()["total"] == 0

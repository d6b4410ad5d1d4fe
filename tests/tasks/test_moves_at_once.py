"""Moves that meet other changes of the same tasks and projects."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.moves import share
from tests.support.rows import fetch_all
from tests.support.sessions import open_transaction

ROUNDS = 10


class TestAtOnce:
    """Moving while others work with the task: nothing acknowledged is lost, nothing happens twice."""

    async def test_no_acknowledged_comment_is_lost(self, alice: Person, source: int, target: int) -> None:
        acknowledged = 0
        for number in range(ROUNDS):
            task_id = (await alice.new_task(source))["id"]
            requests = [
                alice.post(f"/tasks/{task_id}/comments", {"body": f"{number}.{n}"}, expect=None) for n in range(12)
            ]
            for place, project_id in ((3, target), (7, source), (11, target)):
                requests.insert(place, alice.patch(f"/tasks/{task_id}", {"project_id": project_id}, expect=None))
            answers = await asyncio.gather(*requests)
            assert {answer.status_code for answer in answers} <= {200, 201, 404}, [a.text for a in answers]
            wanted = {answer.json()["id"] for answer in answers if answer.status_code == 201}
            stored = (await alice.get(f"/tasks/{task_id}/comments")).json()["comments"]
            assert {comment["id"] for comment in stored} == wanted
            acknowledged += len(wanted)
        assert acknowledged > ROUNDS

    async def test_no_acknowledged_change_of_a_comment_is_lost(self, alice: Person, source: int, target: int) -> None:
        task_id = (await alice.new_task(source))["id"]
        path = f"/tasks/{task_id}/comments"
        ids = [(await alice.post(path, {"body": "Old"})).json()["id"] for _ in range(5)]
        for number in range(ROUNDS):
            changes = [alice.patch(f"{path}/{id_}", {"body": f"{number}"}, expect=None) for id_ in ids]
            move = alice.patch(f"/tasks/{task_id}", {"project_id": (target, source)[number % 2]})
            *answers, _moved = await asyncio.gather(*changes, move)
            bodies = {c["id"]: c["body"] for c in (await alice.get(path)).json()["comments"]}
            for comment_id, answer in zip(ids, answers, strict=True):
                assert answer.status_code in {200, 404}
                if answer.status_code == 200:
                    assert bodies[comment_id] == f"{number}"

    @staticmethod
    async def meet_a_move(
        alice: Person, database: Database, task_id: int, target: int, method: str, path: str, body: Any
    ) -> httpx.Response:
        """Send a request that meets a move which has written but not yet committed."""
        async with open_transaction(database) as session:
            # Whatever the new row has to refer to is locked: the move waits at its last moment.
            await session.execute(text("SELECT id FROM projects WHERE id = :id FOR UPDATE"), {"id": target})
            moving = asyncio.create_task(alice.patch(f"/tasks/{task_id}", {"project_id": target}))
            await until_blocked(database)
            meeting = asyncio.create_task(alice.request(method, path, json=body))
            await asyncio.wait([meeting], timeout=0.3)
        assert (await moving).json()["project_id"] == target
        return await meeting

    async def test_a_comment_that_meets_a_move_is_stored_or_404(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        task_id = (await alice.new_task(source))["id"]
        path = f"/tasks/{task_id}/comments"
        answer = await self.meet_a_move(alice, database, task_id, target, "POST", path, {"body": "Hello"})
        comments = (await alice.get(path)).json()["comments"]
        assert (answer.status_code, len(comments)) in {(201, 1), (404, 0)}

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_a_change_that_meets_a_move_is_stored_or_404(
        self, alice: Person, source: int, target: int, database: Database, method: str
    ) -> None:
        task_id = (await alice.new_task(source, title="Old"))["id"]
        path = f"/tasks/{task_id}"
        answer = await self.meet_a_move(alice, database, task_id, target, method, path, {"title": "New"})
        title = (await alice.get(path)).json()["title"]
        assert (answer.status_code, title) in {(200, "New"), (404, "Old")}

    async def test_a_deletion_that_meets_a_move_is_done_or_404(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        task_id = (await alice.new_task(source))["id"]
        answer = await self.meet_a_move(alice, database, task_id, target, "DELETE", f"/tasks/{task_id}", None)
        left = await fetch_all(database, "SELECT project_id FROM tasks")
        assert (answer.status_code, left) in ((204, []), (404, [{"project_id": target}]))

    async def test_many_moves_at_once_leave_one_task_in_one_project(self, alice: Person, database: Database) -> None:
        projects = [await alice.new_project(f"Project {n}") for n in range(4)]
        task_id = (await alice.new_task(projects[0]))["id"]
        await alice.post(f"/tasks/{task_id}/comments", {"body": "Hello"})
        for _ in range(ROUNDS):
            moves = [alice.patch(f"/tasks/{task_id}", {"project_id": p}, expect=None) for p in projects * 3]
            answers = await asyncio.gather(*moves)
            assert {answer.status_code for answer in answers} <= {200, 404}
            rows = await fetch_all(database, "SELECT project_id, id FROM tasks")
            assert [row["id"] for row in rows] == [task_id]
            comments = await fetch_all(database, "SELECT project_id FROM comments")
            assert comments == [{"project_id": rows[0]["project_id"]}]
        events = await events_of(database, "task", task_id)
        moved = [event for event in events if event["action"].startswith("moved")]
        versions = [event["version"] for event in moved if event["action"] == "moved_in"]
        assert versions == sorted(set(versions)), "two moves have the same version"
        assert sorted(event["version"] for event in moved if event["action"] == "moved_out") == versions

    async def test_a_target_deleted_meanwhile_is_404_and_nothing_moves(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        task = await alice.new_task(source)
        async with open_transaction(database) as session:
            for table in ("events", "project_members"):
                await session.execute(text(f"DELETE FROM {table} WHERE project_id = {target}"))
            await session.execute(text(f"DELETE FROM projects WHERE id = {target}"))
            moving = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"project_id": target}, expect=None))
            await asyncio.wait([moving], timeout=0.3)
        answer = await moving
        assert answer.status_code == 404, answer.text
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_two_who_swap_two_tasks_at_once_never_fail(
        self, sign_up: SignUp, alice: Person, bob: Person, source: int, target: int
    ) -> None:
        for project_id in (source, target):
            await share(alice, project_id, bob)
        first, second = await alice.new_task(source), await alice.new_task(target)
        for number in range(ROUNDS):
            there, here = (target, source) if number % 2 == 0 else (source, target)
            answers = await asyncio.gather(
                alice.patch(f"/tasks/{first['id']}", {"project_id": there}),
                bob.patch(f"/tasks/{second['id']}", {"project_id": here}),
            )
            assert [answer.json()["project_id"] for answer in answers] == [there, here]

"""Moving a task to another project: its id and comments stay, nobody sees more than they may."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.rows import digests, fetch_all

ROUNDS = 10


@pytest.fixture
async def source(alice: Person) -> int:
    """Where the task is."""
    return await alice.new_project("Source")


@pytest.fixture
async def target(alice: Person) -> int:
    """Where it goes."""
    return await alice.new_project("Target")


async def share(owner: Person, project_id: int, person: Person, role: str = "editor") -> None:
    """Make somebody a member."""
    await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})


def kind(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    return str(response.json()["type"]).removeprefix("urn:taskmanager:problem:")


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
        assert events["moved_out"] == {**common, "project_id": source, "action": "moved_out", "changes": {}}
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
        async with database.transaction() as session:
            parameters = {"project_id": target, "user_id": bob.id}
            await session.execute(
                text("DELETE FROM project_members WHERE project_id = :project_id AND user_id = :user_id"), parameters
            )
            moving = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"project_id": target}, expect=None))
            await asyncio.wait([moving], timeout=0.3)
        answer = await moving
        assert answer.status_code == 200, answer.text
        assert (answer.json()["project_id"], answer.json()["assignee_id"]) == (target, None)


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
                assert kind(answer) == problem
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
        assert kind(answer) == "project-archived"
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
        async with database.transaction() as session:
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
        async with database.transaction() as session:
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

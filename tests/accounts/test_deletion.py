"""Deleting one's account: what goes, what stays, and who has to be handed over first."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person, SignUp
from tests.support.credentials import API, log_in, new_key
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.rows import digests, dump, fetch_all, fetch_one
from tests.support.sessions import open_transaction

DELETE = "/users/me/delete"
GOOD = {"password": PASSWORD}


async def share(owner: Person, project_id: int, member: Person, role: str = "editor") -> None:
    """Add somebody to a project."""
    await owner.post(f"/projects/{project_id}/members", {"username": member.username, "role": role})


class TestRefusal:
    """What keeps an account."""

    @pytest.mark.parametrize("password", ["wrong", "", PASSWORD.upper(), "x" * 129])
    async def test_a_wrong_password_is_403_and_changes_nothing(
        self, alice: Person, database: Database, password: str
    ) -> None:
        before = await digests(database)
        answer = await alice.post(DELETE, {"password": password}, expect=403)
        assert answer.json()["type"] == "/docs/problems#wrong-password"
        assert await digests(database) == before

    @pytest.mark.parametrize("body", [{}, {"password": None}, {"password": "x" * 1281}, {**GOOD, "user_id": 1}, []])
    async def test_a_body_without_the_password_is_422(self, alice: Person, database: Database, body: Any) -> None:
        before = await digests(database)
        await alice.post(DELETE, body, expect=422)
        assert await digests(database) == before

    async def test_shared_projects_without_another_owner_are_409_naming_each(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        alone, first, second, handed_over = [await alice.new_project(f"Project {n}") for n in range(4)]
        await share(alice, first, bob, "viewer")
        await share(alice, second, bob, "editor")
        await share(alice, handed_over, bob, "owner")
        before = await digests(database)
        answer = await alice.post(DELETE, GOOD, expect=409)
        problem = answer.json()
        assert problem["type"] == "/docs/problems#owns-shared-projects"
        assert problem["projects"] == [{"id": first, "name": "Project 1"}, {"id": second, "name": "Project 2"}]
        assert "Project 1" in problem["detail"]
        assert "Project 2" in problem["detail"]
        assert "Project 0" not in problem["detail"]
        assert await digests(database) == before
        # Every credential is as good as before.
        await alice.get(f"/projects/{alone}")

    async def test_an_archived_shared_project_counts_too(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        await share(alice, project_id, bob)
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        before = await digests(database)
        await alice.post(DELETE, GOOD, expect=409)
        assert await digests(database) == before

    async def test_handed_over_the_account_can_go(self, alice: Person, bob: Person) -> None:
        project_id = await alice.new_project()
        await share(alice, project_id, bob)
        await alice.post(DELETE, GOOD, expect=409)
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "owner"})
        await alice.post(DELETE, GOOD, expect=204)
        members = (await bob.get(f"/projects/{project_id}/members")).json()["members"]
        assert [(member["user_id"], member["role"]) for member in members] == [(bob.id, "owner")]


class TestAfter:
    """What is left of somebody who worked with others."""

    @pytest.fixture
    async def shared(self, alice: Person, bob: Person) -> int:
        """A project of Bob's that Alice works in."""
        project_id = await bob.new_project("Shared")
        await share(bob, project_id, alice)
        return project_id

    async def test_the_row_is_anonymous(self, alice: Person, database: Database) -> None:
        answer = await alice.post(DELETE, GOOD, expect=204)
        assert answer.content == b""
        row = await fetch_one(database, "SELECT * FROM users WHERE id = :id", id=alice.id)
        assert (row["username"], row["email"], row["password_hash"]) == (None, None, None)
        assert (row["disabled"], row["is_admin"], row["deleted_at"] is None) == (True, False, False)
        rows = await dump(database)
        assert "alice" not in rows.lower()

    async def test_name_and_address_are_free_again(
        self, alice: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        await alice.post(DELETE, GOOD, expect=204)
        account = {"username": "Alice", "email": "alice@example.com", "password": PASSWORD}
        answer = await client.post(f"{API}/users", json=account)
        assert answer.status_code == 201
        assert answer.json()["id"] != alice.id
        me = await client.get(f"{API}/users/me", headers=(await log_in(client, "alice")).headers)
        assert me.json() == answer.json()

    async def test_two_deleted_accounts_do_not_collide(self, alice: Person, bob: Person, database: Database) -> None:
        for person in (alice, bob):
            await person.post(DELETE, GOOD, expect=204)
        rows = await fetch_all(database, "SELECT username FROM users")
        assert [row["username"] for row in rows] == [None, None]

    async def test_logins_and_keys_are_gone(
        self, alice: Person, bob: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        for person in (alice, bob):
            await log_in(client, person.username)
            await new_key(person, "tasks:read")
        await alice.post(DELETE, GOOD, expect=204)
        for table in ("sessions", "api_keys"):
            rows = await fetch_all(database, f"SELECT DISTINCT user_id FROM {table}")
            assert [row["user_id"] for row in rows] == [bob.id]

    async def test_unshared_projects_go_with_everything_in_them(
        self, alice: Person, bob: Person, shared: int, database: Database
    ) -> None:
        own = await alice.new_project()
        tasks = [(await alice.new_task(project_id))["id"] for project_id in (alice.inbox_id, own)]
        for task_id in tasks:
            await alice.post(f"/tasks/{task_id}/comments", {"body": "Hello"})
        kept = await bob.new_task(shared)
        await alice.post(DELETE, GOOD, expect=204)
        rows = await fetch_all(database, "SELECT id FROM projects ORDER BY id")
        assert [row["id"] for row in rows] == sorted([bob.inbox_id, shared])
        assert [row["id"] for row in await fetch_all(database, "SELECT id FROM tasks")] == [kept["id"]]
        assert await fetch_all(database, "SELECT id FROM comments") == []
        for project_id in (alice.inbox_id, own):
            events = await fetch_all(
                database, "SELECT entity, action FROM events WHERE project_id = :id ORDER BY xid, id", id=project_id
            )
            assert events[-2:] == [
                {"entity": "member", "action": "removed"},
                {"entity": "project", "action": "deleted"},
            ]

    async def test_memberships_are_gone_and_logged(
        self, alice: Person, bob: Person, shared: int, database: Database
    ) -> None:
        await alice.post(DELETE, GOOD, expect=204)
        members = (await bob.get(f"/projects/{shared}/members")).json()["members"]
        assert [member["user_id"] for member in members] == [bob.id]
        assert await fetch_all(database, "SELECT * FROM project_members WHERE user_id = :id", id=alice.id) == []
        assert (await events_of(database, "member", alice.id))[-1] == {
            "project_id": shared,
            "actor_id": alice.id,
            "version": 2,
            "action": "removed",
            "changes": {"role": {"old": "editor", "new": None}},
        }

    async def test_tasks_stay_without_creator_and_assignee(
        self, alice: Person, bob: Person, shared: int, database: Database
    ) -> None:
        theirs = await alice.new_task(shared, title="Theirs", assignee_id=alice.id)
        assigned = await bob.new_task(shared, title="Assigned", assignee_id=alice.id)
        other = await bob.new_task(shared, title="Other", assignee_id=bob.id)
        await alice.post(DELETE, GOOD, expect=204)
        after = (await bob.get(f"/tasks/{theirs['id']}")).json()
        assert (after["title"], after["created_by"], after["assignee_id"]) == ("Theirs", None, None)
        for task in (theirs, assigned):
            after = (await bob.get(f"/tasks/{task['id']}")).json()
            assert (after["assignee_id"], after["version"]) == (None, task["version"] + 1)
            assert after["updated_at"] > task["updated_at"]
            assert (await events_of(database, "task", task["id"]))[1] == {
                "project_id": shared,
                "actor_id": alice.id,
                "version": task["version"] + 1,
                "action": "updated",
                "changes": {"assignee_id": {"old": alice.id, "new": None}},
            }
        assert (await bob.get(f"/tasks/{other['id']}")).json() == other

    async def test_comments_stay_without_author_and_only_owners_change_them(
        self, alice: Person, bob: Person, shared: int, sign_up: SignUp
    ) -> None:
        carol = await sign_up("carol")
        await share(bob, shared, carol)
        task_id = (await bob.new_task(shared))["id"]
        comment = (await alice.post(f"/tasks/{task_id}/comments", {"body": "Hello"})).json()
        assert comment["author"] == {"id": alice.id, "username": "alice", "display_name": None}
        await alice.post(DELETE, GOOD, expect=204)
        path = f"/tasks/{task_id}/comments/{comment['id']}"
        after = (await bob.get(path)).json()
        assert (after["author"], after["body"]) == (None, "Hello")
        (listed,) = (await bob.get(f"/tasks/{task_id}/comments")).json()["comments"]
        assert listed["author"] is None
        await carol.patch(path, {"body": "Changed"}, expect=403)
        assert (await bob.patch(path, {"body": "Changed"})).json()["author"] is None

    async def test_works_in_an_archived_project_of_another(
        self, alice: Person, bob: Person, shared: int, database: Database
    ) -> None:
        task = await bob.new_task(shared, assignee_id=alice.id)
        await bob.patch(f"/projects/{shared}", {"archived": True})
        await alice.post(DELETE, GOOD, expect=204)
        assert (await bob.get(f"/tasks/{task['id']}")).json()["assignee_id"] is None

    async def test_a_key_with_the_scope_can_do_it(self, alice: Person, client: httpx.AsyncClient) -> None:
        key = await new_key(alice, "account")
        answer = await client.post(f"{API}{DELETE}", json=GOOD, headers=key.in_header)
        assert answer.status_code == 204
        await alice.get("/users/me", expect=401)

    async def test_administrators_list_it_no_more(
        self, alice: Person, client: httpx.AsyncClient, sign_up: SignUp
    ) -> None:
        key = await new_key(await sign_up("administrator", is_admin=True), "admin")
        await alice.post(DELETE, GOOD, expect=204)
        listed = await client.get(f"{API}/admin/users", headers=key.in_header)
        assert [user["username"] for user in listed.json()["users"]] == ["administrator"]
        for action in ("disable", "enable"):
            answer = await client.post(f"{API}/admin/users/{alice.id}/{action}", headers=key.in_header)
            assert answer.status_code == 404


class TestAtOnce:
    """Deleting an account while others work with it."""

    async def test_twice_at_once(self, alice: Person, database: Database) -> None:
        answers = await asyncio.gather(*(alice.post(DELETE, GOOD, expect=None) for _ in range(5)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 204
        assert set(statuses[1:]) <= {401, 403}
        assert (await fetch_one(database, "SELECT count(*) AS n FROM users WHERE deleted_at IS NOT NULL"))["n"] == 1

    async def test_the_two_owners_of_a_project_with_a_third_member(
        self, alice: Person, bob: Person, sign_up: SignUp, database: Database
    ) -> None:
        carol = await sign_up("carol")
        project_id = await alice.new_project()
        await share(alice, project_id, bob, "owner")
        await share(alice, project_id, carol, "viewer")
        answers = await asyncio.gather(*(person.post(DELETE, GOOD, expect=None) for person in (alice, bob)))
        assert sorted(answer.status_code for answer in answers) == [204, 409]
        rows = await fetch_all(database, "SELECT role FROM project_members WHERE project_id = :id", id=project_id)
        assert sorted(row["role"] for row in rows) == ["owner", "viewer"]

    async def test_whoever_adds_the_person_meanwhile_adds_nobody(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        project_id = await bob.new_project()
        async with open_transaction(database) as session:
            # The deletion has emptied the user's row and waits for a membership; then Bob adds that user.
            await session.execute(
                text("SELECT role FROM project_members WHERE user_id = :id FOR UPDATE"), {"id": alice.id}
            )
            deletion = asyncio.create_task(alice.post(DELETE, GOOD, expect=None))
            await until_blocked(database)
            body = {"username": "alice", "role": "editor"}
            adding = asyncio.create_task(bob.post(f"/projects/{project_id}/members", body, expect=None))
            await asyncio.wait([adding], timeout=0.3)
        assert (await deletion).status_code == 204
        assert (await adding).status_code in {201, 404}
        members = (await bob.get(f"/projects/{project_id}/members")).json()["members"]
        assert [member["user_id"] for member in members] == [bob.id]

    async def test_a_task_that_the_person_writes_meanwhile_names_nobody(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        project_id = await bob.new_project()
        await share(bob, project_id, alice)
        async with open_transaction(database) as session:
            await session.execute(
                text("SELECT role FROM project_members WHERE user_id = :id FOR UPDATE"), {"id": alice.id}
            )
            # The request is under way: its credential was good when it came.
            deletion = asyncio.create_task(alice.post(DELETE, GOOD, expect=None))
            await until_blocked(database)
            body = {"title": "A task", "project_id": project_id}
            writing = asyncio.create_task(alice.post("/tasks", body, expect=None))
            await asyncio.wait([writing], timeout=0.3)
        assert (await deletion).status_code == 204
        assert (await writing).status_code in {201, 401, 404}
        tasks = (await bob.get(f"/projects/{project_id}/tasks")).json()["tasks"]
        assert [task["created_by"] for task in tasks] in ([], [None])

    async def test_a_login_under_way_is_no_login(
        self, alice: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        async with open_transaction(database) as session:
            await session.execute(
                text("SELECT role FROM project_members WHERE user_id = :id FOR UPDATE"), {"id": alice.id}
            )
            deletion = asyncio.create_task(alice.post(DELETE, GOOD, expect=None))
            await until_blocked(database)
            form = {"username": "alice", "password": PASSWORD}
            login = asyncio.create_task(client.post(f"{API}/token", data=form))
            await asyncio.wait([login], timeout=0.3)
        assert (await deletion).status_code == 204
        answer = await login
        if answer.status_code == 200:
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            assert (await client.get(f"{API}/users/me", headers=headers)).status_code == 401
        else:
            assert answer.status_code == 401

    async def test_the_password_changed_meanwhile_keeps_the_account(self, alice: Person, database: Database) -> None:
        async with open_transaction(database) as session:
            await session.execute(text("SELECT id FROM users WHERE id = :id FOR UPDATE"), {"id": alice.id})
            deletion = asyncio.create_task(alice.post(DELETE, GOOD, expect=None))
            await until_blocked(database)
            await session.execute(text("UPDATE users SET password_hash = 'another'"))
        assert (await deletion).status_code == 403
        await alice.get("/users/me")

"""Idempotency-Key: a POST that is sent again has its effect once, and its answer again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from taskmanager.database.database import Database
from taskmanager.idempotency.store import RequestIdentity
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import PASSWORD, Person, SignUp, make_settings
from tests.support.applications import started
from tests.support.credentials import API, log_in, new_key
from tests.support.event_log import count_rows
from tests.support.locks import until_blocked
from tests.support.rows import digests, execute, fetch_all, fetch_one
from tests.support.storms import backends_killed, effects_missing_or_repeated, send_copies

KINDS = ("task", "project task", "project", "member", "comment", "bulk", "all notifications", "one notification")
WITH_BODY = KINDS[:-2]
MALFORMED = ("", " ", '""', '"abc', 'abc"x y', "a b", '"a"b"', '"a\\b"', "x" * 256, f'"{"x" * 257}"', "a\tb", "käse")


@dataclass(frozen=True)
class Post:
    """A POST that stores its answer."""

    path: str
    body: Any = None
    status: int = 201
    other_body: Any = None

    async def send(self, person: Person, key: str | None = "a-key", expect: int | None = -1) -> httpx.Response:
        """Send it with a key."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return await person.post(self.path, self.body, self.status if expect == -1 else expect, headers=headers)


async def make_post(kind: str, owner: Person, other: Person) -> Post:
    """Prepare a POST of Alice's in a project of her own, to which the other person does not belong."""
    project_id = await owner.new_project()
    tasks = f"/projects/{project_id}/tasks"
    match kind:
        case "task":
            body = {"title": "Once", "project_id": project_id}
            return Post("/tasks", body, other_body={**body, "title": "Twice"})
        case "project task":
            return Post(tasks, {"title": "Once"}, other_body={"title": "Twice"})
        case "project":
            return Post("/projects", {"name": "Once"}, other_body={"name": "Twice"})
        case "member":
            body = {"username": other.username, "role": "viewer"}
            return Post(f"/projects/{project_id}/members", body, other_body={**body, "role": "editor"})
        case "comment":
            task_id = (await owner.new_task(project_id))["id"]
            return Post(f"/tasks/{task_id}/comments", {"body": "Once"}, other_body={"body": "Twice"})
        case "bulk":
            new = {"title": "Once", "project_id": project_id}
            return Post("/tasks/bulk", {"tasks": [new]}, other_body={"tasks": [new, new]})
    await owner.post(f"/projects/{project_id}/members", {"username": other.username, "role": "editor"})
    await other.new_task(project_id, assignee_id=owner.id)
    told = (await owner.get("/notifications")).json()["notifications"]
    path = "/notifications/read" if kind == "all notifications" else f"/notifications/{told[0]['id']}/read"
    return Post(path, status=204)


@pytest.fixture(params=KINDS)
async def post(request: pytest.FixtureRequest, alice: Person, bob: Person) -> Post:
    """One of each kind, as Alice sends it."""
    return await make_post(request.param, alice, bob)


async def keys_of(database: Database) -> list[str]:
    """Return the keys that are stored."""
    return [row["key"] for row in await fetch_all(database, "SELECT key FROM idempotency_keys ORDER BY key")]


def kind_of(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    return str(response.json()["type"]).removeprefix("urn:taskmanager:problem:")


class TestReplay:
    """The same request again."""

    async def test_is_answered_as_before_and_does_nothing(self, alice: Person, post: Post, database: Database) -> None:
        first = await post.send(alice)
        assert "Idempotency-Replayed" not in first.headers
        before = await digests(database)
        for _ in range(2):
            again = await post.send(alice)
            assert again.headers["Idempotency-Replayed"] == "true"
            assert (again.status_code, again.content) == (first.status_code, first.content)
            for name in ("Location", "ETag", "Content-Type", "Content-Length"):
                assert again.headers.get(name) == first.headers.get(name), name
            assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
        assert await digests(database) == before

    @pytest.mark.parametrize("kind", ["task", "project task", "project", "comment"])
    async def test_keeps_where_it_is_and_its_tag_although_it_changed_since(
        self, alice: Person, bob: Person, kind: str
    ) -> None:
        post = await make_post(kind, alice, bob)
        first = await post.send(alice)
        field = next(name for name in ("title", "name", "body") if name in first.json())
        changed = await alice.client.patch(first.headers["Location"], json={field: "Changed"})
        assert changed.headers["ETag"] == '"2"'
        again = await post.send(alice)
        assert (again.json(), again.headers["ETag"]) == (first.json(), '"1"')
        assert (await alice.client.get(again.headers["Location"])).json() == changed.json()

    async def test_of_marking_all_as_read_leaves_what_came_since_unread(self, alice: Person, bob: Person) -> None:
        post = await make_post("all notifications", alice, bob)
        await post.send(alice)
        project_id = (await alice.get("/notifications")).json()["notifications"][0]["project_id"]
        await bob.new_task(project_id, assignee_id=alice.id)
        await post.send(alice)
        assert (await alice.get("/notifications")).json()["unread"] == 1
        await post.send(alice, "another-key")
        assert (await alice.get("/notifications")).json()["unread"] == 0

    async def test_without_a_key_it_is_another_request(self, alice: Person, database: Database) -> None:
        for _ in range(2):
            answer = await Post("/tasks", {"title": "Again"}).send(alice, None)
            assert "Idempotency-Replayed" not in answer.headers
        assert await count_rows(database, "tasks") == 2
        assert await keys_of(database) == []

    async def test_a_key_that_stands_in_the_store_is_not_given_to_other_methods(
        self, alice: Person, database: Database
    ) -> None:
        task = await alice.new_task()
        headers = {"Idempotency-Key": "a-key"}
        for title in ("One", "Two"):
            changed = await alice.patch(f"/tasks/{task['id']}", {"title": title}, headers=headers)
            assert changed.json()["title"] == title
        await alice.delete(f"/tasks/{task['id']}", headers=headers)
        assert await keys_of(database) == []

    async def test_with_an_api_key_of_the_same_person_is_the_same(self, alice: Person) -> None:
        first = await Post("/tasks", {"title": "Once"}).send(alice)
        key = await new_key(alice, "tasks:write")
        headers = {"Idempotency-Key": "a-key", **key.in_header}
        again = await alice.post("/tasks", {"title": "Once"}, headers=headers)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")

    async def test_with_an_api_key_without_the_scope_is_403(self, alice: Person) -> None:
        await Post("/tasks", {"title": "Once"}).send(alice)
        key = await new_key(alice, "tasks:read")
        headers = {"Idempotency-Key": "a-key", **key.in_header}
        assert kind_of(await alice.post("/tasks", {"title": "Once"}, 403, headers=headers)) == "scope-missing"


class TestAnotherRequest:
    """What is not the same request."""

    @pytest.mark.parametrize("kind", WITH_BODY)
    async def test_another_body_is_422_and_does_nothing(
        self, alice: Person, bob: Person, kind: str, database: Database
    ) -> None:
        post = await make_post(kind, alice, bob)
        first = await post.send(alice)
        before = await digests(database)
        refused = await replace(post, body=post.other_body).send(alice, expect=422)
        assert kind_of(refused) == "idempotency-key-reused"
        assert await digests(database) == before
        assert (await post.send(alice)).content == first.content

    async def test_the_same_key_of_somebody_else_is_independent(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        post = Post("/tasks", {"title": "Once"})
        ids = {(await post.send(person)).json()["id"] for person in (alice, bob, alice, bob)}
        assert len(ids) == await count_rows(database, "tasks") == 2

    async def test_the_same_key_at_another_path_is_independent(self, alice: Person, database: Database) -> None:
        first, second = await alice.new_project(), await alice.new_project()
        for path in ("/tasks", f"/projects/{first}/tasks", f"/projects/{second}/tasks"):
            answer = await Post(path, {"title": "Once"}).send(alice)
            assert "Idempotency-Replayed" not in answer.headers
        assert await count_rows(database, "tasks") == 3

    async def test_another_key_is_another_request(self, alice: Person, database: Database) -> None:
        for key in ("a", "b", "A", "a'"):
            assert "Idempotency-Replayed" not in (await Post("/tasks", {"title": "Once"}).send(alice, key)).headers
        assert await count_rows(database, "tasks") == 4


class TestHeader:
    """How a key may be written."""

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("abc", '"abc"'),
            ("550e8400-e29b-41d4-a716-446655440000", '"550e8400-e29b-41d4-a716-446655440000"'),
            ('a"b', '"a\\"b"'),
            ("a\\b", '"a\\\\b"'),
            ("x" * 255, f'"{"x" * 255}"'),
            ("!", '"!"'),
        ],
        ids=lambda key: key[:20],
    )
    async def test_bare_and_quoted_are_the_same_key(self, alice: Person, first: str, second: str) -> None:
        post = Post("/tasks", {"title": "Once"})
        created = await post.send(alice, first)
        again = await post.send(alice, second)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (created.json(), "true")

    async def test_a_quoted_one_may_have_spaces(self, alice: Person, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        for key in ('"a key"', '" "', '"a  key"'):
            await post.send(alice, key)
        assert await keys_of(database) == [" ", "a  key", "a key"]

    async def test_any_other_is_400_even_to_a_stranger(
        self, alice: Person, client: httpx.AsyncClient, post: Post, database: Database
    ) -> None:
        before = await digests(database)
        for malformed in MALFORMED:
            for asking in (alice.client, client):
                headers = {b"Idempotency-Key": malformed.encode("latin-1")}
                answer = await asking.post(f"{API}{post.path}", json=post.body, headers=headers)
                assert (answer.status_code, kind_of(answer)) == (400, "malformed-header"), malformed
                assert "Idempotency-Key" in answer.json()["detail"]
        assert await digests(database) == before


class TestRunning:
    """The same request while the first is still at work."""

    async def test_is_409_at_once_and_replayed_afterwards(self, alice: Person, bob: Person, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        async with database.transaction() as session:
            # A new task waits for its project's row.
            await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": alice.inbox_id})
            first = asyncio.create_task(post.send(alice))
            await until_blocked(database)
            refused = await post.send(alice, expect=409)
            assert (kind_of(refused), refused.headers["Retry-After"]) == ("idempotency-key-in-use", "1")
            assert (await replace(post, body={"title": "Other"}).send(alice, expect=409)).status_code == 409
            # Nobody else has to wait for it.
            await post.send(bob)
            await Post("/projects", {"name": "Once"}).send(alice)
        created = await first
        again = await post.send(alice)
        assert (again.content, again.headers["Idempotency-Replayed"]) == (created.content, "true")

    async def test_is_409_for_every_kind(self, alice: Person, post: Post, database: Database) -> None:
        identity = RequestIdentity(alice.id, "POST", f"{API}{post.path}", "a-key", b"")
        async with database.transaction() as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": identity.lock_id})
            before = await digests(database)
            assert kind_of(await post.send(alice, expect=409)) == "idempotency-key-in-use"
            assert await digests(database) == before
        await post.send(alice)

    async def test_copies_of_an_answered_one_do_not_get_in_each_others_way(
        self, alice: Person, database: Database
    ) -> None:
        post = Post("/tasks", {"title": "Once"})
        created = await post.send(alice)
        identity = RequestIdentity(alice.id, "POST", f"{API}{post.path}", "a-key", b"")
        async with database.transaction() as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": identity.lock_id})
            assert (await post.send(alice)).content == created.content
        answers = await asyncio.gather(*(post.send(alice) for _ in range(20)))
        assert {answer.content for answer in answers} == {created.content}

    async def test_of_fifty_at_once_one_is_executed(self, alice: Person, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        answers = await asyncio.gather(*(post.send(alice, expect=None) for _ in range(50)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        executed = [a for a in answers if a.status_code == 201 and "Idempotency-Replayed" not in a.headers]
        assert len(executed) == await count_rows(database, "tasks") == 1


class TestRefusal:
    """A refusal is not stored: the same request may succeed later."""

    async def _refused_then_done(self, person: Person, post: Post, status: int, database: Database) -> None:
        headers = {"Idempotency-Key": "a-key"}
        for _ in range(2):
            refused = await person.post(post.path, post.body, status, headers=headers)
            assert "Idempotency-Replayed" not in refused.headers
        assert await keys_of(database) == []

    async def test_404(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        post = Post("/tasks", {"title": "Once", "project_id": project_id})
        await self._refused_then_done(bob, post, 404, database)
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
        assert "Idempotency-Replayed" not in (await post.send(bob)).headers

    async def test_403_for_a_role(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
        post = Post(f"/projects/{project_id}/tasks", {"title": "Once"})
        await self._refused_then_done(bob, post, 403, database)
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "editor"})
        assert "Idempotency-Replayed" not in (await post.send(bob)).headers

    async def test_422(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        post = Post(f"/projects/{project_id}/tasks", {"title": "Once", "assignee_id": bob.id})
        await self._refused_then_done(alice, post, 422, database)
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
        assert "Idempotency-Replayed" not in (await post.send(alice)).headers

    async def test_422_of_a_body_that_cannot_be_accepted(self, alice: Person, database: Database) -> None:
        await self._refused_then_done(alice, Post("/tasks", {"title": ""}), 422, database)
        await Post("/tasks", {"title": "Once"}).send(alice)

    async def test_409(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        post = Post(f"/projects/{project_id}/tasks", {"title": "Once"})
        await self._refused_then_done(alice, post, 409, database)
        await alice.patch(f"/projects/{project_id}", {"archived": False})
        assert "Idempotency-Replayed" not in (await post.send(alice)).headers

    async def test_401(self, alice: Person, client: httpx.AsyncClient, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        await self._refused_then_done(replace(alice, client=client), post, 401, database)
        await post.send(alice)

    async def test_503(self, alice: Person, database_url: str, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        app = create_app(make_settings(database_url=database_url, database_lock_timeout_ms=100))
        async with started(app) as client:
            client.headers["Authorization"] = f"Bearer {alice.token}"
            async with database.transaction() as session:
                await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": alice.inbox_id})
                await self._refused_then_done(replace(alice, client=client), post, 503, database)
            assert "Idempotency-Replayed" not in (await post.send(replace(alice, client=client))).headers


class TestCredentials:
    """Answers that hold secrets are never stored."""

    async def test_nothing_is_stored(self, alice: Person, client: httpx.AsyncClient, database: Database) -> None:
        headers = {"Idempotency-Key": "a-key"}
        account = {"username": "carol", "email": "carol@example.com", "password": PASSWORD}
        assert (await client.post(f"{API}/users", json=account, headers=headers)).status_code == 201
        assert (await client.post(f"{API}/users", json=account, headers=headers)).status_code == 409
        form = {"username": "carol", "password": PASSWORD}
        logins = [await client.post(f"{API}/token", data=form, headers=headers) for _ in range(2)]
        assert logins[0].json() != logins[1].json()
        spent = {"refresh_token": logins[0].json()["refresh_token"]}
        assert (await client.post(f"{API}/token/refresh", json=spent, headers=headers)).status_code == 200
        assert (await client.post(f"{API}/token/revoke", json=spent, headers=headers)).status_code == 204
        body = {"name": "A key", "scopes": ["tasks:read"]}
        keys = {(await alice.post("/users/me/api-keys", body, headers=headers)).json()["key"] for _ in range(2)}
        assert len(keys) == 2
        new = "another " + PASSWORD
        change = {"current_password": PASSWORD, "new_password": new, "confirm_password": new}
        await alice.post("/users/me/password", change, 204, headers=headers)
        await alice.post("/users/me/password", change, 403, headers=headers)
        tokens = await log_in(client, "carol")
        deletion = await client.post(
            f"{API}/users/me/delete", json={"password": PASSWORD}, headers={**headers, **tokens.headers}
        )
        assert deletion.status_code == 204
        assert await keys_of(database) == []

    async def test_deleting_an_account_deletes_its_stored_answers(self, alice: Person, database: Database) -> None:
        await Post("/tasks", {"title": "Once"}).send(alice)
        await alice.post("/users/me/delete", {"password": PASSWORD}, 204)
        assert await keys_of(database) == []


class TestRights:
    """What one may not see any more is not told again either."""

    @pytest.mark.parametrize("kind", WITH_BODY)
    async def test_after_removal_it_is_404(self, alice: Person, bob: Person, sign_up: SignUp, kind: str) -> None:
        post, project_id = await self._sent_by_an_owner(kind, alice, bob, await sign_up("carol"))
        await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        assert kind_of(await post.send(bob, expect=404)) == "not-found"

    @pytest.mark.parametrize("kind", WITH_BODY)
    @pytest.mark.parametrize("role", ["editor", "viewer"])
    async def test_after_a_downgrade_it_needs_the_role_that_the_request_needs(
        self, alice: Person, bob: Person, sign_up: SignUp, kind: str, role: str
    ) -> None:
        post, project_id = await self._sent_by_an_owner(kind, alice, bob, await sign_up("carol"))
        members = f"/projects/{project_id}/members/{bob.id}"
        await alice.put(members, {"role": role})
        # Who made a project may always read what they made; only owners add members.
        allowed = kind == "project" or (kind != "member" and role == "editor")
        answer = await post.send(bob, expect=201 if allowed else 403)
        if not allowed:
            assert kind_of(answer) == "role-too-low"
        await alice.put(members, {"role": "owner"})
        assert (await post.send(bob)).headers["Idempotency-Replayed"] == "true"

    async def test_after_the_project_is_gone_it_is_404(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        post = Post(f"/projects/{project_id}/tasks", {"title": "Once"})
        await post.send(alice)
        await alice.delete(f"/projects/{project_id}")
        await post.send(alice, expect=404)
        assert await count_rows(database, "tasks") == 0

    async def test_after_a_logout_it_is_401(self, alice: Person, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        await post.send(alice)
        await execute(database, "UPDATE sessions SET revoked_at = now()")
        await post.send(alice, expect=401)

    @staticmethod
    async def _sent_by_an_owner(kind: str, alice: Person, bob: Person, carol: Person) -> tuple[Post, int]:
        """Bob, an owner beside Alice, sends the request once."""
        post = await make_post(kind, alice, carol)
        if kind == "project":
            project_id = int((await post.send(bob)).json()["id"])
            await bob.post(f"/projects/{project_id}/members", {"username": "alice", "role": "owner"})
            return post, project_id
        newest = (await alice.get("/projects")).json()["projects"][-1]
        project_id = int(newest["id"])
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "owner"})
        await post.send(bob)
        return post, project_id


class TestExpiry:
    """Keys are kept for 24 hours."""

    async def _age(self, database: Database, interval: str) -> None:
        await execute(
            database, "UPDATE idempotency_keys SET created_at = now() - CAST(:age AS text)::interval", age=interval
        )

    async def test_until_then_it_is_replayed(self, alice: Person, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        await post.send(alice)
        await self._age(database, "23 hours 59 minutes")
        assert (await post.send(alice)).headers["Idempotency-Replayed"] == "true"

    async def test_afterwards_it_is_executed_and_stored_again(self, alice: Person, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        first = await post.send(alice)
        await self._age(database, "24 hours 1 second")
        second = await post.send(alice)
        assert "Idempotency-Replayed" not in second.headers
        assert second.json()["id"] != first.json()["id"]
        third = await post.send(alice)
        assert (third.json(), third.headers["Idempotency-Replayed"]) == (second.json(), "true")
        assert await count_rows(database, "tasks") == 2
        assert await keys_of(database) == ["a-key"]

    async def test_afterwards_another_body_is_fine(self, alice: Person, database: Database) -> None:
        await Post("/tasks", {"title": "Once"}).send(alice)
        await self._age(database, "24 hours 1 second")
        other = Post("/tasks", {"title": "Other"})
        created = await other.send(alice)
        assert (await other.send(alice)).content == created.content

    async def test_new_keys_take_expired_ones_with_them(self, alice: Person, bob: Person, database: Database) -> None:
        for number in range(12):
            await Post("/projects", {"name": "Old"}).send(bob, f"old-{number}")
        await self._age(database, "24 hours 1 second")
        await Post("/projects", {"name": "Young"}).send(bob, "young")
        for number in range(3):
            await Post("/projects", {"name": "New"}).send(alice, f"new-{number}")
        assert await keys_of(database) == ["new-0", "new-1", "new-2", "young"]

    async def test_an_expired_key_that_another_request_purges_is_no_trouble(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        posts = {name: Post("/projects", {"name": name}) for name in ("a", "b", "c", "d")}
        for _ in range(5):
            await asyncio.gather(*(post.send(p, name) for name, post in posts.items() for p in (alice, bob)))
            await self._age(database, "24 hours 1 second")


class TestOneTransaction:
    """Effect and stored answer are committed together or not at all."""

    @pytest.fixture
    async def lonely(self, alice: Person, database_url: str) -> AsyncIterator[tuple[Person, Database]]:
        """Alice, at an application of her own, and its database."""
        app = create_app(make_settings(database_url=database_url))
        async with started(app) as client:
            client.headers["Authorization"] = f"Bearer {alice.token}"
            yield replace(alice, client=client), app.state.database

    async def _assert_nothing_then_once(self, person: Person, database: Database, post: Post) -> None:
        assert await count_rows(database, "tasks") == 0
        assert await keys_of(database) == []
        assert (await fetch_one(database, "SELECT count(*) FROM events WHERE entity = 'task'"))["count"] == 0
        assert "Idempotency-Replayed" not in (await post.send(person)).headers
        assert (await post.send(person)).headers["Idempotency-Replayed"] == "true"
        assert await count_rows(database, "tasks") == 1

    async def test_a_backend_killed_between_the_two_leaves_neither(self, alice: Person, database: Database) -> None:
        post = Post("/tasks", {"title": "Once"})
        async with database.reader() as killer, database.transaction() as session:
            # The task is there; storing the key waits for this one.
            await session.execute(
                text("""
                INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, headers, body)
                VALUES (:id, 'POST', '/api/v1/tasks', 'a-key', '', 201, '{}', '')
                """),
                {"id": alice.id},
            )
            sending = asyncio.create_task(post.send(alice, expect=503))
            await until_blocked(database)
            killed = await killer.execute(
                text("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                """)
            )
            assert len(killed.all()) == 1
            await sending
            await session.rollback()
        await self._assert_nothing_then_once(alice, database, post)

    async def test_a_backend_killed_before_commit_leaves_neither(
        self, lonely: tuple[Person, Database], database: Database
    ) -> None:
        person, own = lonely
        post = Post("/tasks", {"title": "Once"})
        killed = 0

        def kill(connection: Connection) -> None:
            nonlocal killed
            if not killed:
                killed = 1
                connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

        event.listen(own.engine.sync_engine, "commit", kill)
        assert (await post.send(person, expect=503)).headers["Retry-After"] == "1"
        assert killed
        await self._assert_nothing_then_once(person, database, post)

    async def test_one_lost_after_commit_is_told_on_a_retry(
        self, lonely: tuple[Person, Database], database: Database
    ) -> None:
        person, own = lonely
        post = Post("/tasks", {"title": "Once"})
        lost = 0

        def commit_and_fail(connection: Connection) -> None:
            nonlocal lost
            if not lost:
                lost = 1
                connection.exec_driver_sql("COMMIT")
                raise ConnectionResetError("nobody knows")

        event.listen(own.engine.sync_engine, "commit", commit_and_fail)
        await post.send(person, expect=503)
        again = await post.send(person)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await count_rows(database, "tasks") == 1
        assert (await person.client.get(again.headers["Location"])).json() == again.json()

    async def test_the_store_costs_three_statements(self, alice: Person, query_recorder: list[str]) -> None:
        post = Post("/tasks", {"title": "Once"})
        await post.send(alice)
        assert len(query_recorder) == 5  # authentication, lock, look-up, the task, the key
        query_recorder.clear()
        await post.send(alice)
        assert len(query_recorder) == 3


class TestStorm:
    """Parallel copies of many requests; the large one is under tests/long."""

    async def test_20_keys_with_50_copies_have_one_effect_each(
        self, alice: Person, database: Database, settings: Settings
    ) -> None:
        # Patient, so that a busy machine does not make it a test of time-outs.
        patience = {
            "database_connect_timeout_seconds": 20.0,
            "database_pool_wait_seconds": 5.0,
            "database_statement_timeout_ms": 20_000,
            "database_command_timeout_seconds": 25.0,
        }
        async with started(create_app(settings.model_copy(update=patience))) as client:
            client.headers.update(alice.client.headers)
            report = await send_copies(replace(alice, client=client), keys=20, copies=50)
        print(report)
        assert report.differing == await effects_missing_or_repeated(database, keys=20) == []
        assert report.statuses.keys() <= {201, 409}
        assert (report.executed, report.replayed) == (20, 20 * 49)

    async def test_also_while_backends_are_killed(self, alice: Person, database: Database, database_url: str) -> None:
        async with backends_killed(database_url, every_seconds=0.2, at_once=1) as killings:
            report = await send_copies(alice, keys=5, copies=50)
        print(report, killings)
        assert killings.count > 0
        assert report.differing == await effects_missing_or_repeated(database, keys=5) == []
        assert report.statuses.keys() <= {201, 409, 503}

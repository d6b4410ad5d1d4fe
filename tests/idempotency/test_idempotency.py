"""Idempotency-Key: a request that is sent again has its effect once, and its answer again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.accounts import request_writes
from taskmanager.accounts.request_writes import _RequestTransaction
from taskmanager.database.database import Database
from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from taskmanager.idempotency import kept_answers
from taskmanager.idempotency.header import RequestIdentity
from taskmanager.main import create_app
from taskmanager.roles import Role
from taskmanager.settings import Settings
from tests.conftest import PASSWORD, Person, SignUp, make_settings
from tests.support.applications import started
from tests.support.credentials import API, log_in, new_key
from tests.support.event_log import count_rows
from tests.support.keyed_writes import DELETIONS, KINDS, NEEDED_ROLES, WITH_BODY, KeyedWrite, make_write
from tests.support.locks import until_blocked
from tests.support.rows import digests, execute, fetch_all, fetch_one
from tests.support.sessions import open_session, open_transaction
from tests.support.storms import backends_killed, effects_missing_or_repeated, send_copies

KINDS_IN_ONE_PROJECT = [kind for kind in WITH_BODY if kind != "move"]
# So that a busy machine does not make a storm a test of time-outs.
PATIENCE = {
    "database_connect_timeout_seconds": 20.0,
    "database_pool_wait_seconds": 5.0,
    "database_statement_timeout_ms": 20_000,
    "database_command_timeout_seconds": 25.0,
}
MALFORMED = ("", " ", '""', '"abc', 'abc"x y', "a b", '"a"b"', '"a\\b"', "x" * 256, f'"{"x" * 257}"', "a\tb", "käse")


@pytest.fixture(params=KINDS)
async def write(request: pytest.FixtureRequest, alice: Person, bob: Person) -> KeyedWrite:
    """One of each kind, as Alice sends it."""
    return await make_write(request.param, alice, bob)


async def keys_of(database: Database) -> list[str]:
    """Return the keys that are stored."""
    return [row["key"] for row in await fetch_all(database, "SELECT key FROM idempotency_keys ORDER BY key")]


def kind_of(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    return str(response.json()["type"]).removeprefix("urn:taskmanager:problem:")


class TestReplay:
    """The same request again."""

    async def test_is_answered_as_before_and_does_nothing(
        self, alice: Person, write: KeyedWrite, database: Database
    ) -> None:
        first = await write.send(alice)
        assert "Idempotency-Replayed" not in first.headers
        before = await digests(database)
        for _ in range(2):
            again = await write.send(alice)
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
        write = await make_write(kind, alice, bob)
        first = await write.send(alice)
        field = next(name for name in ("title", "name", "body") if name in first.json())
        changed = await alice.client.patch(first.headers["Location"], json={field: "Changed"})
        assert changed.headers["ETag"] == '"2"'
        again = await write.send(alice)
        assert (again.json(), again.headers["ETag"]) == (first.json(), '"1"')
        assert (await alice.client.get(again.headers["Location"])).json() == changed.json()

    async def test_of_marking_all_as_read_leaves_what_came_since_unread(self, alice: Person, bob: Person) -> None:
        write = await make_write("all notifications", alice, bob)
        await write.send(alice)
        project_id = (await alice.get("/notifications")).json()["notifications"][0]["project_id"]
        await bob.new_task(project_id, assignee_id=alice.id)
        await write.send(alice)
        assert (await alice.get("/notifications")).json()["unread"] == 1
        await write.send(alice, "another-key")
        assert (await alice.get("/notifications")).json()["unread"] == 0

    async def test_without_a_key_it_is_another_request(self, alice: Person, database: Database) -> None:
        for _ in range(2):
            answer = await KeyedWrite("/tasks", {"title": "Again"}).send(alice, None)
            assert "Idempotency-Replayed" not in answer.headers
        assert await count_rows(database, "tasks") == 2
        assert await keys_of(database) == []

    async def test_the_same_key_of_another_method_is_another_request(self, alice: Person, database: Database) -> None:
        path = f"/tasks/{(await alice.new_task())['id']}"
        for method, title in (("PATCH", "One"), ("PUT", "Two")):
            changed = await KeyedWrite(path, {"title": title}, 200, method=method).send(alice)
            assert changed.json()["title"] == title
        await KeyedWrite(path, status=204, method="DELETE").send(alice)
        assert await keys_of(database) == ["a-key"] * 3

    async def test_with_an_api_key_of_the_same_person_is_the_same(self, alice: Person) -> None:
        first = await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        key = await new_key(alice, "tasks:write")
        headers = {"Idempotency-Key": "a-key", **key.in_header}
        again = await alice.post("/tasks", {"title": "Once"}, headers=headers)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")

    async def test_with_an_api_key_without_the_scope_is_403(self, alice: Person) -> None:
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        key = await new_key(alice, "tasks:read")
        headers = {"Idempotency-Key": "a-key", **key.in_header}
        assert kind_of(await alice.post("/tasks", {"title": "Once"}, 403, headers=headers)) == "scope-missing"


class TestAnotherRequest:
    """What is not the same request."""

    @pytest.mark.parametrize("kind", WITH_BODY)
    async def test_another_body_is_422_and_does_nothing(
        self, alice: Person, bob: Person, kind: str, database: Database
    ) -> None:
        write = await make_write(kind, alice, bob)
        first = await write.send(alice)
        before = await digests(database)
        refused = await replace(write, body=write.other_body).send(alice, expect=422)
        assert kind_of(refused) == "idempotency-key-reused"
        assert await digests(database) == before
        assert (await write.send(alice)).content == first.content

    async def test_the_same_key_of_somebody_else_is_independent(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        ids = {(await write.send(person)).json()["id"] for person in (alice, bob, alice, bob)}
        assert len(ids) == await count_rows(database, "tasks") == 2

    async def test_the_same_key_at_another_path_is_independent(self, alice: Person, database: Database) -> None:
        first, second = await alice.new_project(), await alice.new_project()
        for path in ("/tasks", f"/projects/{first}/tasks", f"/projects/{second}/tasks"):
            answer = await KeyedWrite(path, {"title": "Once"}).send(alice)
            assert "Idempotency-Replayed" not in answer.headers
        assert await count_rows(database, "tasks") == 3

    async def test_another_key_is_another_request(self, alice: Person, database: Database) -> None:
        for key in ("a", "b", "A", "a'"):
            assert (
                "Idempotency-Replayed" not in (await KeyedWrite("/tasks", {"title": "Once"}).send(alice, key)).headers
            )
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
        write = KeyedWrite("/tasks", {"title": "Once"})
        created = await write.send(alice, first)
        again = await write.send(alice, second)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (created.json(), "true")

    async def test_a_quoted_one_may_have_spaces(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        for key in ('"a key"', '" "', '"a  key"'):
            await write.send(alice, key)
        assert await keys_of(database) == [" ", "a  key", "a key"]

    async def test_any_other_is_400_even_to_a_stranger(
        self, alice: Person, client: httpx.AsyncClient, write: KeyedWrite, database: Database
    ) -> None:
        before = await digests(database)
        for malformed in MALFORMED:
            for asking in (alice.client, client):
                headers = {b"Idempotency-Key": malformed.encode("latin-1")}
                answer = await asking.request(write.method, f"{API}{write.path}", json=write.body, headers=headers)
                assert (answer.status_code, kind_of(answer)) == (400, "malformed-header"), malformed
                assert "Idempotency-Key" in answer.json()["detail"]
        assert await digests(database) == before


class TestRunning:
    """The same request while the first is still at work."""

    async def test_is_409_at_once_and_replayed_afterwards(self, alice: Person, bob: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        async with open_transaction(database) as session:
            # A new task waits for its project's row.
            await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": alice.inbox_id})
            first = asyncio.create_task(write.send(alice))
            await until_blocked(database)
            refused = await write.send(alice, expect=409)
            assert (kind_of(refused), refused.headers["Retry-After"]) == ("idempotency-key-in-use", "1")
            assert (await replace(write, body={"title": "Other"}).send(alice, expect=409)).status_code == 409
            # Nobody else has to wait for it.
            await write.send(bob)
            await KeyedWrite("/projects", {"name": "Once"}).send(alice)
        created = await first
        again = await write.send(alice)
        assert (again.content, again.headers["Idempotency-Replayed"]) == (created.content, "true")

    async def test_is_409_for_every_kind(self, alice: Person, write: KeyedWrite, database: Database) -> None:
        async with open_transaction(database) as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": write.lock_id(alice)})
            before = await digests(database)
            assert kind_of(await write.send(alice, expect=409)) == "idempotency-key-in-use"
            assert await digests(database) == before
        await write.send(alice)

    async def test_one_that_was_faster_is_replayed(
        self, alice: Person, write: KeyedWrite, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look = kept_answers.refuse_answered
        faster: list[httpx.Response] = []

        async def look_and_be_overtaken(reads: Reads, request: RequestIdentity) -> None:
            await look(reads, request)
            if not faster and not before:
                before["overtaken"] = ""
                faster.append(await write.send(alice))
                before.clear()
                before.update(await digests(database))

        before: dict[str, str] = {}
        monkeypatch.setattr(request_writes, "refuse_answered", look_and_be_overtaken)
        again = await write.send(alice)
        assert "Idempotency-Replayed" not in faster[0].headers
        assert (again.content, again.headers["Idempotency-Replayed"]) == (faster[0].content, "true")
        assert await digests(database) == before

    async def test_copies_of_an_answered_one_do_not_get_in_each_others_way(
        self, alice: Person, database: Database
    ) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        created = await write.send(alice)
        async with open_transaction(database) as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": write.lock_id(alice)})
            assert (await write.send(alice)).content == created.content
        answers = await asyncio.gather(*(write.send(alice) for _ in range(20)))
        assert {answer.content for answer in answers} == {created.content}

    async def test_of_fifty_at_once_one_is_executed(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        answers = await asyncio.gather(*(write.send(alice, expect=None) for _ in range(50)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        executed = [a for a in answers if a.status_code == 201 and "Idempotency-Replayed" not in a.headers]
        assert len(executed) == await count_rows(database, "tasks") == 1


class TestRefusal:
    """A refusal is not stored: the same request may succeed later."""

    async def _refused_then_done(self, person: Person, write: KeyedWrite, status: int, database: Database) -> None:
        headers = {"Idempotency-Key": "a-key"}
        for _ in range(2):
            refused = await person.post(write.path, write.body, status, headers=headers)
            assert "Idempotency-Replayed" not in refused.headers
        assert await keys_of(database) == []

    async def test_404(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        write = KeyedWrite("/tasks", {"title": "Once", "project_id": project_id})
        await self._refused_then_done(bob, write, 404, database)
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
        assert "Idempotency-Replayed" not in (await write.send(bob)).headers

    async def test_403_for_a_role(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once"})
        await self._refused_then_done(bob, write, 403, database)
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "editor"})
        assert "Idempotency-Replayed" not in (await write.send(bob)).headers

    async def test_422(self, alice: Person, bob: Person, database: Database) -> None:
        project_id = await alice.new_project()
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once", "assignee_id": bob.id})
        await self._refused_then_done(alice, write, 422, database)
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
        assert "Idempotency-Replayed" not in (await write.send(alice)).headers

    async def test_422_of_a_body_that_cannot_be_accepted(self, alice: Person, database: Database) -> None:
        await self._refused_then_done(alice, KeyedWrite("/tasks", {"title": ""}), 422, database)
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)

    async def test_409(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once"})
        await self._refused_then_done(alice, write, 409, database)
        await alice.patch(f"/projects/{project_id}", {"archived": False})
        assert "Idempotency-Replayed" not in (await write.send(alice)).headers

    async def test_401(self, alice: Person, client: httpx.AsyncClient, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await self._refused_then_done(replace(alice, client=client), write, 401, database)
        await write.send(alice)

    async def test_503(self, alice: Person, database_url: str, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        app = create_app(make_settings(database_url=database_url, database_lock_timeout_ms=100))
        async with started(app) as client:
            client.headers["Authorization"] = f"Bearer {alice.token}"
            async with open_transaction(database) as session:
                await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": alice.inbox_id})
                await self._refused_then_done(replace(alice, client=client), write, 503, database)
            assert "Idempotency-Replayed" not in (await write.send(replace(alice, client=client))).headers


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
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        await alice.post("/users/me/delete", {"password": PASSWORD}, 204)
        assert await keys_of(database) == []


class TestRights:
    """What one may not see any more is not told again either."""

    @pytest.mark.parametrize("kind", KINDS_IN_ONE_PROJECT)
    async def test_after_removal_it_is_404(self, alice: Person, bob: Person, sign_up: SignUp, kind: str) -> None:
        write, project_id = await self._sent_by_an_owner(kind, alice, bob, await sign_up("carol"))
        await alice.delete(f"/projects/{project_id}/members/{bob.id}")
        assert kind_of(await write.send(bob, expect=404)) == "not-found"

    @pytest.mark.parametrize("kind", KINDS_IN_ONE_PROJECT)
    @pytest.mark.parametrize("role", ["editor", "viewer"])
    async def test_after_a_downgrade_it_needs_the_role_that_the_request_needs(
        self, alice: Person, bob: Person, sign_up: SignUp, kind: str, role: str
    ) -> None:
        write, project_id = await self._sent_by_an_owner(kind, alice, bob, await sign_up("carol"))
        members = f"/projects/{project_id}/members/{bob.id}"
        await alice.put(members, {"role": role})
        allowed = Role(role).includes(Role(NEEDED_ROLES.get(kind, "editor")))
        answer = await write.send(bob, expect=write.status if allowed else 403)
        if not allowed:
            assert kind_of(answer) == "role-too-low"
        await alice.put(members, {"role": "owner"})
        assert (await write.send(bob)).headers["Idempotency-Replayed"] == "true"

    async def test_of_a_move_the_target_is_asked_for(self, alice: Person, bob: Person, database: Database) -> None:
        write = await make_write("move", bob, alice)
        first = await write.send(bob)
        source_id = (await bob.get("/projects")).json()["projects"][-1]["id"]
        for project_id, status in ((source_id, 200), (first.json()["project_id"], 404)):
            await execute(database, "DELETE FROM project_members WHERE project_id = :id", id=project_id)
            assert (await write.send(bob, expect=status)).headers.get("Idempotency-Replayed") == (
                "true" if status == 200 else None
            )

    @pytest.mark.parametrize("kind", DELETIONS)
    async def test_what_is_deleted_needs_none(self, alice: Person, bob: Person, kind: str, database: Database) -> None:
        write = await make_write(kind, alice, bob)
        await write.send(alice)
        await execute(database, "DELETE FROM project_members WHERE user_id = :id", id=alice.id)
        again = await write.send(alice)
        assert (again.status_code, again.content, again.headers["Idempotency-Replayed"]) == (204, b"", "true")
        # Without its key it is an ordinary request, for what is not there.
        await write.send(alice, None, 404)

    async def test_after_the_project_is_gone_it_is_404(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project()
        write = KeyedWrite(f"/projects/{project_id}/tasks", {"title": "Once"})
        await write.send(alice)
        await alice.delete(f"/projects/{project_id}")
        await write.send(alice, expect=404)
        assert await count_rows(database, "tasks") == 0

    async def test_after_a_logout_it_is_401(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await write.send(alice)
        await execute(database, "UPDATE sessions SET revoked_at = now()")
        await write.send(alice, expect=401)

    @staticmethod
    async def _sent_by_an_owner(kind: str, alice: Person, bob: Person, carol: Person) -> tuple[KeyedWrite, int]:
        """Bob, an owner beside Alice, sends the request once."""
        write = await make_write(kind, alice, carol)
        if kind == "project":
            project_id = int((await write.send(bob)).json()["id"])
            await bob.post(f"/projects/{project_id}/members", {"username": "alice", "role": "owner"})
            return write, project_id
        newest = (await alice.get("/projects")).json()["projects"][-1]
        project_id = int(newest["id"])
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "owner"})
        await write.send(bob)
        return write, project_id


class TestExpiry:
    """Keys are kept for 24 hours."""

    async def _age(self, database: Database, interval: str) -> None:
        await execute(
            database, "UPDATE idempotency_keys SET created_at = now() - CAST(:age AS text)::interval", age=interval
        )

    async def test_until_then_it_is_replayed(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await write.send(alice)
        await self._age(database, "23 hours 59 minutes")
        assert (await write.send(alice)).headers["Idempotency-Replayed"] == "true"

    async def test_afterwards_it_is_executed_and_stored_again(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        first = await write.send(alice)
        await self._age(database, "24 hours 1 second")
        second = await write.send(alice)
        assert "Idempotency-Replayed" not in second.headers
        assert second.json()["id"] != first.json()["id"]
        third = await write.send(alice)
        assert (third.json(), third.headers["Idempotency-Replayed"]) == (second.json(), "true")
        assert await count_rows(database, "tasks") == 2
        assert await keys_of(database) == ["a-key"]

    @pytest.mark.parametrize("kind", ["task", "task change", "role", "all notifications"])
    async def test_afterwards_one_of_many_copies_is_executed_and_stored_again(
        self, alice: Person, bob: Person, kind: str, database: Database
    ) -> None:
        write = await make_write(kind, alice, bob)
        await write.send(alice)
        await self._age(database, "24 hours 1 second")
        answers = await asyncio.gather(*(write.send(alice, expect=None) for _ in range(20)))
        assert {answer.status_code for answer in answers} <= {write.status, 409}
        done = [answer for answer in answers if answer.status_code == write.status]
        assert [answer.headers.get("Idempotency-Replayed") for answer in done].count(None) == 1
        assert len({answer.content for answer in done}) == 1
        assert await keys_of(database) == ["a-key"]
        assert (await write.send(alice)).headers["Idempotency-Replayed"] == "true"

    async def test_afterwards_what_is_deleted_is_not_found(self, alice: Person, database: Database) -> None:
        write = KeyedWrite(f"/tasks/{(await alice.new_task())['id']}", status=204, method="DELETE")
        await write.send(alice)
        await self._age(database, "24 hours 1 second")
        await write.send(alice, expect=404)

    async def test_afterwards_another_body_is_fine(self, alice: Person, database: Database) -> None:
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        await self._age(database, "24 hours 1 second")
        other = KeyedWrite("/tasks", {"title": "Other"})
        created = await other.send(alice)
        assert (await other.send(alice)).content == created.content

    async def test_expired_ones_are_purged_in_the_background(
        self, alice: Person, database: Database, app: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(12):
            await KeyedWrite("/projects", {"name": "Old"}).send(alice, f"old-{number}")
        await self._age(database, "24 hours 1 second")
        await KeyedWrite("/projects", {"name": "Young"}).send(alice, "young")
        monkeypatch.setattr(kept_answers, "_PURGE_SECONDS", 0.01)
        purging = asyncio.create_task(kept_answers.purge_for_ever(app.state.writes))
        async with asyncio.timeout(5):
            while await keys_of(database) != ["young"]:  # noqa: ASYNC110  # the database has no event
                await asyncio.sleep(0.01)
        purging.cancel()

    async def test_an_expired_key_that_is_purged_meanwhile_is_no_trouble(
        self, alice: Person, bob: Person, database: Database, app: FastAPI
    ) -> None:
        writes = {name: KeyedWrite("/projects", {"name": name}) for name in ("a", "b", "c", "d")}
        for _ in range(5):
            sent = [write.send(person, name) for name, write in writes.items() for person in (alice, bob)]
            await asyncio.gather(*sent, kept_answers.purge(app.state.writes))
            await self._age(database, "24 hours 1 second")


class TestOneTransaction:
    """Effect and stored answer are committed together or not at all."""

    async def _assert_nothing_then_once(self, person: Person, database: Database, write: KeyedWrite) -> None:
        assert await count_rows(database, "tasks") == 0
        assert await keys_of(database) == []
        assert (await fetch_one(database, "SELECT count(*) FROM events WHERE entity = 'task'"))["count"] == 0
        assert "Idempotency-Replayed" not in (await write.send(person)).headers
        assert (await write.send(person)).headers["Idempotency-Replayed"] == "true"
        assert await count_rows(database, "tasks") == 1

    async def test_a_backend_killed_between_the_two_leaves_neither(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        async with open_session(database) as killer, open_transaction(database) as session:
            # The task is there; storing the key waits for this one.
            await session.execute(
                text("""
                INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, headers, body)
                VALUES (:id, 'POST', '/api/v1/tasks', 'a-key', '', 201, '{}', '')
                """),
                {"id": alice.id},
            )
            sending = asyncio.create_task(write.send(alice, expect=503))
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
        await self._assert_nothing_then_once(alice, database, write)

    async def test_a_backend_killed_before_commit_leaves_neither(
        self, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = await make_write("move", alice, alice)
        before = await digests(database)
        last = _RequestTransaction.last

        async def last_and_die(self: Any, statement: Statement, **values: Any) -> asyncpg.Record | None:
            row = await last(self, statement, **values)
            monkeypatch.setattr(_RequestTransaction, "last", last)
            await self.all(Statement("die", "SELECT pg_terminate_backend(pg_backend_pid())"))
            return row

        monkeypatch.setattr(_RequestTransaction, "last", last_and_die)
        assert (await write.send(alice, expect=503)).headers["Retry-After"] == "1"
        assert await digests(database) == before
        assert "Idempotency-Replayed" not in (await write.send(alice)).headers

    @pytest.mark.parametrize("kind", ["task", "task change", "task deletion", "move"])
    async def test_one_lost_after_commit_is_replayed(
        self, alice: Person, bob: Person, kind: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = await make_write(kind, alice, bob)
        name = "transaction" if kind == "move" else "all"
        commit: Any = getattr(Writes, name)

        async def all_and_fail(self: Writes, statement: Statement, **values: Any) -> Any:
            await commit(self, statement, **values)
            monkeypatch.setattr(Writes, name, commit)
            raise ConnectionResetError("nobody knows")

        @asynccontextmanager
        async def commit_and_fail(self: Writes, *, long: bool = False) -> AsyncIterator[Any]:
            async with commit(self, long=long) as run:
                yield run
            monkeypatch.setattr(Writes, name, commit)
            raise ConnectionResetError("nobody knows")

        monkeypatch.setattr(Writes, name, commit_and_fail if kind == "move" else all_and_fail)
        await write.send(alice, expect=503)
        before = await digests(database)
        assert (await write.send(alice)).headers["Idempotency-Replayed"] == "true"
        assert await digests(database) == before

    async def test_a_key_costs_a_look_up(self, alice: Person, query_recorder: list[str]) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        await write.send(alice)
        look_up, done = query_recorder
        assert "FROM sessions" in look_up
        assert "INSERT INTO tasks" in done
        query_recorder.clear()
        await write.send(alice)
        assert len(query_recorder) == 1

    @pytest.mark.parametrize("kind", KINDS)
    async def test_no_write_is_more_than_six_messages(
        self, alice: Person, bob: Person, kind: str, query_recorder: list[str]
    ) -> None:
        several = {"move": 3, "role": 2, "removal": 2, "leaving": 2, "bulk change": 2, "bulk deletion": 2}
        expected = {**several, "project deletion": 2}.get(kind, 1)
        for key, looked_up in (("a-key", 1), (None, 0)):
            write = await make_write(kind, alice, bob)
            query_recorder.clear()
            await write.send(alice, key)
            # BEGIN and COMMIT are not recorded.
            assert len(query_recorder) == expected + looked_up


class TestStorm:
    """Parallel copies of many requests; the large one is under tests/long."""

    async def test_20_keys_with_50_copies_have_one_effect_each(
        self, alice: Person, database: Database, settings: Settings
    ) -> None:
        async with started(create_app(settings.model_copy(update=PATIENCE))) as client:
            client.headers.update(alice.client.headers)
            report = await send_copies(replace(alice, client=client), keys=20, copies=50)
        print(report)
        assert report.differing == await effects_missing_or_repeated(database, keys=20) == []
        assert report.statuses.keys() <= {201, 409}
        assert (report.executed, report.replayed) == (20, 20 * 49)

    async def test_20_keys_of_all_kinds_with_20_copies_have_one_effect_each(
        self, alice: Person, bob: Person, database: Database, settings: Settings
    ) -> None:
        kinds = (KINDS * 2)[: max(20, len(KINDS))]
        writes = [await make_write(kind, alice, bob) for kind in kinds]
        before = await self._effects(database)
        for number, write in enumerate(writes):
            await write.send(alice, f"alone-{number}")
        alone = await self._effects(database) - before
        writes = [await make_write(kind, alice, bob) for kind in kinds]
        before = await self._effects(database)
        async with started(create_app(settings.model_copy(update=PATIENCE))) as client:
            client.headers.update(alice.client.headers)
            patient = replace(alice, client=client)
            answers = await asyncio.gather(
                *(self._until_answered(write, patient, f"{n}") for n, write in enumerate(writes) for _ in range(20))
            )
        for number, write in enumerate(writes):
            copies = answers[number * 20 : number * 20 + 20]
            assert {answer.status_code for answer in copies} == {write.status}, kinds[number]
            assert len({answer.content for answer in copies}) == 1, kinds[number]
            assert [answer.headers.get("Idempotency-Replayed") for answer in copies].count(None) == 1, kinds[number]
        assert await self._effects(database) - before == alone

    @staticmethod
    async def _until_answered(write: KeyedWrite, person: Person, key: str) -> httpx.Response:
        while (answer := await write.send(person, key, None)).status_code == 409:
            assert kind_of(answer) == "idempotency-key-in-use"
            await asyncio.sleep(0.01)
        return answer

    @staticmethod
    async def _effects(database: Database) -> Counter[tuple[str, str]]:
        rows = await fetch_all(database, "SELECT entity, action, count(*) AS n FROM events GROUP BY entity, action")
        found = Counter({(row["entity"], row["action"]): row["n"] for row in rows})
        found["keys", "stored"] = await count_rows(database, "idempotency_keys")
        return found

    async def test_also_while_backends_are_killed(self, alice: Person, database: Database, database_url: str) -> None:
        async with backends_killed(database_url, every_seconds=0.2, at_once=1) as killings:
            report = await send_copies(alice, keys=5, copies=50)
        print(report, killings)
        assert killings.count > 0
        assert report.differing == await effects_missing_or_repeated(database, keys=5) == []
        assert report.statuses.keys() <= {201, 409, 503}

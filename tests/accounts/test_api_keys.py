"""API keys: shown once, kept as a hash, limited to their scopes and to what their owner may do."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.credentials import ALL_BUT_ADMIN, API, bearer, new_key, status_of
from tests.support.rows import digests, dump, execute, fetch_one

KEYS = "/users/me/api-keys"
BODY = {"name": "A key", "scopes": ["tasks:read"]}


class TestCreate:
    """POST /users/me/api-keys."""

    async def test_shows_the_key_once(self, alice: Person) -> None:
        answer = await alice.post(KEYS, {"name": " A key ", "scopes": ["tasks:write", "account", "account"]})
        created = answer.json()
        assert created == {
            "id": created["id"],
            "name": "A key",
            "prefix": f"tm_{created['id']}_",
            "scopes": ["account", "tasks:write"],
            "expires_at": None,
            "created_at": created["created_at"],
            "last_used_at": None,
            "key": created["key"],
        }
        assert created["key"].startswith(created["prefix"])
        assert len(created["key"].removeprefix(created["prefix"])) >= 43
        assert answer.headers["Cache-Control"] == "no-store"
        listed = await alice.get(KEYS)
        secret = created.pop("key").removeprefix(created["prefix"])
        assert listed.json() == {"api_keys": [created], "next_cursor": None}
        assert secret not in listed.text

    async def test_keeps_only_the_hash(self, alice: Person, database: Database) -> None:
        key = await new_key(alice, "tasks:read")
        secret = key.text.split("_", 2)[2]
        row = await fetch_one(database, "SELECT secret_hash FROM api_keys")
        assert bytes(row["secret_hash"]) == sha256(secret.encode()).digest()
        assert secret not in await dump(database)

    async def test_every_key_is_another(self, alice: Person) -> None:
        keys = {(await new_key(alice, "tasks:read")).text.split("_", 2)[2] for _ in range(20)}
        assert len(keys) == 20

    async def test_keeps_its_expiry(self, alice: Person) -> None:
        body = {**BODY, "expires_at": "2031-01-31T14:00:00.000000+02:00"}
        assert (await alice.post(KEYS, body)).json()["expires_at"] == "2031-01-31T12:00:00.000000Z"

    @pytest.mark.parametrize(
        "values",
        [
            {"name": ""},
            {"name": "   "},
            {"name": "x" * 101},
            {"name": "a\x00b"},
            {"name": None},
            {"scopes": []},
            {"scopes": None},
            {"scopes": "tasks:read"},
            {"scopes": ["tasks"]},
            {"scopes": ["tasks:read", "everything"]},
            {"scopes": ["*"]},
            {"scopes": ["tasks:read"] * 7},
            {"expires_at": "2031-01-31T12:00:00"},
            {"expires_at": 1},
            {"expires_at": "tomorrow"},
            {"key": "tm_1_x"},
            {"user_id": 1},
        ],
    )
    async def test_other_values_are_422_and_store_nothing(
        self, alice: Person, database: Database, values: dict[str, Any]
    ) -> None:
        before = await digests(database)
        await alice.post(KEYS, {**BODY, **values}, expect=422)
        assert await digests(database) == before

    async def test_the_name_may_have_100_characters(self, alice: Person) -> None:
        assert (await alice.post(KEYS, {**BODY, "name": "😀" * 100})).json()["name"] == "😀" * 100


class TestList:
    """GET and DELETE /users/me/api-keys."""

    async def test_newest_first(self, alice: Person) -> None:
        ids = [(await new_key(alice, "tasks:read")).id for _ in range(3)]
        assert [key["id"] for key in (await alice.get(KEYS)).json()["api_keys"]] == ids[::-1]

    async def test_a_deleted_one_is_gone(self, alice: Person, database: Database) -> None:
        key = await new_key(alice, "tasks:read")
        answer = await alice.delete(f"{KEYS}/{key.id}")
        assert answer.content == b""
        assert (await alice.get(KEYS)).json()["api_keys"] == []
        await alice.delete(f"{KEYS}/{key.id}", expect=404)

    async def test_a_foreign_one_is_404_as_one_that_never_was(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        key = await new_key(bob, "tasks:read")
        before = await digests(database)
        foreign = await alice.delete(f"{KEYS}/{key.id}", expect=404)
        unknown = await alice.delete(f"{KEYS}/{key.id + 10**6}", expect=404)
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert await digests(database) == before


class TestScopes:
    """What a key may do: its scopes, and never more than its owner."""

    # Every scope with a path that needs it.
    PATHS = {
        "tasks:read": ("GET", "/tasks", None, 200),
        "tasks:write": ("POST", "/tasks", {"title": "A task"}, 201),
        "projects:read": ("GET", "/projects", None, 200),
        "projects:write": ("POST", "/projects", {"name": "A project"}, 201),
        "account": ("GET", "/users/me/sessions", None, 200),
    }

    @pytest.mark.parametrize("needed", list(PATHS))
    @pytest.mark.parametrize("granted", list(PATHS))
    async def test_a_scope_opens_its_own_paths_and_writing_includes_reading(
        self, alice: Person, client: httpx.AsyncClient, granted: str, needed: str
    ) -> None:
        key = await new_key(alice, granted)
        method, path, body, status = self.PATHS[needed]
        answer = await client.request(method, API + path, json=body, headers=key.in_header)
        if needed in {granted, granted.replace(":write", ":read")}:
            assert answer.status_code == status
        else:
            assert answer.status_code == 403
            assert answer.json()["type"] == "/docs/problems#scope-missing"
            assert answer.json()["scope"] == needed
            assert needed in answer.json()["detail"]

    async def test_several_scopes_add_up(self, alice: Person, client: httpx.AsyncClient) -> None:
        key = await new_key(alice, "tasks:read", "projects:write")
        for needed, (method, path, body, status) in self.PATHS.items():
            answer = await client.request(method, API + path, json=body, headers=key.in_header)
            assert answer.status_code == (403 if needed in {"tasks:write", "account"} else status)

    async def test_any_key_reads_the_account(self, alice: Person, sign_up: SignUp, client: httpx.AsyncClient) -> None:
        administrator = await sign_up("administrator", is_admin=True)
        for person, scopes in ((alice, ALL_BUT_ADMIN), (administrator, ("admin",))):
            for scope in scopes:
                key = await new_key(person, scope)
                for headers in (key.in_header, key.as_bearer):
                    answer = await client.get(f"{API}/users/me", headers=headers)
                    assert (answer.status_code, answer.json()["id"]) == (200, person.id)

    @pytest.mark.parametrize("scope", ["tasks:read", "tasks:write", "projects:read", "projects:write", "admin"])
    async def test_a_key_makes_no_stronger_key(
        self, sign_up: SignUp, client: httpx.AsyncClient, database: Database, scope: str
    ) -> None:
        administrator = await sign_up("administrator", is_admin=True)
        key = await new_key(administrator, "account")
        before = await digests(database)
        for scopes in ([scope], ["account", scope]):
            answer = await client.post(API + KEYS, json={"name": "x", "scopes": scopes}, headers=key.in_header)
            assert (answer.status_code, answer.json()["scope"]) == (403, scope)
        assert await digests(database) == before

    async def test_a_key_makes_equal_and_weaker_keys(self, alice: Person, client: httpx.AsyncClient) -> None:
        key = await new_key(alice, "account", "tasks:write")
        for scopes in (["account"], ["tasks:read"], ["tasks:write"], ["account", "tasks:read", "tasks:write"]):
            answer = await client.post(API + KEYS, json={"name": "x", "scopes": scopes}, headers=key.in_header)
            assert answer.status_code == 201

    async def test_only_an_administrator_makes_an_admin_key(
        self, alice: Person, sign_up: SignUp, database: Database
    ) -> None:
        before = await digests(database)
        for scopes in (["admin"], ["tasks:read", "admin"]):
            answer = await alice.post(KEYS, {"name": "x", "scopes": scopes}, expect=403)
            assert answer.json()["type"] == "/docs/problems#administrator-only"
        assert await digests(database) == before
        await (await sign_up("administrator", is_admin=True)).post(KEYS, {"name": "x", "scopes": ["admin"]})

    async def test_a_key_cannot_do_what_its_owner_cannot(
        self, alice: Person, bob: Person, client: httpx.AsyncClient
    ) -> None:
        project_id = await alice.new_project()
        task = await alice.new_task(project_id)
        key = await new_key(bob, *ALL_BUT_ADMIN)
        path = f"/tasks/{task['id']}"
        assert await status_of(client, path, key.in_header, "DELETE") == 404
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
        assert await status_of(client, path, key.in_header, "DELETE") == 403
        await alice.put(f"/projects/{project_id}/members/{bob.id}", {"role": "editor"})
        assert await status_of(client, path, key.in_header, "DELETE") == 204

    async def test_a_key_for_projects_reads_no_task_and_no_comment_in_a_projects_activity(
        self, alice: Person, client: httpx.AsyncClient
    ) -> None:
        project_id = await alice.new_project()
        task = await alice.new_task(project_id, title="Classified")
        await alice.post(f"/tasks/{task['id']}/comments", {"body": "Also classified"})
        path = f"{API}/projects/{project_id}/activity"
        for scopes in (["projects:read"], ["projects:write"]):
            key = await new_key(alice, *scopes)
            answer = await client.get(path, headers=key.in_header)
            assert answer.status_code in {200, 403}
            assert "lassified" not in answer.text
        key = await new_key(alice, "projects:read", "tasks:read")
        assert "Also classified" in (await client.get(path, headers=key.in_header)).text

    async def test_what_is_done_with_a_key_is_its_owners(
        self, alice: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        key = await new_key(alice, "tasks:write")
        task = (await client.post(f"{API}/tasks", json={"title": "A task"}, headers=key.in_header)).json()
        assert (task["project_id"], task["created_by"]) == (alice.inbox_id, alice.id)
        row = await fetch_one(database, "SELECT actor_id FROM events WHERE entity = 'task'")
        assert row["actor_id"] == alice.id


class TestUse:
    """How a key is recognised, and how its use is noted."""

    async def test_bent_keys_are_401_and_never_an_error(
        self, alice: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        key = await new_key(alice, "tasks:read")
        other = await new_key(alice, "tasks:read")
        secret = key.text.split("_", 2)[2]
        bent = [
            f"tm_{other.id}_{secret}",
            f"tm_{key.id + 10**6}_{secret}",
            f"tm_0{key.id}_{secret}",
            f"tm_-{key.id}_{secret}",
            f"tm_{2**63}_{secret}",
            f"tm_{10**18}_{secret}",
            f"tm_{key.id}_{secret[:-1]}",
            f"tm_{key.id}_{secret}x",
            f"tm_{key.id}_{secret.swapcase()}",
            f"tm_{key.id}_",
            f"tm_{key.id}",
            "tm_",
            "tm__",
            f"TM_{key.id}_{secret}",
            secret,
            f"{key.text} {other.text}",
            f"tm_{key.id}_{'é' * 43}",
            "x" * 8_000,
        ]
        before = await digests(database)
        for text in bent:
            for header, value in (("X-API-Key", text), ("Authorization", f"Bearer {text}")):
                headers = [(header.encode(), value.encode("latin-1"))]
                answer = await client.get(f"{API}/users/me", headers=headers)
                assert answer.status_code == 401, (header, text)
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert await digests(database) == before

    async def test_two_keys_where_one_is_bad_are_401(self, alice: Person, client: httpx.AsyncClient) -> None:
        key = await new_key(alice, "tasks:read")
        assert await status_of(client, "/tasks", {"X-API-Key": key.text, **bearer("tm_1_x")}) == 200
        assert await status_of(client, "/tasks", {"X-API-Key": "tm_1_x", **key.as_bearer}) == 401

    async def test_one_that_has_ended_is_not_made(self, alice: Person, database: Database) -> None:
        before = await digests(database)
        for moment in ("2020-01-01T00:00:00Z", "1900-01-01T00:00:00+01:00"):
            body = {"name": "A key", "scopes": ["account"], "expires_at": moment}
            problem = (await alice.post("/users/me/api-keys", body, expect=422)).json()
            assert problem["errors"] == [{"loc": ["body", "expires_at"], "msg": "has passed", "type": "value_error"}]
        assert await digests(database) == before

    async def test_expires_at_its_moment(self, alice: Person, client: httpx.AsyncClient, database: Database) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        key = await new_key(alice, "tasks:read", expires_at=soon)
        assert await status_of(client, "/tasks", key.in_header) == 200
        await execute(database, "UPDATE api_keys SET expires_at = expires_at - interval '1 hour'")
        assert await status_of(client, "/tasks", key.in_header) == 401
        assert [k["id"] for k in (await alice.get(KEYS)).json()["api_keys"]] == [key.id]

    async def test_the_first_use_is_noted_and_the_next_within_a_minute_writes_nothing(
        self, alice: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        row = "SELECT CAST(xmin AS text) AS xmin, CAST(ctid AS text) AS ctid, last_used_at FROM api_keys"
        key = await new_key(alice, "tasks:read")
        unused = await fetch_one(database, row)
        assert unused["last_used_at"] is None
        before = datetime.now(UTC) - timedelta(seconds=5)
        assert await status_of(client, "/tasks", key.in_header) == 200
        first = await fetch_one(database, row)
        assert before < first["last_used_at"] < datetime.now(UTC) + timedelta(seconds=5)
        assert first["xmin"] != unused["xmin"]
        for headers in (key.in_header, key.as_bearer):
            assert await status_of(client, "/tasks", headers) == 200
        assert await fetch_one(database, row) == first
        await execute(database, "UPDATE api_keys SET last_used_at = now() - interval '59 seconds'")
        nearly = await fetch_one(database, row)
        assert await status_of(client, "/tasks", key.in_header) == 200
        assert await fetch_one(database, row) == nearly
        await execute(database, "UPDATE api_keys SET last_used_at = now() - interval '61 seconds'")
        assert await status_of(client, "/tasks", key.in_header) == 200
        assert (await fetch_one(database, row))["last_used_at"] > first["last_used_at"]

    async def test_a_refused_key_notes_nothing(
        self, alice: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        key = await new_key(alice, "tasks:read")
        assert await status_of(client, "/tasks", {"X-API-Key": f"{key.text[:-1]}!"}) == 401
        assert (await fetch_one(database, "SELECT last_used_at FROM api_keys"))["last_used_at"] is None

    async def test_the_list_tells_the_last_use(self, alice: Person, client: httpx.AsyncClient) -> None:
        used, _unused = await new_key(alice, "tasks:read"), await new_key(alice, "tasks:read")
        await status_of(client, "/tasks", used.in_header)
        newest, oldest = (await alice.get(KEYS)).json()["api_keys"]
        assert newest["last_used_at"] is None
        assert oldest["last_used_at"] >= oldest["created_at"]

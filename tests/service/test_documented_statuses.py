"""Every status that the API's description names for a route can really be had from it.

That no other one is ever seen is checked by the test client, in every test (`DocumentedStatuses`).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.commands.openapi import describe
from taskmanager.database.database import Database
from taskmanager.following.positions import START
from taskmanager.idempotency.header import RequestIdentity
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import PASSWORD, Person, SignUp, client_for, make_settings
from tests.support.access_world import make_webhook
from tests.support.applications import started, without_lifespan
from tests.support.credentials import API
from tests.support.ports import free_port
from tests.support.sessions import open_transaction
from tests.support.valid_requests import BODIES, FORMS, QUERIES, fill

UNKNOWN = 999_999_999
DESCRIPTION = describe()


def operations(status: int) -> list[tuple[str, str]]:
    """Return (method, path) of the routes that document a status."""
    return [
        (method.upper(), path.removeprefix(API))
        for path, item in DESCRIPTION["paths"].items()
        if path.startswith(API)
        for method, operation in item.items()
        if str(status) in operation["responses"]
    ]


def takes_key(operation: dict[str, Any]) -> bool:
    """Tell whether a route takes an Idempotency-Key."""
    return any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))


KEYED = [
    (method.upper(), path.removeprefix(API))
    for path, item in DESCRIPTION["paths"].items()
    for method, operation in item.items()
    if takes_key(operation)
]
# Routes that conflict with nothing but a copy of their request that runs.
_ONLY_COPIES = {
    *("/projects", "/notifications/read", "/notifications/{notification_id}/read"),
    *("/users/me/sessions/{session_id}", "/users/me/api-keys/{key_id}"),
    *("/admin/users/{user_id}/disable", "/admin/users/{user_id}/enable", "/admin/clear-tasks"),
}


@dataclass
class World:
    """Two people who share a project with a task and a comment, and what belongs to one of them."""

    app: FastAPI
    alice: Person
    bob: Person
    ids: dict[str, Any]
    root: Person
    admin_key: str

    @asynccontextmanager
    async def copy_running(self, database: Database, method: str, path: str, key: str) -> AsyncIterator[None]:
        """Hold the lock that a copy of the route's request holds while it runs."""
        caller = self.root if path.startswith("/admin") else self.alice
        identity = RequestIdentity(caller.id, method, API + path.format(**self.ids), key, b"")
        async with open_transaction(database) as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": identity.lock_id})
            yield

    async def call(
        self,
        method: str,
        path: str,
        *,
        app: FastAPI | None = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Make the valid request of a route, or a variation of it."""
        if method in {"POST", "PUT", "PATCH"} and not {"json", "content", "data"} & options.keys():
            if (method, path) in FORMS:
                options["data"] = fill(FORMS[method, path], self.ids)
            elif (method, path) in BODIES:
                options["json"] = fill(BODIES[method, path], self.ids)
        if headers is None:
            headers = {}
            if path.startswith("/admin"):
                headers = {"X-API-Key": self.admin_key}
            elif "security" in DESCRIPTION["paths"][API + path][method.lower()]:
                headers = {"Authorization": f"Bearer {self.alice.token}"}
        query = options.pop("query", QUERIES.get((method, path), "").format(**self.ids))
        async with client_for(app or self.app) as client:
            return await client.request(
                method, API + path.format(**self.ids) + query, headers=headers | options.pop("more", {}), **options
            )


@pytest.fixture
async def world(app: FastAPI, alice: Person, bob: Person, sign_up: SignUp) -> World:
    await sign_up("carol")
    root = await sign_up("root", is_admin=True)
    admin = (await root.post("/users/me/api-keys", {"name": "admin", "scopes": ["admin"]})).json()
    key = (await alice.post("/users/me/api-keys", {"name": "old", "scopes": ["tasks:read"]})).json()
    project_id = await alice.new_project("Shared")
    await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
    task = await bob.new_task(project_id, assignee_id=alice.id)
    comment = (await bob.post(f"/tasks/{task['id']}/comments", {"body": "@alice"})).json()
    section = (await bob.post(f"/projects/{project_id}/sections", {"name": "A section"})).json()
    notification = (await alice.get("/notifications")).json()["notifications"][0]
    webhook_id, delivery_id = await make_webhook(alice, project_id, app.state.database)
    login = await alice.client.post(f"{API}/token", data={"username": "alice", "password": PASSWORD})
    ids = {
        "project_id": project_id,
        "task_id": task["id"],
        "comment_id": comment["id"],
        "section_id": section["id"],
        "user_id": bob.id,
        "notification_id": notification["id"],
        "key_id": key["id"],
        "webhook_id": webhook_id,
        "delivery_id": delivery_id,
        "cursor": (await app.state.epochs.look()).write(START),
        "session_id": alice.session_id,
        "refresh": login.json()["refresh_token"],
        "caller": "alice",
        "newcomer": "carol",
    }
    return World(app, alice, bob, ids, root, admin["key"])


async def unlike(status: int, world: World, vary: Callable[[str, str], dict[str, Any]]) -> dict[str, str]:
    """Make a variation of each route's request that documents a status; return the answers that have another."""
    answers = {}
    for method, path in operations(status):
        ids = dict(world.ids)
        response = await world.call(method, path, **vary(method, path))
        world.ids = ids
        if response.status_code != status:
            answers[f"{method} {path}"] = f"{response.status_code} {response.text}"
    assert operations(status)
    return answers


@pytest.mark.parametrize(
    ("method", "path"), [route for status in (200, 201, 202, 204) for route in operations(status)], ids="-".join
)
async def test_success(world: World, method: str, path: str) -> None:
    if (method, path) == ("POST", "/users/me/delete"):
        await world.alice.put(f"/projects/{world.ids['project_id']}/members/{world.bob.id}", {"role": "owner"})
    documented = DESCRIPTION["paths"][API + path][method.lower()]["responses"]
    # Where no 400 is documented, headers that mean nothing to the route are not even read.
    meaningless = {} if "400" in documented else {"If-Match": "no quotes", "Idempotency-Key": ""}
    response = await world.call(method, path, more=meaningless)
    assert str(response.status_code) in {status for status in documented if status.startswith("2")}, response.text


async def test_not_modified(world: World) -> None:
    assert await unlike(304, world, lambda *_: {"more": {"If-None-Match": "*"}}) == {}


async def test_malformed(world: World) -> None:
    def vary(method: str, path: str) -> dict[str, Any]:
        if (method, path) in FORMS:
            return {"content": b"no boundary", "more": {"Content-Type": "multipart/form-data"}}
        return {"more": {"If-Match": "no quotes", "Idempotency-Key": ""}}

    assert await unlike(400, world, vary) == {}


@pytest.mark.parametrize(("method", "path"), KEYED, ids="-".join)
async def test_a_key_that_cannot_be_read_is_malformed(world: World, method: str, path: str) -> None:
    assert {"400", "409", "422"} <= DESCRIPTION["paths"][API + path][method.lower()]["responses"].keys()
    assert (await world.call(method, path, more={"Idempotency-Key": '"a'})).status_code == 400


@pytest.mark.parametrize(("method", "path"), KEYED, ids="-".join)
async def test_a_key_whose_request_runs_is_in_use(world: World, database: Database, method: str, path: str) -> None:
    async with world.copy_running(database, method, path, "running"):
        response = await world.call(method, path, more={"Idempotency-Key": "running"})
        assert response.status_code == 409, response.text
    assert (await world.call(method, path, more={"Idempotency-Key": "running"})).is_success


async def test_not_authenticated(world: World) -> None:
    def vary(method: str, path: str) -> dict[str, Any]:
        if (method, path) in FORMS:
            return {"headers": {}, "data": {"username": "alice", "password": "wrong"}}
        if path == "/token/refresh":
            return {"headers": {}, "json": {"refresh_token": "garbage"}}
        return {"headers": {}}

    assert await unlike(401, world, vary) == {}


async def test_scope_missing(world: World) -> None:
    keys = {}
    for scope in ("account", "tasks:read"):
        body = {"name": "weak", "scopes": [scope]}
        keys[scope] = (await world.alice.post("/users/me/api-keys", body)).json()["key"]

    def vary(_: str, path: str) -> dict[str, Any]:
        return {"headers": {"X-API-Key": keys["tasks:read" if "/users/me" in path else "account"]}}

    assert await unlike(403, world, vary) == {}


async def test_not_found(world: World) -> None:
    def vary(method: str, path: str) -> dict[str, Any]:
        if (method, path) == ("POST", "/projects/{project_id}/members"):
            return {"json": {"username": "nobody_of_that_name", "role": "viewer"}}
        if path == "/events":
            return {"query": f"?project_id={UNKNOWN}"}
        if "{" in path:
            world.ids[path.rsplit("{", 1)[1].partition("}")[0]] = UNKNOWN
        else:
            world.ids |= {"project_id": UNKNOWN, "task_id": UNKNOWN}
        return {}

    answers = await unlike(404, world, vary)
    # Only a replay finds nothing here, below.
    assert answers.pop("POST /projects").startswith("201")
    assert answers == {}


async def test_not_acceptable(world: World) -> None:
    assert await unlike(406, world, lambda *_: {"more": {"Accept": "application/xml"}}) == {}


async def test_not_supported(world: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.state.stream_feed, "is_supported", False)
    assert await unlike(501, world, lambda *_: {}) == {}


async def test_not_found_by_a_replay(world: World, database: Database) -> None:
    more = {"Idempotency-Key": "once"}
    created = await world.call("POST", "/projects", more=more)
    async with open_transaction(database) as session:
        await session.execute(text("DELETE FROM project_members WHERE project_id = :id"), {"id": created.json()["id"]})
    assert (await world.call("POST", "/projects", more=more)).status_code == 404


@pytest.mark.parametrize(("method", "path"), operations(409), ids="-".join)
async def test_conflict(world: World, database: Database, method: str, path: str) -> None:
    options: dict[str, Any] = {}
    if path == "/users":
        options["json"] = {"username": "Alice", "email": "new@example.com", "password": "a fine password"}
    elif path == "/users/me":
        options["json"] = {"username": "bob"}
    elif (method, path) == ("DELETE", "/projects/{project_id}") or path.startswith("/admin/projects/"):
        world.ids["project_id"] = world.alice.inbox_id
    elif path in _ONLY_COPIES:
        async with world.copy_running(database, method, path, "running"):
            response = await world.call(method, path, more={"Idempotency-Key": "running"})
            assert response.status_code == 409, response.text
        return
    elif path != "/users/me/delete":
        await world.alice.patch(f"/projects/{world.ids['project_id']}", {"archived": True})
    assert (await world.call(method, path, **options)).status_code == 409


async def test_stale(world: World) -> None:
    def vary(_: str, path: str) -> dict[str, Any]:
        if path == "/tasks/bulk":
            return {"json": {"tasks": [{"id": world.ids["task_id"], "version": 77}], "set": {"priority": 5}}}
        return {"more": {"If-Match": '"77"'}}

    assert await unlike(412, world, vary) == {}


async def test_precondition_required(world: World, settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"require_if_match": True}))
    async with started(app):
        assert await unlike(428, world, lambda *_: {"app": app}) == {}


async def test_too_large(world: World) -> None:
    body = {"content": b" " * 1_048_577, "more": {"Content-Type": "application/json"}}
    assert await unlike(413, world, lambda *_: dict(body)) == {}


async def test_other_content_type(world: World) -> None:
    body = {"content": b"title: x", "more": {"Content-Type": "application/yaml"}}
    assert await unlike(415, world, lambda *_: dict(body)) == {}


async def test_unknown_query_parameter(world: World) -> None:
    assert await unlike(422, world, lambda *_: {"query": "?no_such_parameter=1"}) == {}


async def test_rate_limited(world: World, settings: Settings) -> None:
    limits = {"rate_limit_user_per_minute": 1, "rate_limit_anonymous_per_minute": 1}
    app = create_app(settings.model_copy(update=limits))
    async with started(app):
        for method, path in (("GET", "/users/me"), ("GET", "/admin/users"), ("POST", "/token/revoke")):
            assert (await world.call(method, path, app=app)).is_success
        assert await unlike(429, world, lambda *_: {"app": app}) == {}


async def test_database_gone(world: World) -> None:
    app = create_app(make_settings(database_url=f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/none"))
    async with without_lifespan(app):
        assert await unlike(503, world, lambda *_: {"app": app}) == {}

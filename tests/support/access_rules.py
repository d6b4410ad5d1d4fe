"""What the tests of several files in tests/service share: access rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conftest import PASSWORD
from tests.support.access_world import Actor, World
from tests.support.credentials import API

Body = Callable[[World], dict[str, Any]] | dict[str, Any] | None


RANKS = {None: 0, "viewer": 1, "editor": 2, "owner": 3}


@dataclass(frozen=True)
class Rule:
    """What a route asks of its caller, and what it answers to one who has it."""

    access: str
    ok: int = 200
    scope: str | None = None  # several with spaces between: all of them
    role: str | None = None
    json: Body = None
    form: dict[str, str] | None = None
    query: Body = None
    shows: bool = False


def public(ok: int = 200, json: Body = None, form: dict[str, str] | None = None) -> Rule:
    """Anybody, whatever credential they show."""
    return Rule("public", ok, json=json, form=form)


def own(scope: str | None, ok: int = 200, json: Body = None, *, query: Body = None, shows: bool = False) -> Rule:
    """Any user, on what is theirs."""
    return Rule("own", ok, scope, json=json, query=query, shows=shows)


def member(role: str, scope: str, ok: int = 200, json: Body = None, *, query: Body = None, shows: bool = False) -> Rule:
    """A member of the project with at least this role."""
    return Rule("member", ok, scope, role, json=json, query=query, shows=shows)


def admin(ok: int = 200, json: Body = None) -> Rule:
    """An administrator's key with the scope `admin`."""
    return Rule("admin", ok, json=json)


def nobody() -> Rule:
    """No user: the credential is one that no account has."""
    return Rule("nobody")


OUTSIDE = {
    "GET /": public(),
    "GET /health": public(),
    "GET /livez": public(),
    "GET /readyz": public(),
    "GET /metrics": nobody(),
    "GET /openapi.json": public(),
    "GET /app": public(),
    "GET /app/assets/{name}": public(),
    "GET /docs": public(),
    "GET /redoc": public(),
    "GET /docs/assets/{name}": public(),
    "GET /docs/problems": public(),
}


# Of an ephemeral instance alone.
TESTING = {
    "POST /testing/users": public(201, {}),
    "POST /testing/reset": public(204),
}


NEW = "a brand new phrase"


NEW_PASSWORD = {"current_password": PASSWORD, "new_password": NEW, "confirm_password": NEW}


WITHIN: dict[str, Rule | tuple[Rule, ...]] = {
    "POST /users": public(201, {"username": "newcomer", "email": "newcomer@example.com", "password": PASSWORD}),
    "POST /token": public(form={"username": "owner", "password": PASSWORD}),
    "POST /token/refresh": public(json=lambda world: {"refresh_token": world.spare_logins["owner"].refresh}),
    "POST /token/revoke": public(204, lambda world: {"refresh_token": world.spare_logins["owner"].refresh}),
    "GET /users/me": own(None),
    "PATCH /users/me": own("account", json={"email": "elsewhere@example.com"}),
    "POST /users/me/password": own("account", 204, NEW_PASSWORD),
    "POST /users/me/delete": own("account", 204, {"password": PASSWORD}),
    "GET /users/me/sessions": own("account"),
    "DELETE /users/me/sessions/{session_id}": own("account", 204),
    "GET /users/me/api-keys": own("account"),
    "POST /users/me/api-keys": own("account", 201, {"name": "Another", "scopes": ["account"]}),
    "DELETE /users/me/api-keys/{key_id}": own("account", 204),
    # All of them are members of one project.
    "GET /users": own("tasks:read", query=lambda world: {"id": world.ids["user_id"]}),
    "GET /users/{user_id}": own("tasks:read"),
    "GET /projects": own("projects:read", shows=True),
    "POST /projects": own("projects:write", 201, {"name": "New"}),
    "GET /projects/{project_id}": member("viewer", "projects:read", shows=True),
    "PATCH /projects/{project_id}": member("owner", "projects:write", json={"description": "New"}),
    "PUT /projects/{project_id}": member("owner", "projects:write", json={"description": "New"}),
    "DELETE /projects/{project_id}": member("owner", "projects:write", 204),
    "GET /projects/{project_id}/members": member("viewer", "projects:read"),
    "POST /projects/{project_id}/members": member(
        "owner", "projects:write", 201, {"username": "stranger", "role": "viewer"}
    ),
    "GET /projects/{project_id}/members/{user_id}": member("viewer", "projects:read"),
    "PUT /projects/{project_id}/members/{user_id}": member("owner", "projects:write", json={"role": "viewer"}),
    "DELETE /projects/{project_id}/members/{user_id}": member("owner", "projects:write", 204),
    "GET /projects/{project_id}/tasks": member("viewer", "tasks:read", shows=True),
    "POST /projects/{project_id}/tasks": member("editor", "tasks:write", 201, {"title": "New"}),
    "GET /projects/{project_id}/tasks/{task_id}": member("viewer", "tasks:read", shows=True),
    "PATCH /projects/{project_id}/tasks/{task_id}": member("editor", "tasks:write", json={"priority": 5}),
    "PUT /projects/{project_id}/tasks/{task_id}": member("editor", "tasks:write", json={"priority": 5}),
    "DELETE /projects/{project_id}/tasks/{task_id}": member("editor", "tasks:write", 204),
    "GET /projects/{project_id}/sections": member("viewer", "tasks:read", shows=True),
    "POST /projects/{project_id}/sections": member("editor", "tasks:write", 201, {"name": "New"}),
    "GET /projects/{project_id}/sections/{section_id}": member("viewer", "tasks:read", shows=True),
    "PATCH /projects/{project_id}/sections/{section_id}": member("editor", "tasks:write", json={"name": "New"}),
    "PUT /projects/{project_id}/sections/{section_id}": member("editor", "tasks:write", json={"name": "New"}),
    "POST /projects/{project_id}/sections/{section_id}/move": member("editor", "tasks:write", json={"at": "bottom"}),
    "DELETE /projects/{project_id}/sections/{section_id}": member("editor", "tasks:write", 204),
    "GET /tasks": own("tasks:read", shows=True),
    "GET /tasks/counts": own("tasks:read", query={"by": "status"}),
    "GET /projects/{project_id}/tasks/counts": member("viewer", "tasks:read", query={"by": "status"}),
    "POST /tasks": (
        own("tasks:write", 201, {"title": "New"}),
        member("editor", "tasks:write", 201, lambda world: {"title": "New", "project_id": world.ids["project_id"]}),
    ),
    "GET /tasks/{task_id}": member("viewer", "tasks:read", shows=True),
    "PATCH /tasks/{task_id}": member("editor", "tasks:write", json={"priority": 5}),
    "PUT /tasks/{task_id}": member("editor", "tasks:write", json={"priority": 5}),
    "DELETE /tasks/{task_id}": member("editor", "tasks:write", 204),
    "POST /tasks/{task_id}/move": member("editor", "tasks:write", json={"at": "top", "status": "completed"}),
    "GET /tasks/{task_id}/comments": member("viewer", "tasks:read", shows=True),
    "POST /tasks/{task_id}/comments": member("editor", "tasks:write", 201, {"body": "New"}),
    # The comment is the editor's: another editor may not change it, see below.
    "GET /tasks/{task_id}/comments/{comment_id}": member("viewer", "tasks:read", shows=True),
    "PATCH /tasks/{task_id}/comments/{comment_id}": member("editor", "tasks:write", json={"body": "New"}),
    "PUT /tasks/{task_id}/comments/{comment_id}": member("editor", "tasks:write", json={"body": "New"}),
    "DELETE /tasks/{task_id}/comments/{comment_id}": member("editor", "tasks:write", 204),
    "POST /tasks/bulk": (
        own("tasks:write", 201, {"tasks": [{"title": "New"}]}),
        member(
            "editor",
            "tasks:write",
            201,
            lambda world: {"tasks": [{"title": "New", "project_id": world.ids["project_id"]}]},
        ),
    ),
    "PATCH /tasks/bulk": (
        member("editor", "tasks:write", json=lambda world: {"ids": [world.ids["task_id"]], "set": {"priority": 5}}),
        member(
            "editor",
            "tasks:write",
            json=lambda world: {"tasks": [{"id": world.ids["task_id"], "version": 1}], "set": {"priority": 5}},
        ),
    ),
    "DELETE /tasks/bulk": member("editor", "tasks:write", 204, query=lambda world: {"id": world.ids["task_id"]}),
    "GET /tasks/{task_id}/activity": member("viewer", "tasks:read", shows=True),
    "GET /projects/{project_id}/activity": member("viewer", "projects:read", shows=True),
    "GET /changes": own("tasks:read projects:read"),
    "GET /events": own("tasks:read projects:read"),
    "POST /events/ticket": own("tasks:read projects:read"),
    "GET /projects/{project_id}/webhooks": member("owner", "projects:read"),
    "POST /projects/{project_id}/webhooks": member(
        "owner", "projects:write", 201, {"name": "New", "url": "https://8.8.8.8/new"}
    ),
    "GET /projects/{project_id}/webhooks/{webhook_id}": member("owner", "projects:read"),
    "PATCH /projects/{project_id}/webhooks/{webhook_id}": member("owner", "projects:write", json={"name": "Renamed"}),
    "DELETE /projects/{project_id}/webhooks/{webhook_id}": member("owner", "projects:write", 204),
    "POST /projects/{project_id}/webhooks/{webhook_id}/rotate-secret": member("owner", "projects:write"),
    "POST /projects/{project_id}/webhooks/{webhook_id}/test": member("owner", "projects:write", 202),
    "POST /projects/{project_id}/webhooks/{webhook_id}/replay": member(
        "owner", "projects:write", 202, lambda world: {"since": world.ids["cursor"]}
    ),
    "GET /projects/{project_id}/webhooks/{webhook_id}/deliveries": member("owner", "projects:read"),
    "GET /projects/{project_id}/webhooks/{webhook_id}/deliveries/{delivery_id}": member("owner", "projects:read"),
    "POST /projects/{project_id}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": member(
        "owner", "projects:write", 202
    ),
    "GET /notifications": own("tasks:read"),
    "POST /notifications/read": own("tasks:write", 204),
    "POST /notifications/{notification_id}/read": own("tasks:write", 204),
    "GET /admin/users": admin(),
    "POST /admin/users/{stranger_id}/disable": admin(),
    "POST /admin/users/{disabled_id}/enable": admin(),
    "GET /admin/projects/without-owner": admin(),
    # The partner is an owner.
    "PUT /admin/projects/{project_id}/members/{user_id}": admin(json={"role": "viewer"}),
    "DELETE /admin/clear-tasks": admin(),
}


def rules_by_route() -> dict[tuple[str, str], tuple[Rule, ...]]:
    rows: dict[tuple[str, str], tuple[Rule, ...]] = {}
    for prefix, table in (("", OUTSIDE), (API, WITHIN)):
        for route, rule in table.items():
            method, _, path = route.partition(" ")
            rows[method, prefix + path] = rule if isinstance(rule, tuple) else (rule,)
    return rows


RULES = rules_by_route()


CASES = [
    pytest.param(method, path, rule, id=f"{method} {path}{f' ({number})' if number else ''}")
    for (method, path), rules in RULES.items()
    for number, rule in enumerate(rules)
]


def expected(rule: Rule, actor: Actor) -> tuple[int, str | None]:
    """Return the status and the kind of problem that the contract demands."""
    if rule.access == "public":
        return rule.ok, None
    if actor.person is None or (rule.access == "nobody" and actor.header == "X-API-Key"):
        return 401, "unauthenticated"
    if rule.access == "nobody":
        return 401, "invalid-token"
    if rule.access == "admin":
        if actor.scopes is None:
            return 401, "invalid-token"
        if not actor.live:
            return 403, "wrong-admin-key"
        return (rule.ok, None) if "admin" in actor.scopes else (403, "scope-missing")
    if not actor.live:
        return 401, "invalid-token"
    if rule.scope and actor.scopes is not None:
        for scope in rule.scope.split():
            if not {scope, scope.replace(":read", ":write")} & actor.scopes:
                return 403, "scope-missing"
    if rule.access == "member" and RANKS[actor.role] < RANKS[rule.role]:
        return (404, "not-found") if actor.role is None else (403, "role-too-low")
    return rule.ok, None


def filled(body: Body, world: World) -> dict[str, Any] | None:
    """Return a body or query with the world's ids."""
    return body(world) if callable(body) else body


def problem_of(response: httpx.Response) -> str | None:
    """Return the kind of a problem document, without its prefix."""
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return None
    return str(response.json()["type"]).removeprefix("/docs/problems#")

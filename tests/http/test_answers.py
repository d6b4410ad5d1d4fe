"""Answers whose JSON PostgreSQL has written are those that pydantic would have written."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, get_origin

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter

from taskmanager.database.database import Database
from taskmanager.http.dispatch import RouteTable
from tests.conftest import Person, SignUp
from tests.support.access_world import make_webhook
from tests.support.both_ways import ALL_ROUTES
from tests.support.credentials import API, new_key
from tests.support.rows import execute

# What JSON must escape, what PostgreSQL and pydantic could write in different ways, and what an array literal holds.
HARD = '"q" \\ / \x01\x1f\x7f \u2028\u2029 \ufeff ü 😀 {a,"b"} NULL null \\u0041 \\n <&> \ud7ff\ue000 e\u0301'
# What of it a line may have, and a text; older versions stored all of it.
LINE, TEXT = re.sub("[\x01\x1f\x7f\u2028\u2029]", "", HARD), re.sub("[\x01\x1f\x7f]", "", HARD)
EXACT = "2030-01-31T12:00:00.000001Z"
ADMIN = "/api/v1/admin"
# What /changes and /events answer has other fields for each kind of thing: tests/changes and tests/stream compare each
# row with that of its GET.
READS = [
    path
    for method, path in ALL_ROUTES
    if method == "GET" and path.startswith("/api/v1/") and path not in {"/api/v1/changes", "/api/v1/events"}
]


class World:
    """Ids of things with every nullable field once null and once set."""

    def __init__(self, person: Person, ids: dict[str, int]) -> None:
        self.person = person
        self.ids = ids


@pytest.fixture
async def world(alice: Person, sign_up: SignUp, database: Database) -> World:
    """A project with all that there may be, read by Alice."""
    leaver = await sign_up("leaver")
    project = (await alice.post("/projects", {"name": LINE, "description": TEXT})).json()
    plain = await alice.new_project()
    members = f"/projects/{project['id']}/members"
    await alice.post(members, {"username": "leaver", "role": "editor"})
    section = (await alice.post(f"/projects/{project['id']}/sections", {"name": LINE})).json()
    full = {
        "section_id": section["id"],
        "title": LINE,
        "description": f"line\r\n\t{TEXT}",
        "tags": [LINE[:20], "", "NULL", "{}", "a,b", '"'],
        "due_at": EXACT,
        "assignee_id": alice.id,
        "priority": 5,
    }
    full["tags"] = [tag for tag in full["tags"] if tag]
    task = await leaver.new_task(project["id"], **full)
    await alice.patch(f"/tasks/{task['id']}", {"status": "completed", "title": f"{LINE} again", "due_at": None})
    await alice.patch(f"/tasks/{task['id']}", {"due_at": "0001-01-01T00:00:00.000001Z"})
    empty = await leaver.new_task(project["id"], assignee_id=alice.id)
    comment = (await leaver.post(f"/tasks/{task['id']}/comments", {"body": TEXT})).json()["id"]
    own = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "own"})).json()["id"]
    await alice.patch(f"/tasks/{task['id']}/comments/{own}", {"body": TEXT})
    key = await new_key(alice, "tasks:read", name=LINE, expires_at=EXACT)
    await new_key(alice, "account")
    await alice.client.get(f"{API}/tasks", headers={"X-API-Key": key.text})
    await execute(database, "UPDATE tasks SET description = :hard WHERE id = :id", hard=HARD, id=task["id"])
    await execute(database, "UPDATE comments SET body = :hard WHERE id = :id", hard=HARD, id=own)
    await execute(database, "UPDATE projects SET description = :hard WHERE id = :id", hard=HARD, id=project["id"])
    await execute(
        database,
        "INSERT INTO sessions (user_id, user_agent) VALUES (:id, NULL), (:id, :agent)",
        id=alice.id,
        agent=HARD,
    )
    await execute(
        database,
        "UPDATE notifications SET read_at = now() WHERE id = (SELECT min(id) FROM notifications WHERE user_id = :id)",
        id=alice.id,
    )
    await leaver.post("/users/me/delete", {"password": "correct horse battery"}, expect=204)
    second = await sign_up("second")
    await alice.post(members, {"username": "second", "role": "editor"})
    await second.post(f"/tasks/{empty['id']}/comments", {"body": "Hello @alice"})
    mine = (await alice.new_task(project["id"]))["id"]
    days = "UPDATE tasks SET due_at = NULL, due_on = '2026-01-31', start_at = '2026-01-30 12:00Z' WHERE id = :id"
    await execute(database, days, id=mine)
    webhook = await make_webhook(alice, project["id"], database)
    await alice.post(f"/projects/{project['id']}/webhooks/{webhook[0]}/test", expect=202)
    other = await make_webhook(alice, project["id"], database)
    await execute(
        database,
        "UPDATE webhooks SET name = :hard, enabled = false, disabled_reason = 'failures', failing_since = now(),"
        " last_success_at = now(), events = ARRAY['a', :hard] WHERE id = :id",
        hard=HARD[:90],
        id=webhook[0],
    )
    await execute(
        database,
        "UPDATE webhook_deliveries SET state = 'failed', attempts = 3, last_attempt_at = now(), finished_at = now(),"
        " next_attempt_at = NULL, status = 500, error = :hard, answer = :hard, body = convert_to(:hard, 'UTF8')"
        " WHERE id = :id",
        hard=HARD,
        id=webhook[1],
    )
    await execute(database, "UPDATE webhook_deliveries SET body = NULL WHERE id = :id", id=other[1])
    await second.patch("/users/me", {"display_name": LINE, "time_zone": "Europe/Berlin"})
    ids = {"project_id": project["id"], "task_id": task["id"], "comment_id": comment, "user_id": second.id}
    ids |= {"author_id": leaver.id, "alice_id": alice.id}
    ids["section_id"] = section["id"]
    return World(
        alice,
        {
            **ids,
            "webhook_id": webhook[0],
            "delivery_id": webhook[1],
            "other_webhook_id": other[0],
            "other_delivery_id": other[1],
            "own_id": own,
            "empty_id": empty["id"],
            "mine_id": mine,
            "plain_id": plain,
            "inbox_id": alice.inbox_id,
        },
    )


_WEBHOOKS = "/api/v1/projects/{project_id}/webhooks"
# Other things than those that have a route's names, and other queries.
MORE = {
    f"{ADMIN}/users": ["?limit=1"],
    "/api/v1/projects": ["?limit=1"],
    "/api/v1/projects/{project_id}": ["/api/v1/projects/{inbox_id}", "/api/v1/projects/{plain_id}"],
    "/api/v1/projects/{project_id}/activity": ["?limit=1", "/api/v1/projects/{plain_id}/activity"],
    "/api/v1/projects/{project_id}/members": ["?limit=1"],
    "/api/v1/projects/{project_id}/members/{user_id}": ["/api/v1/projects/{project_id}/members/{alice_id}"],
    "/api/v1/projects/{project_id}/sections": ["/api/v1/projects/{plain_id}/sections"],
    "/api/v1/projects/{project_id}/tasks": [
        "?limit=1",
        "?sort_by=position",
        "?count=none",
        "/api/v1/projects/{plain_id}/tasks",
    ],
    f"{_WEBHOOKS}/{{webhook_id}}": [f"{_WEBHOOKS}/{{other_webhook_id}}"],
    f"{_WEBHOOKS}/{{webhook_id}}/deliveries": ["?limit=1", f"{_WEBHOOKS}/{{other_webhook_id}}/deliveries"],
    f"{_WEBHOOKS}/{{webhook_id}}/deliveries/{{delivery_id}}": [
        f"{_WEBHOOKS}/{{other_webhook_id}}/deliveries/{{other_delivery_id}}"
    ],
    _WEBHOOKS: ["?limit=1"],
    "/api/v1/users/{user_id}": ["/api/v1/users/{author_id}"],
    "/api/v1/tasks/counts": ["?by=priority", "?by=assignee", "?by=project", "?by=status&status=cancelled"],
    "/api/v1/tasks": [
        "?id={task_id}&id={empty_id}&id={mine_id}",
        "?sort_by=due_at",
        "?limit=1&sort_by=title",
        "?count=none&search=again",
        "?status=cancelled",
    ],
    "/api/v1/tasks/{task_id}": ["/api/v1/tasks/{empty_id}", "/api/v1/tasks/{mine_id}"],
    "/api/v1/tasks/{task_id}/activity": ["?limit=1", "/api/v1/tasks/{empty_id}/activity"],
    "/api/v1/tasks/{task_id}/comments": ["?limit=1", "/api/v1/tasks/{empty_id}/comments"],
    "/api/v1/tasks/{task_id}/comments/{comment_id}": ["/api/v1/tasks/{task_id}/comments/{own_id}"],
    "/api/v1/notifications": ["?limit=1", "?unread=true", "?unread=false"],
    "/api/v1/users/me/api-keys": ["?limit=1"],
    "/api/v1/users/me/sessions": ["?limit=1"],
    "/api/v1/admin/projects/without-owner": ["?limit=1"],
}


# Without these there is no answer.
NEEDED = {
    "/api/v1/users": "?id={user_id}&id={author_id}",
    "/api/v1/tasks/counts": "?by=tag",
    "/api/v1/projects/{project_id}/tasks/counts": "?by=assignee",
}
# Those that show more with `include`.
INCLUDING = {
    "/api/v1/projects/{project_id}/activity": ("people",),
    "/api/v1/projects/{project_id}/members": ("people",),
    "/api/v1/projects/{project_id}/members/{user_id}": ("people",),
    "/api/v1/projects/{project_id}/tasks": ("people", "counts"),
    "/api/v1/projects/{project_id}/tasks/{task_id}": ("people", "counts"),
    "/api/v1/tasks": ("people", "counts"),
    "/api/v1/tasks/{task_id}": ("people", "counts"),
    "/api/v1/tasks/{task_id}/activity": ("people",),
    "/api/v1/tasks/{task_id}/comments": ("people",),
    "/api/v1/tasks/{task_id}/comments/{comment_id}": ("people",),
    "/api/v1/notifications": ("people",),
}


def urls(template: str) -> list[str]:
    """Return the paths to read of a route."""
    paths = [template + NEEDED.get(template, "")]
    paths += (more if more.startswith("/") else template + more for more in MORE.get(template, ()))
    for name in INCLUDING.get(template, ()):
        paths += [f"{path}{'&' if '?' in path else '?'}include={name}" for path in paths]
    return paths


@pytest.fixture
async def read(world: World, sign_up: SignUp) -> Callable[[str], Awaitable[bytes]]:
    """Return the body at a path, by whoever may read it."""
    boss = await sign_up("boss", is_admin=True)
    admin_key = await new_key(boss, "admin")
    gone = await sign_up("gone")
    for _ in range(2):
        await gone.new_project("Left behind")
    await boss.client.post(f"{ADMIN}/users/{gone.id}/disable", headers=admin_key.in_header)

    async def ask(path: str) -> bytes:
        headers = {"X-API-Key": admin_key.text} if path.startswith(ADMIN) else {}
        client = boss.client if path.startswith(ADMIN) else world.person.client
        answer = await client.get(path.format_map(world.ids), headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["Content-Type"] == "application/json"
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        return answer.content

    return ask


def model_of(app: FastAPI, template: str) -> type[BaseModel]:
    """Return the response model of a GET route."""
    route = RouteTable(app).route("GET", template)
    assert isinstance(route, APIRoute)
    model: type[BaseModel] = route.response_model
    return model


@pytest.mark.parametrize("template", READS)
async def test_the_bytes_are_what_the_model_would_write(
    app: FastAPI, read: Callable[[str], Awaitable[bytes]], template: str
) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(model_of(app, template))
    for path in urls(template):
        body = await read(path)
        written = adapter.dump_json(adapter.validate_json(body, strict=True, extra="forbid"))
        # As text, key order and all; only white space, which jsonb writes, and escapes may differ.
        assert compact(body) == compact(written), path


def compact(body: bytes) -> str:
    """Return a document in one spelling, its keys in their order, but for jsonb's own order in a `Change`."""

    def sort_change(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(sorted(pairs) if {name for name, _ in pairs} == {"old", "new"} else pairs)

    return json.dumps(json.loads(body, object_pairs_hook=sort_change), ensure_ascii=False)


async def test_every_nullable_field_is_once_null_and_once_set(
    app: FastAPI, read: Callable[[str], Awaitable[bytes]]
) -> None:
    seen: dict[str, set[bool]] = {}
    texts = ""
    for template in READS:
        for path in urls(template):
            body = json.loads(await read(path))
            note_nulls(model_of(app, template), body, seen)
            texts += json.dumps(body, ensure_ascii=False)
    assert {name: nulls for name, nulls in seen.items() if nulls != {True, False}} == {}
    assert {
        "TaskAnswer.due_at",
        "CountedTask.due_at",
        "EventRead.actor",
        "SessionRead.user_agent",
        "TaskList.total",
    } <= set(seen)
    for character in re.sub(r"[\\\"\x00-\x1f]", "", HARD):
        assert character in texts, repr(character)


def note_nulls(model: Any, value: Any, seen: dict[str, set[bool]]) -> None:
    """Note of each field that may be null whether it is."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in _kinds(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if name not in value:
            assert field.exclude_if is not None, f"{model.__name__}.{name} is missing"
            continue
        if type(None) in _kinds(field.annotation):
            seen.setdefault(f"{model.__name__}.{name}", set()).add(value[name] is None)
        is_mapping = get_origin(field.annotation) is dict
        inner = list(value[name].values()) if is_mapping else value[name]
        for one in inner if isinstance(inner, list) else [inner]:
            if kinds and one is not None:
                note_nulls(kinds[0], one, seen)


def _kinds(annotation: Any) -> set[Any]:
    inner = getattr(annotation, "__args__", ())
    return {annotation, *(kind for one in inner for kind in _kinds(one))}

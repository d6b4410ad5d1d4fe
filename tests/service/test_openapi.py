"""The committed description of the API is the code's, and a change that breaks clients is noticed."""

import copy
import json
from typing import Any

import pytest

from taskmanager.commands.openapi import describe, render
from tests.support.openapi_compatibility import COMMITTED, breaking_changes


@pytest.fixture(scope="module")
def current() -> dict[str, Any]:
    return describe()


def test_headers_that_routes_read_are_described(current: dict[str, Any]) -> None:
    def described(method: str, path: str) -> set[str]:
        parameters = current["paths"][f"/api/v1{path}"][method].get("parameters", [])
        return {parameter["name"] for parameter in parameters if parameter["in"] == "header"}

    for path in ("/tasks/{task_id}", "/projects/{project_id}", "/tasks/{task_id}/comments/{comment_id}"):
        assert described("get", path) == {"If-None-Match"}
        for method in ("patch", "delete"):
            assert described(method, path) == {"If-Match", "Idempotency-Key"}
        answers = current["paths"][f"/api/v1{path}"]["patch"]["responses"]
        assert {"ETag", "Idempotency-Replayed", "X-Request-ID"} <= set(answers["200"]["headers"])
        assert {"Retry-After", "RateLimit", "X-Request-ID"} <= set(answers["429"]["headers"])
    for path in (
        "/tasks",
        "/tasks/bulk",
        "/projects",
        "/projects/{project_id}/members",
        "/notifications/{notification_id}/read",
    ):
        assert described("post", path) == {"Idempotency-Key"}
    assert described("post", "/users") == set()


def test_no_change_breaks_a_client(current: dict[str, Any]) -> None:
    assert breaking_changes(json.loads(COMMITTED.read_text()), current) == []


def test_the_committed_description_is_the_code_s(current: dict[str, Any]) -> None:
    assert COMMITTED.read_text() == render(current), "run `make openapi`"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["paths"].pop("/api/v1/tasks"), "GET /api/v1/tasks is gone"),
        (lambda d: d["paths"]["/api/v1/tasks/{task_id}"].pop("put"), "PUT /api/v1/tasks/{task_id} is gone"),
        (
            lambda d: d["components"]["schemas"]["TaskAnswer"]["properties"].pop("tags"),
            "GET /api/v1/tasks/{task_id} answer has no tags any more",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskCreate"]["required"].append("priority"),
            "POST /api/v1/projects/{project_id}/tasks body demands priority",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskUpdate"]["properties"].pop("status"),
            "PATCH /api/v1/tasks/{task_id} body no longer takes status",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskStatus"]["enum"].remove("cancelled"),
            "PATCH /api/v1/tasks/{task_id} body.status no longer takes cancelled",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskCreate"]["properties"]["title"].update(maxLength=100),
            "POST /api/v1/projects/{project_id}/tasks body.title has a tighter maxLength",
        ),
        (
            lambda d: d["paths"]["/api/v1/tasks"]["get"]["parameters"].pop(0),
            "GET /api/v1/tasks no longer takes status in the query",
        ),
        (
            lambda d: d["paths"]["/api/v1/tasks"]["get"]["parameters"][0].update(required=True),
            "GET /api/v1/tasks demands status in the query",
        ),
        (
            lambda d: d["paths"]["/api/v1/tasks"]["post"]["responses"].pop("201"),
            "POST /api/v1/tasks no longer answers 201",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskRead"]["properties"].update(
                title={"anyOf": [{"type": "string"}, {"type": "null"}]}
            ),
            "PATCH /api/v1/tasks/{task_id} answer.title may be null",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskRead"]["properties"].update(due_at={"type": "null"}),
            "PATCH /api/v1/tasks/{task_id} answer.due_at has no ['string'] any more",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskRead"]["required"].remove("tags"),
            "PATCH /api/v1/tasks/{task_id} answer may be without tags",
        ),
        (
            lambda d: d["components"]["schemas"]["TaskUpdate"]["properties"].update(due_at={"type": "string"}),
            "PATCH /api/v1/tasks/{task_id} body.due_at no longer takes null",
        ),
        (
            lambda d: d["components"]["schemas"]["Role"]["enum"].append("guest"),
            "GET /api/v1/projects/{project_id} answer.role may be guest",
        ),
        (
            lambda d: d["components"]["schemas"]["Role"]["enum"].remove("viewer"),
            "PUT /api/v1/projects/{project_id}/members/{user_id} body.role no longer takes viewer",
        ),
        (
            lambda d: d["components"]["schemas"]["OrderEnd"]["enum"].remove("top"),
            "POST /api/v1/tasks/{task_id}/move body.at no longer takes top",
        ),
        (
            lambda d: d["components"]["schemas"]["MemberCreate"]["oneOf"].pop(1),
            "POST /api/v1/projects/{project_id}/members body demands username",
        ),
        (
            lambda d: d["components"]["schemas"]["ChangeItem"]["oneOf"].append({"type": "string"}),
            "GET /api/v1/changes answer.changes[] has another type",
        ),
        (
            lambda d: d["paths"]["/api/v1/tasks/{task_id}"]["patch"]["requestBody"]["content"].pop(
                "application/merge-patch+json"
            ),
            "PATCH /api/v1/tasks/{task_id} no longer takes application/merge-patch+json",
        ),
        (
            lambda d: d["paths"]["/api/v1/tasks"]["post"]["responses"]["201"]["headers"].pop("Location"),
            "POST /api/v1/tasks answers without Location",
        ),
    ],
)
def test_breaking_changes_are_found(current: dict[str, Any], change: Any, told: str) -> None:
    changed = copy.deepcopy(current)
    change(changed)
    assert told in breaking_changes(current, changed)


def test_additions_break_nothing(current: dict[str, Any]) -> None:
    changed = copy.deepcopy(current)
    changed["components"]["schemas"]["TaskRead"]["properties"]["color"] = {"type": "string"}
    changed["components"]["schemas"]["TaskUpdate"]["properties"]["color"] = {"type": "string"}
    changed["components"]["schemas"]["NotificationKind"]["enum"].append("invited")
    changed["components"]["schemas"]["CountBy"]["enum"].append("title")
    changed["components"]["schemas"]["MemberCreate"]["oneOf"].append({"type": "object", "required": ["user_id"]})
    changed["components"]["schemas"]["UserRead"]["properties"]["email"]["enum"] = ["a@example.com"]
    changed["paths"]["/api/v1/new"] = {"get": {"responses": {}}}
    assert breaking_changes(current, changed) == []

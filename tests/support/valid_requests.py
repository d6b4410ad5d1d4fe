"""A valid request of each route that writes; names in braces stand for ids and secrets of a world."""

from typing import Any

from tests.conftest import PASSWORD
from tests.support.access_rules import RULES
from tests.support.credentials import API

# Where the access matrix has none, or one that depends on a world.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/users"): {"username": "newcomer", "email": "newcomer@example.com", "password": "a fine password"},
    ("POST", "/token/refresh"): {"refresh_token": "{refresh}"},
    ("POST", "/token/revoke"): {"refresh_token": "{refresh}"},
    ("PATCH", "/users/me"): {"email": "other@example.com"},
    ("POST", "/users/me/password"): {
        "current_password": PASSWORD,
        "new_password": "another fine one",
        "confirm_password": "another fine one",
    },
    ("POST", "/users/me/delete"): {"password": PASSWORD},
    ("POST", "/users/me/api-keys"): {"name": "key", "scopes": ["tasks:read"]},
    ("PATCH", "/projects/{project_id}"): {"name": "Renamed"},
    ("PUT", "/projects/{project_id}"): {"name": "Renamed"},
    ("POST", "/projects/{project_id}/members"): {"username": "{newcomer}", "role": "viewer"},
    ("POST", "/projects/{project_id}/webhooks/{webhook_id}/replay"): {"since": "{cursor}"},
    ("POST", "/tasks"): {"title": "New", "project_id": "{project_id}"},
    ("POST", "/tasks/bulk"): {"tasks": [{"title": "New", "project_id": "{project_id}"}]},
    ("PATCH", "/tasks/bulk"): {"ids": ["{task_id}"], "set": {"priority": 2}},
}
for _path in ("/tasks/{task_id}", "/projects/{project_id}/tasks/{task_id}"):
    BODIES["PUT", _path] = BODIES["PATCH", _path] = {"title": "Changed"}
for _method in ("PUT", "PATCH"):
    BODIES[_method, "/tasks/{task_id}/comments/{comment_id}"] = {"body": "Changed"}
for (_method, _path), _rules in RULES.items():
    if isinstance(_rules[0].json, dict):
        BODIES.setdefault((_method, _path.removeprefix(API)), _rules[0].json)
QUERIES = {
    ("DELETE", "/tasks/bulk"): "?id={task_id}",
    ("GET", "/users"): "?id={user_id}",
    ("GET", "/tasks/counts"): "?by=status",
    ("GET", "/projects/{project_id}/tasks/counts"): "?by=assignee",
}
FORMS = {("POST", "/token"): {"username": "{caller}", "password": PASSWORD}}


def fill(value: Any, values: dict[str, Any]) -> Any:
    """Return a body in which the names in braces are replaced."""
    if isinstance(value, dict):
        return {key: fill(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, values) for item in value]
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return values[value[1:-1]]
    return value

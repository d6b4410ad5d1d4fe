"""A request or several for every route of the API, or the reason why a route cannot be measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.servers import ADMIN_KEY
from benchmarks.works import API, WORKS, Request, get

_ADMIN = f"X-API-Key: {ADMIN_KEY}"
_KNOWN = 'If-None-Match: "1"'
_KEY = "Idempotency-Key: <run>-<n>"
_SORTS = ("created_at", "updated_at", "priority", "title", "due_at")
_FILTERS = (
    *("status=<status>", "status=pending&status=in_progress", "priority=5", "tag=work", "assignee=me"),
    *("due_after=2030-01-01T00:00:00Z", "due_before=2030-01-01T00:00:00Z", "overdue=true", "overdue=false"),
    *("status=<status>&sort_by=due_at&order=asc", "search=<word>", "search=<word>&status=<status>"),
    *("archived=any", "due=overdue&due=today", "due=week", "due=none", "assignee=none", "created_by=me"),
    *("not_status=completed", "not_tag=work", "not_assignee=me", "updated_after=2026-01-01T00:00:00Z"),
    *(
        "created_after=2026-01-01T00:00:00Z&created_before=2040-01-01T00:00:00Z",
        "sort_by=priority,due_at&order=desc,asc",
    ),
)
_LISTS = (
    "",
    *(f"sort_by={sort}&order={order}" for sort in _SORTS for order in ("desc", "asc")),
    *_FILTERS,
    *("skip=20", "limit=100"),
)
_WEBHOOKS = f"{API}/projects/{{project_id}}/webhooks"
_WEBHOOK = f"{_WEBHOOKS}/{{webhook_id}}"
_COUNTED = ("", "status=<status>", "overdue=true", "search=<word>")


@dataclass(frozen=True)
class Measured:
    """A request of a route, by a name; `kind` is key, list, search or write."""

    name: str
    kind: str
    request: Request


def _task_lists(path: str) -> list[Measured]:
    lists = [
        Measured(name, "search" if "search" in name else "list", get(f"{path}?{name}{'&' * bool(name)}count=none"))
        for name in _LISTS
    ]
    return lists + [
        Measured(f"{name}{'&' * bool(name)}count=exact", "search" if "search" in name else "list", request)
        for name, request in ((name, get(f"{path}?{name}{'&' * bool(name)}count=exact")) for name in _COUNTED)
    ]


def _key(path: str, *, known: str | None = None) -> list[Measured]:
    found = [Measured("", "key", get(path))]
    return found if known is None else [*found, Measured("304", "key", get(known, _KNOWN, status=304))]


def _list(path: str, *headers: str, name: str = "") -> Measured:
    return Measured(name, "list", get(path, *headers))


READS: Mapping[str, Sequence[Measured]] = {
    **{f"GET {path}": (Measured("", "key", Request("GET", path)),) for path in ("/", "/health", "/livez", "/readyz")},
    f"GET {API}/users/me": _key("/users/me"),
    f"GET {API}/users/me/sessions": (_list("/users/me/sessions"),),
    f"GET {API}/users/me/api-keys": (_list("/users/me/api-keys"),),
    f"GET {API}/admin/users": (_list("/admin/users", _ADMIN),),
    f"GET {API}/admin/projects/without-owner": (_list("/admin/projects/without-owner", _ADMIN),),
    f"GET {API}/users": (_list("/users?id=<user>"),),
    f"GET {API}/users/{{user_id}}": _key("/users/<user>"),
    f"GET {API}/tasks/counts": tuple(
        _list(f"/tasks/counts?by={by}", name=f"by={by}") for by in ("status", "project", "assignee", "tag")
    ),
    f"GET {API}/projects/{{project_id}}/tasks/counts": (_list("/projects/<project>/tasks/counts?by=status"),),
    f"GET {API}/changes": (_list("/changes?limit=200"),),
    f"GET {API}/projects": (_list("/projects"),),
    f"GET {API}/projects/{{project_id}}": _key("/projects/<project>", known="/projects/<project>"),
    f"GET {API}/projects/{{project_id}}/activity": (_list("/projects/<project>/activity"),),
    f"GET {API}/projects/{{project_id}}/members": (_list("/projects/<project>/members"),),
    f"GET {API}/projects/{{project_id}}/members/{{user_id}}": _key("/projects/<team_project>/members/<user>"),
    f"GET {_WEBHOOKS}": (_list("/projects/<team_project>/webhooks"),),
    f"GET {_WEBHOOK}": _key("/projects/<webhook>"),
    f"GET {_WEBHOOK}/deliveries": (_list("/projects/<webhook>/deliveries"),),
    f"GET {_WEBHOOK}/deliveries/{{delivery_id}}": _key("/projects/<delivery>"),
    f"GET {API}/projects/{{project_id}}/sections": (_list("/projects/<project>/sections"),),
    f"GET {API}/projects/{{project_id}}/sections/{{section_id}}": _key(
        "/projects/<section>", known="/projects/<section>"
    ),
    f"GET {API}/projects/{{project_id}}/tasks": (
        *_task_lists("/projects/<project>/tasks"),
        _list("/projects/<project>/tasks?sort_by=position&count=none", name="sort_by=position"),
        _list("/projects/<project_cursor>", name="cursor"),
    ),
    f"GET {API}/projects/{{project_id}}/tasks/{{task_id}}": _key(
        "/projects/<project_task>", known="/projects/<known_project_task>"
    ),
    f"GET {API}/tasks": (
        *_task_lists("/tasks"),
        _list("/tasks?project_id=<project>&count=none", name="project_id"),
        _list("/tasks?section_id=none&count=none", name="section_id=none"),
        _list("/tasks?include=people&include=counts&count=none", name="include"),
        _list("/tasks?id=<task>", name="id"),
        _list("/tasks?limit=20&count=none&cursor=<cursor>", name="cursor"),
    ),
    f"GET {API}/tasks/{{task_id}}": (
        *_key("/tasks/<task>", known="/tasks/<known_task>"),
        Measured("with an API key", "key", get("/tasks/<task>", "X-API-Key: <api_key>")),
    ),
    f"GET {API}/tasks/{{task_id}}/activity": (_list("/tasks/<discussed_task>/activity"),),
    f"GET {API}/tasks/{{task_id}}/comments": (_list("/tasks/<discussed_task>/comments"),),
    f"GET {API}/tasks/{{task_id}}/comments/{{comment_id}}": _key("/tasks/<comment>", known="/tasks/<comment>"),
    f"GET {API}/notifications": (
        _list("/notifications"),
        _list("/notifications?unread=true", name="unread=true"),
    ),
}


def _write(method: str, path: str, body: str = "", *headers: str, status: int = 200) -> Request:
    return Request(method, f"{API}{path}", body, headers, status)


_FOR_OTHERS = "decides what is sent to other servers, a few times in a project's life"
_PASSWORD = "hashes or checks a password"
_TITLE = '{"title": "Changed <n>"}'
_CREATE = WORKS["create"][0]
_TEXT = '{"body": "Text <n>, as long as most are."}'
_PROJECT = '{"name": "Project <n>"}'
_CHANGES: Mapping[str, tuple[str, str]] = {
    "/projects/{project_id}": ("/projects/<team_project>", _PROJECT),
    "/projects/{project_id}/sections/{section_id}": ("/projects/<section>", '{"name": "Section <n>"}'),
    "/tasks/{task_id}": ("/tasks/<task>", _TITLE),
    "/projects/{project_id}/tasks/{task_id}": ("/projects/<project_task>", _TITLE),
    "/tasks/{task_id}/comments/{comment_id}": ("/tasks/<comment>", _TEXT),
}

WRITES: Mapping[str, Request | str] = {
    **{
        f"{method} {API}{route}": _write(method, path, body)
        for method in ("PATCH", "PUT")
        for route, (path, body) in _CHANGES.items()
    },
    f"POST {API}/tasks": _CREATE,
    f"POST {API}/tasks/bulk": WORKS["bulk"][0],
    f"PATCH {API}/tasks/bulk": _write("PATCH", "/tasks/bulk", '{"ids": [<inbox_tasks>], "set": {"title": "All <n>"}}'),
    f"POST {API}/tasks/{{task_id}}/comments": WORKS["comment"][0],
    f"POST {API}/tasks/{{task_id}}/move": _write("POST", "/tasks/<task>/move", '{"at": "top"}'),
    f"POST {API}/projects/{{project_id}}/sections/{{section_id}}/move": _write(
        "POST", "/projects/<section>/move", '{"at": "top"}'
    ),
    f"POST {API}/projects": _write("POST", "/projects", _PROJECT, status=201),
    f"POST {API}/projects/{{project_id}}/tasks": replace(_CREATE, path=f"{API}/projects/<project>/tasks"),
    f"POST {API}/projects/{{project_id}}/members": _write(
        "POST",
        "/projects/<team_project>/members",
        '{"username": "<once_new_member>", "role": "viewer"}',
        status=201,
    ),
    f"PUT {API}/projects/{{project_id}}/members/{{user_id}}": _write(
        "PUT", "/projects/<team_project>/members/<member>", '{"role": "<role>"}'
    ),
    f"POST {API}/events/ticket": _write("POST", "/events/ticket"),
    f"POST {API}/notifications/read": _write("POST", "/notifications/read", status=204),
    f"POST {API}/notifications/{{notification_id}}/read": _write(
        "POST", "/notifications/<once_notification>/read", status=204
    ),
    f"PATCH {API}/users/me": _write("PATCH", "/users/me", '{"email": "user_<user>_<n>@example.com"}'),
    f"POST {API}/users/me/api-keys": _write(
        "POST", "/users/me/api-keys", '{"name": "Key <n>", "scopes": ["tasks:read"]}', status=201
    ),
    f"POST {API}/token/refresh": _write("POST", "/token/refresh", '{"refresh_token": "<once_refresh>"}'),
    f"POST {API}/token/revoke": _write("POST", "/token/revoke", '{"refresh_token": "<once_revoke>"}', status=204),
    f"POST {API}/admin/users/{{user_id}}/disable": _write("POST", "/admin/users/<idle_user>/disable", "", _ADMIN),
    # After the other, since only who can log in can be added to a project.
    f"POST {API}/admin/users/{{user_id}}/enable": _write("POST", "/admin/users/<idle_user>/enable", "", _ADMIN),
    f"PUT {API}/admin/projects/{{project_id}}/members/{{user_id}}": _write(
        "PUT", "/admin/projects/<team_project>/members/<idle_user>", '{"role": "viewer"}', _ADMIN
    ),
    f"DELETE {API}/tasks/{{task_id}}": _write("DELETE", "/tasks/<once_task>", status=204),
    f"DELETE {API}/projects/{{project_id}}/tasks/{{task_id}}": _write(
        "DELETE", "/projects/<once_project_task>", status=204
    ),
    f"DELETE {API}/tasks/bulk": _write("DELETE", "/tasks/bulk?<once_bulk>", status=204),
    f"DELETE {API}/tasks/{{task_id}}/comments/{{comment_id}}": _write("DELETE", "/tasks/<once_comment>", status=204),
    f"DELETE {API}/projects/{{project_id}}/members/{{user_id}}": _write(
        "DELETE", "/projects/<team_project>/members/<once_member>", status=204
    ),
    f"DELETE {API}/projects/{{project_id}}/sections/{{section_id}}": _write(
        "DELETE", "/projects/<once_section>", status=204
    ),
    f"DELETE {API}/projects/{{project_id}}": _write("DELETE", "/projects/<once_project>", status=204),
    f"DELETE {API}/users/me/sessions/{{session_id}}": _write("DELETE", "/users/me/sessions/<once_session>", status=204),
    f"DELETE {API}/users/me/api-keys/{{key_id}}": _write("DELETE", "/users/me/api-keys/<once_key>", status=204),
    **{f"POST {API}{path}": _PASSWORD for path in ("/users", "/token", "/users/me/password", "/users/me/delete")},
    f"PATCH {_WEBHOOK}": _write("PATCH", "/projects/<webhook>", '{"name": "Hook <n>"}'),
    f"POST {_WEBHOOK}/rotate-secret": _write("POST", "/projects/<webhook>/rotate-secret"),
    f"POST {_WEBHOOKS}": _FOR_OTHERS,
    f"DELETE {_WEBHOOK}": _FOR_OTHERS,
    f"POST {_WEBHOOK}/test": _FOR_OTHERS,
    f"POST {_WEBHOOK}/replay": _FOR_OTHERS,
    f"POST {_WEBHOOK}/deliveries/{{delivery_id}}/redeliver": _FOR_OTHERS,
    f"POST {API}/projects/{{project_id}}/sections": "fills a project, which has 50 at most",
    f"DELETE {API}/admin/clear-tasks": "empties the database, so the second one has nothing to do",
}


# It never ends: tests/long/test_streams.py measures it.
ENDLESS = {f"GET {API}/events"}


class UncoveredRouteError(Exception):
    """Routes of the document have no request here, or requests no route."""


def requests_of(document: Mapping[str, Any], kind: str) -> list[tuple[str, Measured | str]]:
    """Return the route and what to send for every read (`reads`) or write (`writes`) of an OpenAPI document.

    Instead of a request there may be the reason why there is none. A POST that takes a key comes with one, too.

    Raises:
        UncoveredRouteError: A route has no request, or a request no route.
    """
    routes = {
        f"{method.upper()} {path}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in ({"get"} if kind == "reads" else {"post", "put", "patch", "delete"})
    }
    known = READS if kind == "reads" else WRITES
    if missing := (routes.keys() - ENDLESS) ^ known.keys():
        raise UncoveredRouteError(f"without a request, or without a route: {sorted(missing)}")
    if kind == "reads":
        return [(route, measured) for route, found in READS.items() for measured in found]
    writes: list[tuple[str, Measured | str]] = []
    for route, request in WRITES.items():
        writes.append((route, request if isinstance(request, str) else Measured("", "write", request)))
        takes_key = any(p.get("name") == "Idempotency-Key" for p in routes[route].get("parameters", ()))
        # The administrator's key belongs to no account, to which an Idempotency-Key would belong.
        if takes_key and not isinstance(request, str) and _ADMIN not in request.headers:
            keyed = replace(request, headers=(*request.headers, _KEY))
            writes.append((route, Measured("with a key", "write", keyed)))
    return writes

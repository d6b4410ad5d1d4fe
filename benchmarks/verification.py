"""What every server must do before it is timed: reads, writes and refusals, for the service and all its peers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

TASKS = "/api/v1/tasks"
_UNKNOWN_ID = 2_000_000_000
_BAD_CREATES: tuple[Any, ...] = (
    {},
    {"title": ""},
    {"title": "x" * 201},
    {"title": ["a", "list"]},
    {"title": "A title", "status": "nonsense"},
    {"title": "A title", "priority": 6},
    ["not", "an", "object"],
)
_BAD_UPDATES: tuple[Any, ...] = ({"title": ""}, {"status": "nonsense"}, {"priority": "high"}, ["not", "an", "object"])

Stored = Callable[[int], tuple[str, str] | None]


class VerificationError(Exception):
    """A server does not do what is measured; the message says what is wrong."""


@dataclass(frozen=True)
class Caller:
    """A user with an access token and at least 21 tasks, whose ids come newest first."""

    token: str
    task_ids: Sequence[int]


def verify(url: str, caller: Caller, stranger: Caller, stored: Stored) -> None:
    """Check reads, writes, order, ownership and refusals of a server.

    `stored` returns a task's title and status from the database itself, None if there is none.

    Raises:
        VerificationError: The server does something else.
    """
    with (
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {caller.token}"}, timeout=10) as client,
        httpx.Client(base_url=url, timeout=10) as anonymous,
    ):
        _verify_reads(client, caller)
        _verify_refusals(client, anonymous, caller, stranger, stored)
        _verify_writes(client, stored)


def expect(response: httpx.Response, *statuses: int) -> Any:
    """Return the JSON of an answer with one of the statuses.

    Raises:
        VerificationError: It has another status.
    """
    if response.status_code not in statuses:
        request = response.request
        raise VerificationError(
            f"{request.method} {request.url.path} {request.content.decode()[:80]}: "
            f"{response.status_code} {response.text[:200]}, not {' or '.join(map(str, statuses))}"
        )
    return response.json() if response.is_success else None


def require(condition: bool, what: str) -> None:
    """Check a condition.

    Raises:
        VerificationError: It does not hold.
    """
    if not condition:
        raise VerificationError(what)


def _newest(client: httpx.Client) -> list[int]:
    answer = expect(client.get(TASKS, params={"limit": 20, "count": "none"}), 200)
    return [task["id"] for task in answer["tasks"]]


def _verify_reads(client: httpx.Client, caller: Caller) -> None:
    require(_newest(client) == list(caller.task_ids[:20]), "the list is not the caller's 20 newest tasks in order")
    for task_id in caller.task_ids[:3]:
        task = expect(client.get(f"{TASKS}/{task_id}"), 200)
        require(task["id"] == task_id, f"task {task_id} has another id")
        require({"title", "description", "status", "priority", "tags", "due_at"} <= task.keys(), "fields are missing")


def _verify_refusals(
    client: httpx.Client, anonymous: httpx.Client, caller: Caller, stranger: Caller, stored: Stored
) -> None:
    own, foreign = f"{TASKS}/{caller.task_ids[0]}", f"{TASKS}/{stranger.task_ids[0]}"
    body = {"title": "Not mine to change"}
    head, _, signature = caller.token.rpartition(".")
    forged = {"Authorization": f"Bearer {head}.{signature[::-1]}"}
    before = stored(caller.task_ids[0]), stored(stranger.task_ids[0])
    for headers in ({}, {"Authorization": "Bearer nonsense"}, forged):
        expect(anonymous.get(TASKS, headers=headers), 401)
        expect(anonymous.get(own, headers=headers), 401)
        expect(anonymous.post(TASKS, json=body, headers=headers), 401)
        expect(anonymous.patch(own, json=body, headers=headers), 401)
    for path in (foreign, f"{TASKS}/{_UNKNOWN_ID}"):
        expect(client.get(path), 404)
        expect(client.patch(path, json=body), 404)
    for bad in _BAD_CREATES:
        expect(client.post(TASKS, json=bad), 400, 422)
    for bad in _BAD_UPDATES:
        expect(client.patch(own, json=bad), 400, 422)
    for method, path in (("POST", TASKS), ("PATCH", own)):
        content = client.request(method, path, content=b"{", headers={"Content-Type": "application/json"})
        expect(content, 400, 422)
    require(before == (stored(caller.task_ids[0]), stored(stranger.task_ids[0])), "a refused change was made")
    require(_newest(client) == list(caller.task_ids[:20]), "a refused task was created")


def _verify_writes(client: httpx.Client, stored: Stored) -> None:
    created = expect(client.post(TASKS, json={"title": "Created here", "description": "x", "priority": 3}), 201)
    task_id = created["id"]
    require(stored(task_id) == ("Created here", "pending"), "a created task is not in the database")
    require(_newest(client)[0] == task_id, "a created task is not the newest one")
    change = {"title": "Changed here", "status": "in_progress"}
    for task in (
        expect(client.patch(f"{TASKS}/{task_id}", json=change), 200),
        expect(client.get(f"{TASKS}/{task_id}"), 200),
    ):
        require(
            (task["title"], task["status"], task["priority"]) == ("Changed here", "in_progress", 3),
            "a change is not answered",
        )
    require(stored(task_id) == ("Changed here", "in_progress"), "a change is not in the database")

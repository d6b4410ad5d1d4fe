"""What a server with the service's features must do before it is timed; checked against the database itself."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from benchmarks.rows import WORDS
from benchmarks.verification import TASKS, Caller, expect, require
from benchmarks.works import API

Query = Callable[..., list[Any]]
_MINE = "FROM tasks t JOIN project_members m ON m.project_id = t.project_id WHERE m.user_id = $1"
_NEWEST = "ORDER BY t.created_at DESC, t.id DESC LIMIT 20"
_OPEN = "t.status NOT IN ('completed', 'cancelled')"
_TEXT = "t.title || chr(10) || coalesce(t.description, '')"
_LISTS: Mapping[str, tuple[str, str]] = {
    "": ("", _NEWEST),
    **{f"status={s}": (f"AND t.status = '{s}'", _NEWEST) for s in ("pending", "in_progress", "completed", "cancelled")},
    "sort_by=priority": ("", "ORDER BY t.priority DESC, t.created_at DESC, t.id DESC LIMIT 20"),
    "overdue=true": (f"AND t.due_at < now() AND {_OPEN}", _NEWEST),
    **{
        f"search={word}": (
            f"AND position('{word}' IN lower({_TEXT})) > 0",
            _NEWEST,
        )
        for word in WORDS[:3]
    },
}
_NOTIFICATIONS = "SELECT id, read_at FROM notifications WHERE user_id = $1 ORDER BY created_at DESC, id DESC"
_COPIES = 4


def verify_features(url: str, caller: Caller, user_id: int, stranger: Caller, query: Query) -> None:
    """Check lists, conditional reads, comments, notifications, keys and bulk requests of a server.

    `query` sends a statement and its values to the server's own database and returns the rows.

    Raises:
        VerificationError: The server does something else.
    """
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {caller.token}"}, timeout=10) as client:
        for check in (_verify_lists, _verify_small_lists):
            check(client, user_id, query)
        _verify_conditional_reads(client, caller)
        _verify_comments(client, caller, stranger, query)
        _verify_keys(client, query)
        _verify_bulk(client, stranger, query)


def _ids(rows: Sequence[Any]) -> list[int]:
    return [row["id"] for row in rows]


def _verify_lists(client: httpx.Client, user_id: int, query: Query) -> None:
    for parameters, (condition, order) in _LISTS.items():
        path = f"{TASKS}?{parameters}{'&' if parameters else ''}limit=20&count="
        found = expect(client.get(f"{path}none"), 200)
        right = _ids(query(f"SELECT t.id {_MINE} {condition} {order}", user_id))
        require(_ids(found["tasks"]) == right, f"{path}none is {_ids(found['tasks'])}, not {right}")
        require(found["total"] is None, f"{path}none has a total")
        counted = expect(client.get(f"{path}exact"), 200)
        total = query(f"SELECT count(*) AS total {_MINE} {condition}", user_id)[0]["total"]
        require((counted["total"], _ids(counted["tasks"])) == (total, right), f"{path}exact has not {total} tasks")


def _verify_small_lists(client: httpx.Client, user_id: int, query: Query) -> None:
    projects = expect(client.get(f"{API}/projects"), 200)["projects"]
    mine = "SELECT project_id AS id, role FROM project_members WHERE user_id = $1 ORDER BY project_id LIMIT 20"
    right = [(row["id"], row["role"]) for row in query(mine, user_id)]
    require([(p["id"], p["role"]) for p in projects] == right, f"the caller's projects are not {right}")
    require([p["personal"] for p in projects].count(True) == 1, "not one of the projects is the caller's own")

    found = expect(client.get(f"{API}/notifications"), 200)
    stored = query(_NOTIFICATIONS, user_id)
    require(_ids(found["notifications"]) == _ids(stored[:20]), "the notifications are not the caller's newest")
    require(found["unread"] == sum(row["read_at"] is None for row in stored), "the number of unread ones is wrong")


def _verify_conditional_reads(client: httpx.Client, caller: Caller) -> None:
    path = f"{TASKS}/{caller.task_ids[5]}"
    first = client.get(path)
    expect(first, 200)
    known = {"If-None-Match": first.headers.get("ETag", "")}
    require(known["If-None-Match"] == '"1"', "a task that nobody has changed has not the tag of version 1")
    unchanged = client.get(path, headers=known)
    expect(unchanged, 304)
    require(not unchanged.content and unchanged.headers["ETag"] == first.headers["ETag"], "304 has a body or no tag")
    expect(client.get(path, headers={"If-None-Match": '"999"'}), 200)
    changed = client.patch(path, json={"title": "Another version"})
    expect(changed, 200)
    again = client.get(path, headers=known)
    task = expect(again, 200)
    require(task["title"] == "Another version", "a changed task is answered as it was")
    require(again.headers["ETag"] != first.headers["ETag"], "a changed task keeps its tag")
    expect(client.get(path, headers={"If-None-Match": again.headers["ETag"]}), 304)
    require(len(_ids(expect(client.get(TASKS), 200)["tasks"])) == 20, "the list has not 20 tasks")


def _verify_comments(client: httpx.Client, caller: Caller, stranger: Caller, query: Query) -> None:
    path, foreign = (f"{TASKS}/{who.task_ids[0]}/comments" for who in (caller, stranger))
    count = partial(query, "SELECT count(*) AS number FROM comments WHERE task_id = $1")
    before, foreign_before = (count(who.task_ids[0])[0]["number"] for who in (caller, stranger))
    made = [expect(client.post(path, json={"body": f"Comment {n}"}), 201) for n in range(2)]
    stored = query("SELECT id, body FROM comments WHERE task_id = $1 ORDER BY created_at, id", caller.task_ids[0])
    require(len(stored) == before + 2 and _ids(stored[-2:]) == _ids(made), "a comment is not in the database")
    found = expect(client.get(path), 200)["comments"]
    require(_ids(found) == _ids(stored[:20]), "the comments of a task are not its own, the oldest first")
    if len(stored) <= 20:
        last = found[-1]
        require(bool(last["author"]["username"]) and last["body"] == "Comment 1", "a comment has no author or text")
    expect(client.get(foreign), 404)
    expect(client.post(foreign, json={"body": "Not mine"}), 404)
    for bad in ({}, {"body": ""}, {"body": "x" * 10_001}):
        expect(client.post(path, json=bad), 400, 422)
    require(count(caller.task_ids[0])[0]["number"] == before + 2, "a refused comment was made")
    require(count(stranger.task_ids[0])[0]["number"] == foreign_before, "a stranger's task was commented on")


def _verify_keys(client: httpx.Client, query: Query) -> None:
    def number_of(title: str) -> int:
        return int(query("SELECT count(*) AS number FROM tasks WHERE title = $1", title)[0]["number"])

    key = {"Idempotency-Key": "verification-1"}
    body = {"title": "Made once", "priority": 2}
    first = client.post(TASKS, json=body, headers=key)
    task = expect(first, 201)
    require(number_of("Made once") == 1, "a task with a key is not in the database")
    require("Idempotency-Replayed" not in first.headers, "a first answer claims to be a second")
    second = client.post(TASKS, json=body, headers=key)
    require(expect(second, 201) == task, "a key that was used answers something else")
    require(second.headers.get("Idempotency-Replayed") == "true", "a replayed answer does not say so")
    expect(client.post(TASKS, json={"title": "Another"}, headers=key), 422)
    require((number_of("Made once"), number_of("Another")) == (1, 0), "a key that was used has another effect")
    keys = query("SELECT count(*) AS number FROM idempotency_keys WHERE key = $1", key["Idempotency-Key"])
    require(keys[0]["number"] == 1, "the key is not stored")

    def send_copy(_: int) -> httpx.Response:
        return client.post(TASKS, json={"title": "Made by many"}, headers={"Idempotency-Key": "verification-2"})

    with ThreadPoolExecutor(_COPIES) as pool:
        answers = list(pool.map(send_copy, range(_COPIES)))
    good = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    require({answer.status_code for answer in answers} <= {201, 409}, "a copy sent meanwhile is neither 201 nor 409")
    require((len(good), number_of("Made by many")) == (1, 1), "copies sent meanwhile have more than one effect")


def _verify_bulk(client: httpx.Client, stranger: Caller, query: Query) -> None:
    new = [{"title": f"One of many {n}", "priority": 1 + n % 5} for n in range(20)]
    made = expect(client.post(f"{TASKS}/bulk", json={"tasks": new}), 201)["tasks"]
    require([task["title"] for task in made] == [task["title"] for task in new], "the order of a bulk request is lost")
    stored = query("SELECT id, title, priority FROM tasks WHERE id = ANY($1) ORDER BY id", _ids(made))
    require(_ids(stored) == sorted(_ids(made)) and len(stored) == 20, "tasks of a bulk request are not in the database")
    require([task["priority"] for task in made] == [task["priority"] for task in new], "a priority is lost")
    foreign = query("SELECT project_id FROM tasks WHERE id = $1", stranger.task_ids[0])[0]["project_id"]
    expect(client.post(f"{TASKS}/bulk", json={"tasks": [{"title": "Not there", "project_id": foreign}]}), 403, 404)
    expect(client.post(f"{TASKS}/bulk", json={"tasks": [{"title": "Half of it"}, {"title": ""}]}), 400, 422)
    refused = query("SELECT count(*) AS number FROM tasks WHERE title IN ('Not there', 'Half of it')")
    require(refused[0]["number"] == 0, "a refused bulk request has an effect")

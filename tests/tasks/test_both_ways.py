"""Routes of tasks answer the same, whether requests share their statements or each has its own."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from taskmanager.main import create_app
from tests.conftest import Person, make_settings
from tests.support.applications import started

API = "/api/v1"
# What differs from one request to the next: of the request itself, and of the task that it made or changed.
_OWN_HEADERS = {"x-request-id", "x-process-time", "server-timing", "ratelimit", "etag", "location", "content-length"}
_OWN_FIELDS = {
    *("id", "position", "created_at", "updated_at", "completed_at", "request_id", "next_cursor", "instance", "version")
}


@pytest.fixture(scope="module")
async def ordinary(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application in which FastAPI answers all requests, each by a statement of its own."""
    async with started(create_app(make_settings(database_url=database_url, share_statements=False))) as client:
        yield client


def essence(body: Any) -> Any:
    """Return a body without what belongs to one request or one task only."""
    if isinstance(body, dict):
        return {name: essence(value) for name, value in body.items() if name not in _OWN_FIELDS}
    return [essence(value) for value in body] if isinstance(body, list) else body


def told(response: httpx.Response) -> Any:
    """Return what an answer tells: status, headers, body, and the form of what is its own."""
    headers = {name: value for name, value in response.headers.items() if name not in _OWN_HEADERS}
    headers["link"] = headers.get("link", "").partition("cursor=")[0]
    body = response.json() if response.content else None
    own = {name: type(body.get(name)).__name__ for name in _OWN_FIELDS} if isinstance(body, dict) else None
    return response.status_code, headers, set(response.headers), body and list(body), essence(body), own


FIELDS: dict[str, Any] = {
    "title": '  Quotes " \\ / and \u2028 Grüße 😀 \x01\t ',
    "description": "line\nline\x1f",
    "status": "completed",
    "priority": 5,
    "tags": ["Ü", "b", "a", "b", '"', "{}", "null", "a,b"],
    "due_at": "2030-01-31T12:00:00.5+02:00",
    "assignee_id": None,
}
BODIES: list[Any] = [
    FIELDS,
    {"title": "x"},
    {},
    {"title": ""},
    {"title": None},
    {"title": "x", "owner_id": 1},
    {"title": "x", "priority": 6},
    {"title": "x", "priority": "1"},
    {"title": "x", "due_at": "2030-01-31T12:00:00"},
    {"title": "x", "due_at": "0001-01-01T00:00:00.000001Z"},
    {"title": "x", "assignee_id": 2**53 - 1},
    {"title": "x", "tags": ["\u0000"]},
    {"title": "\ud800"},
    [],
    None,
]
HEADERS: list[dict[str, str]] = [
    {},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://elsewhere.example"},
    {"If-Match": '"1"'},
    {"If-Match": '"7", "9"'},
    {"If-Match": "*"},
    {"If-Match": 'W/"1"'},
    {"If-Match": "1"},
    {"If-None-Match": '"1"'},
    {"If-None-Match": "*"},
    {"Idempotency-Key": ""},
    {"X-API-Key": "tm_1_nonsense"},
    {"Content-Type": "application/json; charset=utf-8"},
    {"Content-Type": "text/plain"},
    {"Authorization": "bearer nonsense"},
    {"Authorization": ""},
]
QUERIES = [
    "",
    "limit=2",
    "limit=2&count=none",
    "limit=2&count=exact",
    "limit=100&limit=1",
    "limit=0",
    "limit=1_0",
    "limit=%201",
    "count=some",
    "count=none&unknown=1",
    "skip=1&limit=1",
    "cursor=nonsense",
    "sort_by=title",
    "status=pending",
    "project_id=1",
    "limit=",
    "&&limit=1",
]


@pytest.fixture
async def both(alice: Person, bob: Person, ordinary: httpx.AsyncClient) -> "Both":
    """Alice's task, which Bob may not see, and the two applications."""
    return Both(alice, bob, ordinary, (await alice.new_task(title="The task"))["id"])


class Both:
    """Asks both applications the same, each time for a task of its own."""

    def __init__(self, alice: Person, bob: Person, ordinary: httpx.AsyncClient, task_id: int) -> None:
        self.alice, self.bob, self.ordinary, self.task_id = alice, bob, ordinary, task_id

    async def compare(
        self, method: str, path: str, *, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> int:
        """Ask both and compare; return the status."""
        answers = []
        for client in (self.alice.client, self.ordinary):
            task = await self.alice.new_task(title="Mine")
            given = {"Authorization": f"Bearer {self.alice.token}", **(headers or {})}
            if content is not None:
                given = {"Content-Type": "application/json", **given}
            url = API + path.format(task=task["id"], inbox=self.alice.inbox_id, hidden=self.bob.inbox_id)
            answers.append(await client.request(method, url, content=content, headers=given))
            await self.alice.delete(f"/tasks/{task['id']}")
        short, ordinary = answers
        assert told(short) == told(ordinary), (method, path, content, headers)
        return short.status_code


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/tasks"), ("POST", "/projects/{inbox}/tasks"), ("PATCH", "/tasks/{task}"),
     ("PUT", "/projects/{inbox}/tasks/{task}")],
)  # fmt: skip
async def test_bodies(both: Both, method: str, path: str, body: Any) -> None:
    await both.compare(method, path, content=json.dumps(body).encode())


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b'{"title": NaN}', b'{"title": "x", "title": "y"}', '{"title": "x"}'.encode("utf-16")),
        *(b'{"title": NaN, "title": "x"}', b'{"title": "x", "priority": -Infinity, "priority": 3}'),
        *(b'\xef\xbb\xbf{"title": "x"}', b'{"title": "x"} ', b'{"title": "x"}{}', b'{"title": "x", "priority": 1.0}'),
        b'{"title": "NaN and Infinity are words, too"}',
    ],
    ids=str,
)
async def test_bodies_that_are_no_json(both: Both, content: bytes) -> None:
    await both.compare("POST", "/tasks", content=content)
    await both.compare("PATCH", "/tasks/{task}", content=content)


@pytest.mark.parametrize("headers", HEADERS, ids=str)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/tasks/{task}"), ("GET", "/tasks"), ("POST", "/tasks"), ("PATCH", "/tasks/{task}")]
)
async def test_headers(both: Both, method: str, path: str, headers: dict[str, str]) -> None:
    content = None if method == "GET" else b'{"title": "New"}'
    await both.compare(method, path, content=content, headers=headers)


@pytest.mark.parametrize("query", QUERIES)
async def test_queries(both: Both, query: str) -> None:
    for path in ("/tasks", "/projects/{inbox}/tasks", "/tasks/{task}"):
        await both.compare("GET", f"{path}?{query}")
    await both.compare("POST", f"/tasks?{query}", content=b'{"title": "New"}')
    await both.compare("PATCH", f"/tasks/{{task}}?{query}", content=b'{"title": "New"}')


@pytest.mark.parametrize(
    "path",
    [
        "/tasks/0",
        "/tasks/01",
        "/tasks/1.0",
        "/tasks/9007199254740991",
        "/tasks/9007199254740992",
        "/tasks/99999999999999999999",
        "/tasks/²",
        "/tasks/{task}/",
        "/tasks/",
        "/tasks/bulk",
        "/projects/{hidden}/tasks",
        "/projects/{hidden}/tasks/{task}",
        "/projects/0/tasks",
        "/projects/{inbox}/tasks/{task}",
    ],
)
async def test_paths(both: Both, path: str) -> None:
    await both.compare("GET", path)
    await both.compare("PATCH", path, content=b'{"title": "New"}')


async def test_pages_continue_across_both(alice: Person, ordinary: httpx.AsyncClient) -> None:
    ids = [(await alice.new_task(title=f"Task {number}"))["id"] for number in range(9)]
    headers = {"Authorization": f"Bearer {alice.token}"}
    for path in (f"{API}/tasks", f"{API}/projects/{alice.inbox_id}/tasks"):
        found, cursor, clients = [], None, [alice.client, ordinary]
        while True:
            query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await clients[0].get(path, params=query, headers=headers)).json()
            again = (await clients[1].get(path, params=query, headers=headers)).json()
            assert page == again
            found += [task["id"] for task in page["tasks"]]
            clients.reverse()
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == ids[::-1]

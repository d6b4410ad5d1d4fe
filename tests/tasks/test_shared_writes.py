"""Writes of tasks that requests share, and those that run alone beside them, answer exactly as ordinary ones do."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.database.reads import Reads
from taskmanager.database.sharing import _LONE_STATEMENTS, Coalescer
from taskmanager.main import create_app
from taskmanager.tasks.listing.statements import MOST_COUNTED, SHARED_COUNTS
from tests.conftest import Person, SignUp, make_settings, recorded_statements
from tests.support.applications import started
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.rows import digests, execute
from tests.support.sessions import open_session, open_transaction

API = "/api/v1"
# What differs from one request to the next: of the request itself, and of the task that it made or changed.
_OWN_HEADERS = {"x-request-id", "x-process-time", "server-timing", "ratelimit", "etag", "location", "content-length"}
_OWN_FIELDS = {"id", "created_at", "updated_at", "completed_at", "request_id", "next_cursor", "instance", "version"}


@pytest.fixture(scope="module")
async def ordinary(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application in which FastAPI answers all requests, each by a statement of its own."""
    async with started(create_app(make_settings(database_url=database_url, share_statements=False))) as client:
        yield client


def shared_statements(app: FastAPI) -> int:
    """Count the statements that requests shared so far."""
    kinds: list[Coalescer[Any, Any]] = app.state.shared_connections.kinds
    return sum(kind.statements for kind in kinds)


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


async def test_each_of_many_at_once_gets_their_own(sign_up: SignUp, app: FastAPI) -> None:
    people = [await sign_up(f"person{number}") for number in range(8)]

    async def work(person: Person) -> None:
        for turn in range(5):
            task = await person.new_task(title=f"{person.username} {turn}")
            assert task["created_by"] == person.id
            assert (await person.get(f"/tasks/{task['id']}")).json() == task
            changed = (await person.patch(f"/tasks/{task['id']}", {"title": f"{person.username} again"})).json()
            assert (changed["version"], changed["title"]) == (2, f"{person.username} again")
            listed = (await person.get("/tasks")).json()
            assert listed["total"] == turn + 1
            assert {one["created_by"] for one in listed["tasks"]} == {person.id}
            other = people[(people.index(person) + 1) % len(people)]
            await other.get(f"/tasks/{task['id']}", 404)
            await other.patch(f"/tasks/{task['id']}", {"title": "Stolen"}, 404)

    before = shared_statements(app)
    await asyncio.gather(*(work(person) for person in people))
    # In each of the five turns of eight people: three writes, two reads of one statement, and a list of two.
    assert 0 < shared_statements(app) - before < 8 * 5 * (3 + 2 + 2)


async def test_of_many_changes_to_one_task_none_is_lost(alice: Person, database: Database) -> None:
    task = await alice.new_task()
    await asyncio.gather(*(alice.patch(f"/tasks/{task['id']}", {"title": f"Title {n}"}) for n in range(20)))
    assert (await alice.get(f"/tasks/{task['id']}")).json()["version"] == 21
    async with open_session(database) as session:
        versions = await session.execute(
            text("SELECT version FROM events WHERE entity = 'task' AND entity_id = :id ORDER BY xid, id"),
            {"id": task["id"]},
        )
        assert versions.scalars().all() == list(range(1, 22))


async def become_quiet(person: Person) -> None:
    """Send one write after the other, whatever was shared before, until the next lone one has its own statement."""
    for number in range(_LONE_STATEMENTS):
        task = await person.new_task()
        await person.patch(f"/tasks/{task['id']}", {"title": f"Quiet {number}"})


@asynccontextmanager
async def others_share(person: Person, database: Database) -> AsyncIterator[int]:
    """Keep a change and a new task from ending, so that others share statements; yield the id of the changed task."""
    await become_quiet(person)
    task_id, project_id = (await person.new_task())["id"], await person.new_project()
    async with open_transaction(database) as session:
        await session.execute(text("SELECT FROM tasks WHERE id = :id FOR UPDATE"), {"id": task_id})
        await session.execute(text("SELECT FROM projects WHERE id = :id FOR UPDATE"), {"id": project_id})
        waiting = [
            asyncio.create_task(person.patch(f"/tasks/{task_id}", {"title": "Later"})),
            asyncio.create_task(person.new_task(project_id)),
        ]
        await until_blocked(database, waiting=2)
        yield task_id
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


class TestBoth:
    """A write that runs alone, and those that share a statement meanwhile."""

    async def test_a_locked_task_delays_nobody_else(self, alice: Person, database: Database, app: FastAPI) -> None:
        free = (await alice.new_task())["id"]
        async with others_share(alice, database):
            before = shared_statements(app)
            async with asyncio.timeout(1):
                for number in range(5):
                    await alice.patch(f"/tasks/{free}", {"title": f"Now {number}"})
                    await alice.new_task()
            assert shared_statements(app) - before == 10

    async def test_together_they_are_fewer_statements(
        self, alice: Person, database: Database, query_recorder: list[str]
    ) -> None:
        ids = [(await alice.new_task())["id"] for _ in range(10)]
        async with others_share(alice, database):
            query_recorder.clear()
            changed = await asyncio.gather(*(alice.patch(f"/tasks/{one}", {"title": f"{one}"}) for one in ids))
            created = await asyncio.gather(*(alice.new_task(title=f"New {one}") for one in ids))
            assert len(query_recorder) <= 6
        assert [answer.json()["title"] for answer in changed] == [f"{one}" for one in ids]
        assert [task["title"] for task in created] == [f"New {one}" for one in ids]

    async def test_at_one_task_none_is_lost(self, alice: Person, database: Database) -> None:
        async with others_share(alice, database) as task_id:
            # What is locked is passed over by the statement they share; then each waits alone.
            changes = [
                asyncio.create_task(alice.patch(f"/tasks/{task_id}", {field: value}))
                for field, value in (
                    ("description", "New"),
                    ("priority", 5),
                    ("tags", ["new"]),
                    ("status", "completed"),
                )
            ]
            await until_blocked(database, waiting=3)
        answers = await asyncio.gather(*changes)
        assert max(answer.json()["version"] for answer in answers) == 6
        task = (await alice.get(f"/tasks/{task_id}")).json()
        found = [task[name] for name in ("title", "description", "priority", "tags", "status", "version")]
        assert found == ["Later", "New", 5, ["new"], "completed", 6]
        log = await events_of(database, "task", task_id)
        assert [event["version"] for event in log] == list(range(1, 7))

    async def test_each_is_refused_for_its_own_fault_only(
        self, alice: Person, bob: Person, sign_up: SignUp, database: Database
    ) -> None:
        carol = await sign_up("carol")
        read_only, archived = await alice.new_project(), await alice.new_project()
        for person in (bob, carol):
            await alice.post(f"/projects/{read_only}/members", {"username": person.username, "role": "viewer"})
        ids = [(await alice.new_task(project))["id"] for project in (read_only, archived, alice.inbox_id)]
        await alice.patch(f"/projects/{archived}", {"archived": True})
        await execute(database, "UPDATE sessions SET revoked_at = now() WHERE id = :id", id=carol.session_id)
        new, before = {"title": "New"}, (await alice.get(f"/tasks/{ids[2]}")).json()
        stale = {"headers": {"If-Match": '"7"'}}
        cases: list[tuple[Person, str, str, int, dict[str, Any]]] = [
            (bob, "PATCH", f"/tasks/{ids[0]}", 403, {}),
            (alice, "PATCH", f"/tasks/{ids[1]}", 409, {}),
            (bob, "PATCH", f"/tasks/{ids[2]}", 404, {}),
            (alice, "PATCH", f"/tasks/{ids[2]}", 412, stale),
            (carol, "PATCH", f"/tasks/{ids[0]}", 401, {}),
            (alice, "PATCH", f"/tasks/{ids[0]}", 200, {}),
            (bob, "POST", f"/projects/{read_only}/tasks", 403, {}),
            (alice, "POST", f"/projects/{archived}/tasks", 409, {}),
            (bob, "POST", f"/projects/{archived}/tasks", 404, {}),
            (carol, "POST", "/tasks", 401, {}),
            (bob, "POST", "/tasks", 201, {}),
        ]
        async with others_share(alice, database):
            count = await count_rows(database, "tasks")
            await asyncio.gather(
                *(who.request(method, path, status, json=new, **more) for who, method, path, status, more in cases)
            )
        assert (await alice.get(f"/tasks/{ids[2]}")).json() == before
        assert await count_rows(database, "tasks") == count + 1 + 1  # with the one that `others_share` keeps

    async def test_a_login_revoked_before_a_request_arrives_changes_nothing(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        task_id = (await bob.new_task())["id"]
        async with others_share(alice, database):
            await bob.patch(f"/tasks/{task_id}", {"title": "Before"})
            await execute(database, "UPDATE sessions SET revoked_at = now() WHERE id = :id", id=bob.session_id)
            before = await digests(database)
            await asyncio.gather(
                *(bob.patch(f"/tasks/{task_id}", {"title": f"{number}"}, 401) for number in range(5)),
                *(bob.post("/tasks", {"title": "New"}, 401) for _ in range(5)),
            )
            assert await digests(database) == before


async def test_an_assignee_who_is_a_stranger_spoils_only_their_own_task(alice: Person, bob: Person) -> None:
    me = {"assignee_id": alice.id}
    wrong, *right = await asyncio.gather(
        alice.post("/tasks", {"title": "Wrong", "assignee_id": bob.id}, expect=422),
        *(
            alice.post("/tasks", {"title": f"Right {number}"} | assignee)
            for assignee in ({}, me)
            for number in range(3)
        ),
    )
    assert wrong.json()["errors"][0]["loc"] == ["body", "assignee_id"]
    assert len({task.json()["id"] for task in right}) == 6


async def test_a_login_that_has_ended_is_refused_with_the_next_request(alice: Person, app: FastAPI) -> None:
    task = await alice.new_task()
    async with open_transaction(app.state.database) as session:
        await session.execute(text("UPDATE sessions SET revoked_at = now() WHERE id = :id"), {"id": alice.session_id})
    for method, path, body in (
        ("GET", f"/tasks/{task['id']}", None),
        ("GET", "/tasks", None),
        ("POST", "/tasks", {"title": "x"}),
        ("PATCH", f"/tasks/{task['id']}", {"title": "x"}),
    ):
        await alice.request(method, path, 401, json=body)


@contextmanager
def counts_sent(database: Database) -> Iterator[list[str]]:
    """Yield which statements that count lists are sent meanwhile: "shared" or "alone"."""
    counts: list[str] = []
    with recorded_statements(database) as statements:
        yield counts
    counts += ["shared" if f"LIMIT {MOST_COUNTED + 1}" in sql else "alone" for sql in statements if "AS total" in sql]


async def add_tasks(person: Person, database: Database, number: int) -> None:
    """Add tasks to a person's Inbox."""
    await execute(
        database,
        "INSERT INTO tasks (project_id, title, created_by, status, priority)"
        " SELECT :project, 'Task ' || n, :owner, 'in_progress', 3 FROM generate_series(1, :number) AS n",
        project=person.inbox_id,
        owner=person.id,
        number=number,
    )


async def count_shared(database: Database, person: Person, run: str | None) -> int:
    """Return what the shared statement itself counts of a person's tasks."""
    reads = Reads(database, None)
    row = await reads.one(
        SHARED_COUNTS[run],
        user_id=person.id,
        project_id=None,
        statuses=["in_progress"],
        priorities=[3],
    )
    await reads.close()
    assert row is not None
    total: int = row["total"]
    return total


@pytest.mark.parametrize(
    ("query", "run"),
    [("", None), ("?status=in_progress", "statuses"), ("?priority=3&sort_by=created_at&order=asc", "priorities")],
)
async def test_a_shared_statement_counts_no_further_than_the_longest_list_that_it_counts(
    alice: Person, database: Database, query: str, run: str | None
) -> None:
    await add_tasks(alice, database, MOST_COUNTED)
    with counts_sent(database) as counts:
        assert (await alice.get(f"/tasks{query}")).json()["total"] == MOST_COUNTED
    assert counts == ["shared"]
    await add_tasks(alice, database, 5)
    with counts_sent(database) as counts:
        assert (await alice.get(f"/tasks{query}")).json()["total"] == MOST_COUNTED + 5
    assert counts == ["shared", "alone"]
    assert await count_shared(database, alice, run) == MOST_COUNTED + 1


async def test_a_short_write_or_read_asks_the_database_once_and_to_count_is_one_more(
    alice: Person, app: FastAPI
) -> None:
    await become_quiet(alice)
    task = await alice.new_task()
    for method, path, body, status, expected in (
        ("GET", f"/tasks/{task['id']}", None, 200, 1),
        ("GET", f"/projects/{alice.inbox_id}/tasks/{task['id']}", None, 200, 1),
        ("GET", "/tasks", None, 200, 2),
        ("GET", "/tasks?limit=5&count=none", None, 200, 1),
        ("GET", "/tasks?limit=5&count=exact&status=pending", None, 200, 2),
        ("GET", f"/projects/{alice.inbox_id}/tasks", None, 200, 2),
        ("GET", f"/projects/{alice.inbox_id}/tasks?count=none&priority=1&priority=2", None, 200, 1),
        # Nothing is found: whether there is such a project is asked then.
        ("GET", f"/projects/{alice.inbox_id}/tasks?count=none&priority=4", None, 200, 2),
        ("POST", "/tasks", {"title": "x", "tags": ["y"]}, 201, 1),
        ("POST", f"/projects/{alice.inbox_id}/tasks", {"title": "x"}, 201, 1),
        ("PATCH", f"/tasks/{task['id']}", {"title": "x"}, 200, 1),
        ("DELETE", f"/tasks/{(await alice.new_task())['id']}", None, 204, 1),
        ("PUT", f"/projects/{alice.inbox_id}/tasks/{task['id']}", {"status": "completed"}, 200, 1),
    ):
        shared, all_statements = shared_statements(app), app.state.database.meter.statements
        await alice.request(method, path, status, json=body)
        sent = shared_statements(app) - shared, app.state.database.meter.statements - all_statements
        # A lone write shares with nobody.
        assert sent == (expected if method == "GET" else 0, expected), path


async def test_a_page_of_more_projects_than_it_has_tasks(alice: Person) -> None:
    projects = [await alice.new_project(f"Project {number}") for number in range(7)]
    # Some projects lie wholly before others, some between them.
    for project_id in (*projects, projects[0], projects[0], projects[0], *reversed(projects), *projects[2:5] * 2):
        await alice.new_task(project_id)
    # With a filter it is another statement.
    expected = [task["id"] for task in (await alice.get("/tasks?limit=100&priority=1")).json()["tasks"]]
    for limit in (1, 2, 3, 6, 7, 20):
        found: list[int] = []
        query = f"/tasks?limit={limit}&count=none"
        page = (await alice.get(query)).json()
        found += [task["id"] for task in page["tasks"]]
        while page["next_cursor"]:
            page = (await alice.get(f"{query}&cursor={page['next_cursor']}")).json()
            found += [task["id"] for task in page["tasks"]]
        assert found == expected
    assert len(expected) == 23

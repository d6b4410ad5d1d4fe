"""Pages by key of every list: each element once, in order, whatever others do meanwhile."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import SECRET, Person, SignUp, client_for, make_settings
from tests.support.credentials import bearer, new_key
from tests.support.rows import execute, fetch_all, fetch_one

SORTS = ("created_at", "updated_at", "priority", "title", "due_at")
START = datetime(2026, 1, 1, tzinfo=UTC)
Query = Sequence[tuple[str, Any]]


async def walk(
    person: Person,
    path: str,
    key: str,
    query: Query = (),
    *,
    limit: int = 7,
    between: Callable[[list[dict[str, Any]]], Awaitable[None]] | None = None,
) -> list[dict[str, Any]]:
    """Return all elements of a list, page by page; `between` is told those seen so far before each next page."""
    seen: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = (
            await person.get(path, params=[*query, ("limit", limit), *([("cursor", cursor)] if cursor else [])])
        ).json()
        assert len(page[key]) <= limit
        seen += page[key]
        cursor = page["next_cursor"]
        if cursor is None:
            return seen
        assert len(page[key]) == limit, "a page that is not the last one is full"
        if between is not None:
            await between(seen)


@dataclass(frozen=True)
class List:
    """One of the lists besides tasks, how to put an element into it, and how to take it out."""

    reader: Person
    path: str
    key: str
    insert: str
    delete: str
    database: Database
    parameters: dict[str, Any]
    newest_first: bool = False
    identity: str = "id"

    async def add(self, place: int) -> int:
        """Insert an element, later in time the greater its place is, and return its id."""
        parameters = {**self.parameters, "place": place, "at": START + timedelta(minutes=place), "name": _name()}
        used = {name: value for name, value in parameters.items() if f":{name}" in self.insert}
        return int((await fetch_one(self.database, self.insert, **used))["id"])

    async def remove(self, element_id: int) -> None:
        """Take an element out."""
        await execute(self.database, self.delete, id=element_id)

    async def fill(self, count: int) -> list[int]:
        """Add elements, some of them at the same time, in no particular order; return the ids in the list's order."""
        places = [number // 3 for number in range(count)]
        random.Random(1).shuffle(places)
        added = sorted([(place, await self.add(place)) for place in places], reverse=self.newest_first)
        return [element_id for _, element_id in added]

    async def ids(self, **options: Any) -> list[int]:
        """Return the ids of all elements, page by page."""
        return [element[self.identity] for element in await walk(self.reader, self.path, self.key, **options)]


_names = iter(range(1_000_000_000))


def _name() -> str:
    return f"name_{next(_names)}"


_NEW_USER = "INSERT INTO users (username, email, password_hash, created_at) VALUES (:name, :name, 'x', {}) RETURNING id"
_INSERTS = {
    "comments": """
        INSERT INTO comments (project_id, task_id, body, created_at) VALUES (:project_id, :task_id, 'x', :at)
        RETURNING id
    """,
    "projects": """
        WITH p AS (INSERT INTO projects (name, created_at) VALUES (:name, :at) RETURNING id)
        INSERT INTO project_members (project_id, user_id, role) SELECT id, :user_id, 'owner' FROM p
        RETURNING project_id AS id
    """,
    "members": f"""
        WITH u AS ({_NEW_USER.format("now()")})
        INSERT INTO project_members (project_id, user_id, role, created_at) SELECT :project_id, id, 'viewer', :at FROM u
        RETURNING user_id AS id
    """,
    "notifications": """
        INSERT INTO notifications (user_id, kind, task_id, created_at) VALUES (:user_id, 'updated', :task_id, :at)
        RETURNING id
    """,
    "api_keys": """
        INSERT INTO api_keys (user_id, name, secret_hash, scopes, created_at)
        VALUES (:user_id, 'x', sha256('x'), '{tasks:read}', :at) RETURNING id
    """,
    "sessions": "INSERT INTO sessions (user_id, created_at) VALUES (:user_id, :at) RETURNING id",
    "users": _NEW_USER.format(":at"),
    "task activity": """
        INSERT INTO events (project_id, entity, entity_id, version, action)
        VALUES (:project_id, 'task', :task_id, :place + 2, 'updated') RETURNING id
    """,
    "project activity": """
        INSERT INTO events (project_id, xid, entity, entity_id, version, action)
        VALUES (:project_id, CAST(CAST(:place + 1000000000 AS text) AS xid8), 'task', 1, 1, 'updated') RETURNING id
    """,
}
_DELETES = {
    "projects": "DELETE FROM project_members WHERE project_id = :id",
    "members": "DELETE FROM project_members WHERE user_id = :id",
    "sessions": "UPDATE sessions SET revoked_at = now() WHERE id = :id",
    "users": """
        UPDATE users SET username = NULL, email = NULL, password_hash = NULL, deleted_at = now() WHERE id = :id
    """,
    "task activity": "DELETE FROM events WHERE id = :id",
    "project activity": "DELETE FROM events WHERE id = :id",
}
_NEWEST_FIRST = ("notifications", "unread notifications", "api_keys", "sessions", "task activity", "project activity")
LISTS = (*_INSERTS, "unread notifications")


@pytest.fixture
async def administrator(sign_up: SignUp) -> AsyncIterator[Person]:
    """An administrator who shows a key instead of a token."""
    person = await sign_up("administrator", is_admin=True)
    key = await new_key(person, "admin")
    async with httpx.AsyncClient(
        transport=person.client._transport, base_url="http://test", headers=key.in_header
    ) as client:
        yield replace(person, client=client)


async def make_list(name: str, alice: Person, administrator: Person, database: Database) -> List:
    """Make one of the lists, of Alice's."""
    project_id = await alice.new_project()
    task_id = (await alice.new_task(project_id))["id"]
    paths = {
        "comments": f"/tasks/{task_id}/comments",
        "projects": "/projects",
        "members": f"/projects/{project_id}/members",
        "notifications": "/notifications",
        "unread notifications": "/notifications?unread=true",
        "api_keys": "/users/me/api-keys",
        "sessions": "/users/me/sessions",
        "users": "/admin/users",
        "task activity": f"/tasks/{task_id}/activity",
        "project activity": f"/projects/{project_id}/activity",
    }
    table = name.removeprefix("unread ")
    return List(
        reader=administrator if name == "users" else alice,
        path=paths[name],
        key="events" if name.endswith("activity") else table,
        insert=_INSERTS[table],
        delete=_DELETES.get(table, f"DELETE FROM {table} WHERE id = :id"),
        database=database,
        parameters={"project_id": project_id, "task_id": task_id, "user_id": alice.id},
        newest_first=name in _NEWEST_FIRST,
        identity="user_id" if name == "members" else "id",
    )


@pytest.fixture(params=LISTS)
async def a_list(request: pytest.FixtureRequest, alice: Person, administrator: Person, database: Database) -> List:
    """Each of the lists besides tasks."""
    return await make_list(request.param, alice, administrator, database)


class TestLists:
    """Every list but that of tasks."""

    async def test_pages_together_are_the_whole_list(self, a_list: List) -> None:
        added = await a_list.fill(20)
        whole = await walk(a_list.reader, a_list.path, a_list.key, limit=100)
        ids = [element[a_list.identity] for element in whole]
        assert [element_id for element_id in ids if element_id in set(added)] == added
        for limit in (1, 3, 10, len(whole) - 1, len(whole)):
            assert await walk(a_list.reader, a_list.path, a_list.key, limit=limit) == whole

    async def test_a_page_that_takes_all_that_is_left_is_the_last(self, a_list: List) -> None:
        await a_list.fill(5)
        count = len(await a_list.ids(limit=100))
        page = await a_list.reader.get(a_list.path, params=_with(a_list.path, limit=count))
        assert (page.json()["next_cursor"], "Link" in page.headers) == (None, False)
        page = await a_list.reader.get(a_list.path, params=_with(a_list.path, limit=count - 1))
        assert page.json()["next_cursor"] is not None
        assert "Link" in page.headers

    async def test_what_was_there_throughout_appears_once_while_others_come_and_go(self, a_list: List) -> None:
        added = await a_list.fill(30)
        short_lived = set(added[::4])
        lasting = [element_id for element_id in added if element_id not in short_lived]
        chance = random.Random(2)

        async def disturb(seen: list[dict[str, Any]]) -> None:
            # The one that the cursor names goes too, if it may.
            last = seen[-1][a_list.identity]
            for element_id in {last, *chance.sample(sorted(short_lived), min(1, len(short_lived)))} & short_lived:
                short_lived.remove(element_id)
                await a_list.remove(element_id)
            for place in (-1, chance.randrange(10), 1_000):
                await a_list.add(place)

        ids = await a_list.ids(limit=2, between=disturb)
        assert [element_id for element_id in ids if element_id in set(lasting)] == lasting
        assert len(set(ids)) == len(ids)

    async def test_following_the_link_leads_through_the_list(self, a_list: List) -> None:
        await a_list.fill(7)
        whole = await a_list.ids(limit=100)
        response = await a_list.reader.get(a_list.path, params=_with(a_list.path, limit=3))
        ids = [element[a_list.identity] for element in response.json()[a_list.key]]
        while "Link" in response.headers:
            assert response.json()["next_cursor"] == dict(parse_qsl(urlsplit(_target(response)).query))["cursor"]
            response = await a_list.reader.client.get(_target(response))
            assert response.status_code == 200
            assert len(response.json()[a_list.key]) <= 3
            ids += [element[a_list.identity] for element in response.json()[a_list.key]]
        assert ids == whole

    async def test_limits_outside_their_range_are_422_never_clamped(self, a_list: List) -> None:
        for limit in ("0", "101", "1.0", "abc", "-1", "", "1_0", " 1", "+1", "\u0661", "1e1", "99999999999999999999"):
            answer = await a_list.reader.get(a_list.path, None, params=_with(a_list.path, limit=limit))
            assert answer.status_code == 422, limit
            assert answer.json()["errors"][0]["loc"] == ["query", "limit"]
        for fine in (1, 100):
            await a_list.reader.get(a_list.path, params=_with(a_list.path, limit=fine))

    async def test_unknown_parameters_are_422_and_named(self, a_list: List) -> None:
        for name in ("skip", "offset", "page", "Limit", "cursor_", "count"):
            answer = await a_list.reader.get(a_list.path, 422, params=_with(a_list.path, **{name: "1"}))
            assert answer.json()["errors"][0]["loc"] == ["query", name]

    async def test_a_bent_cursor_is_400(self, a_list: List) -> None:
        await a_list.fill(5)
        cursor = (await a_list.reader.get(a_list.path, params=_with(a_list.path, limit=2))).json()["next_cursor"]
        for bent in _bendings(cursor)[:: len(cursor) // 10]:
            await _assert_refused(a_list.reader, a_list.path, _with(a_list.path, cursor=bent))
        await a_list.reader.get(a_list.path, params=_with(a_list.path, cursor=cursor))


def _with(path: str, **values: Any) -> list[tuple[str, Any]]:
    """Return the query in a path with more values; the client would replace it."""
    return [*parse_qsl(urlsplit(path).query), *values.items()]


def _target(response: httpx.Response) -> str:
    target, relation = response.headers["Link"].split("; ")
    assert (target[0], target[-1], relation) == ("<", ">", 'rel="next"')
    return str(target[1:-1])


def _bendings(cursor: str) -> list[str]:
    """Return the cursor with each of its characters replaced by another."""
    return [
        cursor[:place] + ("A" if character != "A" else "B") + cursor[place + 1 :]
        for place, character in enumerate(cursor)
    ]


async def _assert_refused(person: Person, path: str, query: Query) -> None:
    answer = await person.get(path, None, params=query)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:taskmanager:problem:invalid-cursor"), query


TASKS = 60
FILTERS: tuple[Query, ...] = (
    (),
    (("status", "pending"), ("status", "completed")),
    (("priority", 1), ("priority", 2)),
    (("tag", "home"), ("tag", "work")),
    (("assignee", "me"),),
    (("due_after", "2026-01-02T00:00:00Z"), ("due_before", "2026-01-05T00:00:00Z")),
    (("overdue", "true"),),
    (("overdue", "false"),),
    (("search", "a"),),
    (("search", "ask"), ("status", "pending"), ("priority", 1), ("priority", 3)),
)


@dataclass(frozen=True)
class Stock:
    """Tasks in two projects of Alice's, with few different values, so that many tie."""

    project_ids: tuple[int, int]
    rows: dict[int, dict[str, Any]]

    def in_order(self, ids: set[int], sort_by: str, order: str) -> list[int]:
        """Return ids in the order that the contract names."""
        chosen = [row for row in self.rows.values() if row["id"] in ids]

        def key(row: dict[str, Any]) -> Any:
            return row["title"].lower() if sort_by == "title" else row[sort_by]

        present = [row for row in chosen if row[sort_by] is not None]
        missing = [row for row in chosen if row[sort_by] is None]
        down = order == "desc"
        present.sort(key=lambda row: (key(row), row["created_at"], row["id"]), reverse=down)
        missing.sort(key=lambda row: (row["created_at"], row["id"]), reverse=down)
        return [row["id"] for row in present + missing]


_ADD_TASKS = """
INSERT INTO tasks (project_id, title, description, status, priority, tags, due_at, assignee_id, created_at, updated_at,
                   completed_at)
SELECT CASE WHEN n % 3 = 0 THEN :second ELSE :first END,
       (ARRAY['task', 'Task', 'TASK b', 'a_task', 'Äpfel', 'zebra', '7', 'task a'])[1 + n % 8],
       CASE WHEN n % 4 = 0 THEN 'an ask' END,
       (ARRAY['pending', 'in_progress', 'completed', 'cancelled'])[1 + n % 4], 1 + n % 5,
       (ARRAY['{}', '{home}', '{home,work}', '{play}'])[1 + n % 4]::text[],
       CASE WHEN n % 3 > 0 THEN :start + make_interval(days => n % 6) END,
       CASE WHEN n % 5 = 0 THEN :user_id END,
       :start + make_interval(mins => n % 7), :start + make_interval(mins => n % 4),
       CASE WHEN n % 4 = 2 THEN :start END
FROM (SELECT n FROM generate_series(:from, :to) AS n ORDER BY md5(CAST(n AS text))) AS numbers
RETURNING id
"""


async def add_tasks(database: Database, alice: Person, project_ids: Sequence[int], first: int, last: int) -> list[int]:
    """Add tasks with the numbers from `first` to `last`, which decide all their values."""
    sql = _ADD_TASKS.replace(":start", "CAST('2026-01-01T00:00:00Z' AS timestamptz)").replace(":from", str(first))
    for name, value in (("first", project_ids[0]), ("second", project_ids[1]), ("to", last), ("user_id", alice.id)):
        sql = sql.replace(f":{name}", str(value))
    async with database.transaction() as session:
        driver: Any = await (await session.connection()).get_raw_connection()
        return [row["id"] for row in await driver.driver_connection.fetch(sql)]


@pytest.fixture
async def stock(alice: Person, bob: Person, database: Database) -> Stock:
    """The tasks."""
    projects = (await alice.new_project(), await alice.new_project())
    await bob.new_task(title="A foreign task")
    ids = set(await add_tasks(database, alice, projects, 1, TASKS))
    rows = {row["id"]: row for row in await fetch_all(database, "SELECT * FROM tasks") if row["id"] in ids}
    return Stock(projects, rows)


class TestTasks:
    """GET /tasks and GET /projects/{project_id}/tasks."""

    @pytest.mark.parametrize("sort_by", SORTS)
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_pages_together_are_the_whole_list(
        self, alice: Person, stock: Stock, sort_by: str, order: str
    ) -> None:
        nonempty = 0
        for path in ("/tasks", f"/projects/{stock.project_ids[0]}/tasks"):
            for filters in FILTERS:
                query = [*filters, ("sort_by", sort_by), ("order", order)]
                whole = (await alice.get(path, params=[*query, ("limit", 100)])).json()
                ids = [task["id"] for task in whole["tasks"]]
                assert ids == stock.in_order(set(ids), sort_by, order)
                assert (whole["total"], whole["next_cursor"]) == (len(ids), None)
                assert await walk(alice, path, "tasks", query, limit=6) == whole["tasks"], query
                nonempty += bool(ids)
        assert nonempty == 2 * len(FILTERS)

    @pytest.mark.parametrize("sort_by", SORTS)
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_what_was_there_throughout_appears_once_while_others_come_and_go(
        self, alice: Person, stock: Stock, sort_by: str, order: str, database: Database
    ) -> None:
        in_order = stock.in_order(set(stock.rows), sort_by, order)
        short_lived = set(in_order[::3])
        lasting = [task_id for task_id in in_order if task_id not in short_lived]
        chance = random.Random(3)
        number = 1_000

        async def disturb(seen: list[dict[str, Any]]) -> None:
            nonlocal number
            for task_id in {
                seen[-1]["id"],
                *chance.sample(sorted(short_lived), min(1, len(short_lived))),
            } & short_lived:
                short_lived.remove(task_id)
                await alice.delete(f"/tasks/{task_id}")
            await add_tasks(database, alice, stock.project_ids, number, number + 2)
            number += 3

        query = [("sort_by", sort_by), ("order", order)]
        # More are added per page than a page of two would hold.
        ids = [task["id"] for task in await walk(alice, "/tasks", "tasks", query, limit=5, between=disturb)]
        assert [task_id for task_id in ids if task_id in set(lasting)] == lasting
        assert len(set(ids)) == len(ids)

    async def test_a_cursor_stays_good_although_its_task_is_gone(self, alice: Person, stock: Stock) -> None:
        for sort_by in SORTS:
            query = [("sort_by", sort_by), ("limit", 3), ("count", "none")]
            first = (await alice.get("/tasks", params=query)).json()
            expected = (await alice.get("/tasks", params=[*query, ("cursor", first["next_cursor"])])).json()
            await alice.delete(f"/tasks/{first['tasks'][-1]['id']}")
            after = (await alice.get("/tasks", params=[*query, ("cursor", first["next_cursor"])])).json()
            assert after["tasks"] == expected["tasks"]

    async def test_the_longest_title_fits_in_a_cursor(self, alice: Person) -> None:
        # Lower-case forms may take more room than what they come from.
        titles = ["😀" * 200, "İ" * 200, "Ⱥ" * 200, '"' * 200, "\\" * 200, "x" * 200]
        for title in titles:
            await alice.new_task(title=title)
        for order in ("asc", "desc"):
            tasks = await walk(alice, "/tasks", "tasks", [("sort_by", "title"), ("order", order)], limit=1)
            assert sorted(task["title"] for task in tasks) == sorted(titles)

    async def test_following_the_link_keeps_filters_and_drops_skip(self, alice: Person) -> None:
        for number in range(9):
            await alice.new_task(title=f"50% & more? ü={number}", tags=["a b"], priority=1 + number % 2)
        query = [("search", "% & more? ü="), ("tag", "A B"), ("priority", 1), ("priority", 2), ("limit", 2)]
        expected = [t["id"] for t in (await alice.get("/tasks", params=[*query[:-1], ("skip", 1)])).json()["tasks"]]
        response = await alice.get("/tasks", params=[*query, ("skip", 1)])
        ids = [task["id"] for task in response.json()["tasks"]]
        while "Link" in response.headers:
            followed = parse_qsl(urlsplit(_target(response)).query)
            assert [pair for pair in followed if pair[0] != "cursor"] == [(name, str(value)) for name, value in query]
            response = await alice.client.get(_target(response))
            ids += [task["id"] for task in response.json()["tasks"]]
        assert ids == expected
        assert len(ids) == 8

    async def test_head_has_the_link_too(self, alice: Person, stock: Stock) -> None:
        head = await alice.request("HEAD", "/tasks", 200, params={"limit": 2})
        assert (await alice.client.get(_target(head))).status_code == 200

    async def test_skip_and_cursor_are_422(self, alice: Person, stock: Stock) -> None:
        cursor = (await alice.get("/tasks", params={"limit": 2})).json()["next_cursor"]
        for skip in (0, 1):
            await alice.get("/tasks", 422, params={"cursor": cursor, "skip": skip})


class TestCount:
    """`total` and `count`."""

    async def test_the_first_page_counts_and_those_by_cursor_do_not(self, alice: Person, stock: Stock) -> None:
        first = (await alice.get("/tasks", params={"limit": 2})).json()
        assert first["total"] == TASKS
        second = (await alice.get("/tasks", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert second["total"] is None
        assert (await alice.get("/tasks", params={"skip": 50})).json()["total"] == TASKS

    async def test_exact_counts_on_every_page_what_the_filter_finds(self, alice: Person, stock: Stock) -> None:
        query: list[tuple[str, Any]] = [("count", "exact"), ("limit", 2), ("priority", 1)]
        expected = sum(row["priority"] == 1 for row in stock.rows.values())
        cursor: str | None = None
        for _ in range(3):
            page = (await alice.get("/tasks", params=[*query, *([("cursor", cursor)] if cursor else [])])).json()
            assert page["total"] == expected
            cursor = page["next_cursor"]

    async def test_none_does_not_count(self, alice: Person, stock: Stock, query_recorder: list[str]) -> None:
        page = (await alice.get("/tasks", params={"count": "none", "limit": 2})).json()
        assert (page["total"], len(page["tasks"])) == (None, 2)
        page = (await alice.get("/tasks", params={"count": "none", "limit": 2, "sort_by": "title"})).json()
        assert (page["total"], len(page["tasks"])) == (None, 2)
        assert not any("AS total" in statement for statement in query_recorder)
        page = (await alice.get("/tasks", params={"count": "none", "skip": 1_000})).json()
        assert (page["total"], page["tasks"]) == (None, [])

    async def test_an_empty_list_has_the_total_0(self, alice: Person) -> None:
        assert (await alice.get("/tasks", params={"count": "exact"})).json()["total"] == 0

    async def test_a_cursor_works_with_another_count_or_limit(self, alice: Person, stock: Stock) -> None:
        cursor = (await alice.get("/tasks", params={"limit": 2})).json()["next_cursor"]
        page = (await alice.get("/tasks", params={"limit": 50, "count": "exact", "cursor": cursor})).json()
        assert (page["total"], len(page["tasks"])) == (TASKS, 50)

    @pytest.mark.parametrize("value", ["", "Exact", "1", "true", "estimated"])
    async def test_other_values_are_422(self, alice: Person, value: str) -> None:
        await alice.get("/tasks", 422, params={"count": value})


class TestCursor:
    """A cursor is good for one list, filter, sort and user, and nobody can make one."""

    QUERY = (("status", "pending"), ("sort_by", "title"), ("order", "asc"))

    async def _cursor(self, person: Person, path: str = "/tasks", query: Query = QUERY) -> str:
        cursor = (await person.get(path, params=[*query, ("limit", 2)])).json()["next_cursor"]
        assert cursor
        return str(cursor)

    @pytest.mark.parametrize(
        "other",
        [
            (("sort_by", "title"), ("order", "asc")),
            (("status", "completed"), ("sort_by", "title"), ("order", "asc")),
            (*QUERY, ("status", "completed")),
            (*QUERY, ("priority", 1)),
            (*QUERY, ("tag", "home")),
            (*QUERY, ("assignee", "me")),
            (*QUERY, ("due_after", "2020-01-01T00:00:00Z")),
            (*QUERY, ("due_before", "2030-01-01T00:00:00Z")),
            (*QUERY, ("overdue", "false")),
            (*QUERY, ("search", "a")),
            (("status", "pending"), ("sort_by", "title"), ("order", "desc")),
            (("status", "pending"), ("sort_by", "title")),
            *((("status", "pending"), ("sort_by", name), ("order", "asc")) for name in SORTS if name != "title"),
        ],
        ids=repr,
    )
    async def test_with_another_filter_or_order_it_is_400(self, alice: Person, stock: Stock, other: Query) -> None:
        cursor = await self._cursor(alice)
        await _assert_refused(alice, "/tasks", [*other, ("cursor", cursor)])
        await alice.get("/tasks", params=[*self.QUERY, ("cursor", cursor)])

    async def test_with_other_projects_it_is_400(self, alice: Person, stock: Stock) -> None:
        first, second = stock.project_ids
        cursor = await self._cursor(alice, query=[*self.QUERY, ("project_id", first)])
        for others in ([second], [first, second], [alice.inbox_id], []):
            query = [*self.QUERY, *(("project_id", project_id) for project_id in others), ("cursor", cursor)]
            await _assert_refused(alice, "/tasks", query)
        await _assert_refused(alice, f"/projects/{second}/tasks", [*self.QUERY, ("cursor", cursor)])

    async def test_of_one_project_it_is_400_at_another(self, alice: Person, stock: Stock) -> None:
        first, second = (f"/projects/{project_id}/tasks" for project_id in stock.project_ids)
        cursor = await self._cursor(alice, first)
        for path in (second, "/tasks", f"/projects/{alice.inbox_id}/tasks"):
            await _assert_refused(alice, path, [*self.QUERY, ("cursor", cursor)])

    async def test_for_another_user_it_is_400(self, alice: Person, bob: Person, stock: Stock) -> None:
        for project_id in stock.project_ids:
            await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "owner"})
        await _assert_refused(bob, "/tasks", [*self.QUERY, ("cursor", await self._cursor(alice))])

    async def test_of_every_list_it_is_400_at_all_others(
        self, alice: Person, administrator: Person, database: Database
    ) -> None:
        lists = [await make_list(name, alice, administrator, database) for name in LISTS]
        cursors = []
        for one in lists:
            await one.fill(3)
            page = await one.reader.get(one.path, params=_with(one.path, limit=1))
            cursors.append(page.json()["next_cursor"])
        for index, one in enumerate(lists):
            for other_index, cursor in enumerate(cursors):
                query = _with(one.path, cursor=cursor, limit=1)
                if index == other_index:
                    await one.reader.get(one.path, params=query)
                else:
                    await _assert_refused(one.reader, one.path, query)
        for cursor in cursors:
            await _assert_refused(alice, "/tasks", [("cursor", cursor)])

    @pytest.mark.parametrize("name", ["comments", "members", "task activity", "project activity"])
    async def test_of_one_thing_it_is_400_at_another_of_its_kind(
        self, alice: Person, administrator: Person, database: Database, name: str
    ) -> None:
        one, other = [await make_list(name, alice, administrator, database) for _ in range(2)]
        await one.fill(3)
        cursor = (await alice.get(one.path, params={"limit": 1})).json()["next_cursor"]
        await _assert_refused(alice, other.path, [("cursor", cursor)])

    @pytest.mark.parametrize("name", ["comments", "members", "task activity", "project activity"])
    async def test_of_somebody_else_it_is_400_at_a_shared_list(
        self, alice: Person, bob: Person, administrator: Person, database: Database, name: str
    ) -> None:
        shared = await make_list(name, alice, administrator, database)
        await alice.post(f"/projects/{shared.parameters['project_id']}/members", {"username": "bob", "role": "owner"})
        await shared.fill(3)
        cursor = (await alice.get(shared.path, params={"limit": 1})).json()["next_cursor"]
        await _assert_refused(bob, shared.path, [("cursor", cursor)])
        await alice.get(shared.path, params={"cursor": cursor})

    async def test_of_unread_notifications_it_is_400_at_the_others(
        self, alice: Person, administrator: Person, database: Database
    ) -> None:
        unread = await make_list("unread notifications", alice, administrator, database)
        await unread.fill(3)
        cursor = (await alice.get("/notifications", params={"unread": True, "limit": 1})).json()["next_cursor"]
        for query in ([], [("unread", False)]):
            await _assert_refused(alice, "/notifications", [*query, ("cursor", cursor)])

    async def test_bent_anywhere_it_is_400(self, alice: Person, stock: Stock) -> None:
        cursor = await self._cursor(alice)
        for bent in _bendings(cursor):
            await _assert_refused(alice, "/tasks", [*self.QUERY, ("cursor", bent)])

    async def test_it_can_be_written_in_one_way_only(self, alice: Person, stock: Stock) -> None:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        # Titles of three lengths leave 0, 2 and 4 bits of the last character unused.
        for title in ("0", "00", "000"):
            for _ in range(2):
                await alice.new_task(title=title)
        page = (await alice.get("/tasks", params=[*self.QUERY, ("limit", 1)])).json()
        for _ in range(5):
            cursor = page["next_cursor"]
            others = [cursor[:-1] + last for last in alphabet if last != cursor[-1]]
            others += [
                cursor + "=",
                cursor + "==",
                cursor + "A",
                cursor[:-1],
                f"{cursor[:9]}!{cursor[9:]}",
                f" {cursor}",
            ]
            others += [f"{cursor}\n", cursor.replace("-", "+").replace("_", "/") + "."]
            for other in others:
                await _assert_refused(alice, "/tasks", [*self.QUERY, ("cursor", other)])
            page = (await alice.get("/tasks", params=[*self.QUERY, ("limit", 1), ("cursor", cursor)])).json()

    @pytest.mark.parametrize(
        "garbage", ["x", "AAAA", "null", "0", "\x00", "é", "😀", "🏴\u202e", "=", "A" * 4_000, "../..", "' OR 1=1 --"]
    )
    async def test_garbage_is_400(self, alice: Person, stock: Stock, garbage: str) -> None:
        await _assert_refused(alice, "/tasks", [("cursor", garbage)])
        await _assert_refused(alice, "/projects", [("cursor", garbage)])

    @pytest.mark.parametrize("length", [0, 4_001])
    async def test_an_empty_or_too_long_one_is_422(self, alice: Person, length: int) -> None:
        for path in ("/tasks", "/projects", f"/projects/{alice.inbox_id}/activity"):
            answer = await alice.get(path, 422, params={"cursor": "A" * length})
            assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]


class TestRotation:
    """Cursors outlive a change of the secret as long as the old one is named."""

    NEW = "another secret for tests only, of more than 32 bytes"

    async def _ask(self, database_url: str, alice: Person, cursor: str, **settings: str) -> int:
        app = create_app(make_settings(database_url=database_url, **settings))
        token = app.state.token_signer.access_token(alice.id, alice.session_id)
        async with app.router.lifespan_context(app), client_for(app, headers=bearer(token)) as client:
            return (await client.get("/api/v1/tasks", params={"cursor": cursor})).status_code

    async def test_with_the_previous_secret_named_it_is_good(
        self, alice: Person, stock: Stock, database_url: str
    ) -> None:
        cursor = (await alice.get("/tasks", params={"limit": 2})).json()["next_cursor"]
        assert await self._ask(database_url, alice, cursor, secret_key=self.NEW, secret_key_previous=SECRET) == 200
        assert await self._ask(database_url, alice, cursor, secret_key=self.NEW) == 400

    async def test_new_ones_are_made_with_the_new_secret(
        self, alice: Person, stock: Stock, database_url: str, app: FastAPI
    ) -> None:
        rotated = create_app(make_settings(database_url=database_url, secret_key=self.NEW, secret_key_previous=SECRET))
        async with rotated.router.lifespan_context(rotated), client_for(rotated, headers=bearer(alice.token)) as client:
            cursor = (await client.get("/api/v1/tasks", params={"limit": 2})).json()["next_cursor"]
        await _assert_refused(alice, "/tasks", [("cursor", cursor)])
        assert await self._ask(database_url, alice, cursor, secret_key=self.NEW) == 200

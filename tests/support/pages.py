"""What the tests of several files in tests/http share: pages."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.rows import execute, fetch_one
from tests.support.sessions import open_transaction

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
        parameters = {**self.parameters, "place": place, "at": START + timedelta(minutes=place), "name": fresh_name()}
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


NAMES = iter(range(1_000_000_000))


def fresh_name() -> str:
    return f"name_{next(NAMES)}"


NEW_USER = "INSERT INTO users (username, email, password_hash, created_at) VALUES (:name, :name, 'x', {}) RETURNING id"


INSERTS = {
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
        WITH u AS ({NEW_USER.format("now()")})
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
    "users": NEW_USER.format(":at"),
    "task activity": """
        INSERT INTO events (project_id, entity, entity_id, version, action)
        VALUES (:project_id, 'task', :task_id, :place + 2, 'updated') RETURNING id
    """,
    "project activity": """
        INSERT INTO events (project_id, xid, entity, entity_id, version, action)
        VALUES (:project_id, CAST(CAST(:place + 1000000000 AS text) AS xid8), 'task', 1, 1, 'updated') RETURNING id
    """,
}


DELETES = {
    "projects": "DELETE FROM project_members WHERE project_id = :id",
    "members": "DELETE FROM project_members WHERE user_id = :id",
    "sessions": "UPDATE sessions SET revoked_at = now() WHERE id = :id",
    "users": """
        UPDATE users SET username = NULL, email = NULL, password_hash = NULL, deleted_at = now() WHERE id = :id
    """,
    "task activity": "DELETE FROM events WHERE id = :id",
    "project activity": "DELETE FROM events WHERE id = :id",
}


NEWEST_FIRST = ("notifications", "unread notifications", "api_keys", "sessions", "task activity", "project activity")


LISTS = (*INSERTS, "unread notifications")


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
        insert=INSERTS[table],
        delete=DELETES.get(table, f"DELETE FROM {table} WHERE id = :id"),
        database=database,
        parameters={"project_id": project_id, "task_id": task_id, "user_id": alice.id},
        newest_first=name in NEWEST_FIRST,
        identity="user_id" if name == "members" else "id",
    )


def with_values(path: str, **values: Any) -> list[tuple[str, Any]]:
    """Return the query in a path with more values; the client would replace it."""
    return [*parse_qsl(urlsplit(path).query), *values.items()]


def next_target(response: httpx.Response) -> str:
    """Return where the link to the next page leads from this one."""
    target, relation = response.headers["Link"].split("; ")
    assert (target[0], target[-1], relation) == ("<", ">", 'rel="next"')
    return str(response.url.join(target[1:-1]))


def bendings(cursor: str) -> list[str]:
    """Return the cursor with each of its characters replaced by another."""
    return [
        cursor[:place] + ("A" if character != "A" else "B") + cursor[place + 1 :]
        for place, character in enumerate(cursor)
    ]


async def assert_refused(person: Person, path: str, query: Query) -> None:
    answer = await person.get(path, None, params=query)
    assert (answer.status_code, answer.json()["type"]) == (400, "/docs/problems#invalid-cursor"), query


TASKS = 60


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


ADD_TASKS = """
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
    sql = ADD_TASKS.replace(":start", "CAST('2026-01-01T00:00:00Z' AS timestamptz)").replace(":from", str(first))
    for name, value in (("first", project_ids[0]), ("second", project_ids[1]), ("to", last), ("user_id", alice.id)):
        sql = sql.replace(f":{name}", str(value))
    async with open_transaction(database) as session:
        driver: Any = await (await session.connection()).get_raw_connection()
        return [row["id"] for row in await driver.driver_connection.fetch(sql)]

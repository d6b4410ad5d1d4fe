"""Databases for measurements: the embedded PostgreSQL, plain SQL from synchronous code, and the rows to begin with."""

import asyncio
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import make_url

from taskmanager.embedded_postgres import EmbeddedPostgres

# All servers of a run stay connected, each with a pool per process; the rest is as it comes.
_OPTIONS = {"max_connections": "300"}

EVENLY = "1 + (n - 1) % :users"

# The same rows for everybody: `n` decides all of a task, and a user's tasks lie far apart.
_GENERATED_TASKS = """
SELECT n, :owner AS owner_id, 'Task ' || md5(CAST(n AS text)) AS title,
       'Description ' || md5(CAST(-n AS text)) || ' ' || md5(CAST(n * 7 AS text)) AS description,
       (ARRAY['pending', 'in_progress', 'completed', 'cancelled'])[1 + n % 4] AS status, 1 + n % 5 AS priority,
       ARRAY['tag ' || lpad(CAST(n % 50 AS text), 2, '0'), 'work'] AS tags,
       CASE WHEN n % 2 = 0 THEN CAST('2030-01-01' AS timestamptz) + make_interval(mins => n) END AS due_at,
       CAST('2026-01-01' AS timestamptz) + make_interval(secs => n) AS created_at
FROM generate_series(1, :tasks) AS n ORDER BY n
"""

_SERVICE_ROWS = (
    """
    INSERT INTO users (id, username, email, password_hash)
    SELECT n, 'user_' || n, 'user_' || n || '@example.com', 'never used' FROM generate_series(1, :users) AS n
    """,
    "INSERT INTO sessions (id, user_id, user_agent) SELECT id, id, 'benchmark' FROM users",
    "INSERT INTO projects (id, name, inbox_of) SELECT id, 'Inbox', id FROM users",
    "INSERT INTO project_members (project_id, user_id, role) SELECT id, id, 'owner' FROM users",
    """
    INSERT INTO tasks (project_id, title, description, status, priority, tags, due_at, created_by, created_at,
                       updated_at, completed_at)
    SELECT owner_id, title, description, status, priority, tags, due_at, owner_id, created_at, created_at,
           CASE WHEN status = 'completed' THEN created_at END
    FROM (:generated_tasks) AS generated ORDER BY n
    """,
    *(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), :users)" for table in ("users", "sessions", "projects")),
)
_PEER_ROWS = (
    """
    INSERT INTO users (id, username, email)
    SELECT n, 'user_' || n, 'user_' || n || '@example.com' FROM generate_series(1, :users) AS n
    """,
    """
    INSERT INTO tasks (owner_id, title, description, status, priority, tags, due_at, created_at, updated_at)
    SELECT owner_id, title, description, status, priority, tags, due_at, created_at, created_at
    FROM (:generated_tasks) AS generated ORDER BY n
    """,
    "SELECT setval(pg_get_serial_sequence('users', 'id'), :users)",
)


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL server."""

    url: str
    pid: int

    def create(self, name: str) -> str:
        """Create an empty database and return its URL."""
        execute(self.url, f"CREATE DATABASE {name} TEMPLATE template0")
        return str(make_url(self.url).set(database=name).render_as_string(hide_password=False))


@contextmanager
def embedded_postgres() -> Iterator[Postgres]:
    """Run an embedded PostgreSQL in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="taskmanager-benchmark-") as folder:
        Path(folder).chmod(0o711)  # as root the server runs under another account, which has to reach the folder
        server = EmbeddedPostgres(Path(folder), options=_OPTIONS)
        try:
            url = server.start().replace("+asyncpg", "")
            pid = int((Path(folder) / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
            yield Postgres(url, pid)
        finally:
            server.stop()
            server.remove()


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement, timeout=3600)
        finally:
            await connection.close()

    asyncio.run(run())


def fetch(url: str, statement: str, *values: Any) -> list[Any]:
    """Return the rows of a query."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    return asyncio.run(run())


def _bound(statement: str, *, users: int, tasks: int, owner: str = EVENLY) -> str:
    numbers = {"users": users, "tasks": tasks}
    whole = statement.replace(":generated_tasks", _GENERATED_TASKS).replace(":owner", owner)
    return re.sub(r":(users|tasks)\b", lambda match: str(numbers[match[1]]), whole)


def fill_service(url: str, *, users: int, tasks: int, owner: str = EVENLY) -> None:
    """Fill a migrated database of the service: everybody's tasks lie in their Inbox, user n's login is session n.

    `owner` is the SQL for the owner of task `n`.
    """
    statements = [_bound(statement, users=users, tasks=tasks, owner=owner) for statement in _SERVICE_ROWS]
    with _without_indexes(url, "tasks"):
        execute(url, *statements)
    execute(url, "VACUUM ANALYZE")


@contextmanager
def _without_indexes(url: str, table: str) -> Iterator[None]:
    """Drop the indexes of a table that no constraint needs, and create them again at the end, which is faster."""
    indexes = fetch(
        url,
        """
        SELECT CAST(i.indexrelid AS regclass)::text AS name, pg_get_indexdef(i.indexrelid) AS definition
        FROM pg_index i WHERE i.indrelid = CAST(CAST($1 AS text) AS regclass)
            AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
        """,
        table,
    )
    execute(url, *(f"DROP INDEX {index['name']}" for index in indexes))
    yield
    memory = "SET maintenance_work_mem = '512MB'"
    execute(url, memory, *(index["definition"] for index in indexes))


def fill_peer(url: str, *, users: int, tasks: int) -> None:
    """Create the tables of the peers in an empty database, and fill them with the same tasks."""
    schema = (Path(__file__).parent / "peers" / "schema.sql").read_text()
    rows = (_bound(statement, users=users, tasks=tasks) for statement in _PEER_ROWS)
    execute(url, schema, *rows, "VACUUM ANALYZE")


def tasks_of_users(url: str, owner_column: str) -> dict[int, Sequence[int]]:
    """Return the ids of each user's tasks, the newest first."""
    rows = fetch(
        url,
        f"SELECT {owner_column} AS owner, array_agg(id ORDER BY created_at DESC, id DESC) AS ids FROM tasks GROUP BY 1",
    )
    return {row["owner"]: row["ids"] for row in rows}

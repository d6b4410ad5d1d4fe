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

from benchmarks import rows
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres

# All servers of a run stay connected, each with a pool per process; the rest is as it comes.
_PEERS = Path(__file__).parent / "peers"
_OPTIONS = {"max_connections": "300"}


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL server."""

    url: str
    pid: int

    def create(self, name: str) -> str:
        """Create an empty database and return its URL."""
        execute(self.url, f"CREATE DATABASE {name} TEMPLATE template0")
        return self._named(name)

    def clone(self, template_url: str, name: str) -> str:
        """Create a database anew, with all that a template holds, and return its URL."""
        template = make_url(template_url).database
        execute(
            self.url,
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY",
        )
        return self._named(name)

    def _named(self, name: str) -> str:
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


def _bound(statement: str, *, users: int, tasks: int, owner: str, project: str) -> str:
    numbers = {"users": users, "tasks": tasks}
    whole = statement.replace(":owner", owner).replace(":project", project)
    return re.sub(r":(users|tasks)\b", lambda match: str(numbers[match[1]]), whole)


def fill_service(
    url: str, *, users: int, tasks: int, owner: str = rows.EVENLY, teams: bool = True, discussed: bool = True
) -> None:
    """Fill a migrated database of the service; user n's login is session n.

    `owner` is the SQL for the owner of task `n`. Without `teams` everybody's tasks lie in their Inbox, without
    `discussed` there are no comments, notifications and events.
    """
    _fill(url, rows.SERVICE_USERS, users=users, tasks=tasks, owner=owner, teams=teams, discussed=discussed)
    if discussed:
        execute(url, *rows.EVENTS)
    execute(url, "VACUUM ANALYZE")


def fill_peer(url: str, *, users: int, tasks: int, owner: str = rows.EVENLY, teams: bool = True) -> None:
    """Create the tables of the peer with the service's features in an empty database, and fill them alike."""
    execute(url, (_PEERS / "fastify" / "schema.sql").read_text())
    _fill(url, rows.PEER_USERS, users=users, tasks=tasks, owner=owner, teams=teams, discussed=True)
    execute(url, "VACUUM ANALYZE")


def _fill(url: str, first: Sequence[str], *, users: int, tasks: int, owner: str, teams: bool, discussed: bool) -> None:
    project = rows.IN_INBOX_OR_TEAM if teams else rows.IN_INBOX
    before = [*first, *rows.INBOXES, *(rows.TEAMS if teams else ()), rows.TASKS]
    bound = [
        [_bound(statement, users=users, tasks=tasks, owner=owner, project=project) for statement in statements]
        for statements in (before, rows.DISCUSSIONS if discussed else ())
    ]
    with _without_indexes(url, "tasks"):
        execute(url, *bound[0])
    execute(url, *bound[1])


def fill_owned(url: str, *, users: int, tasks: int) -> None:
    """Create the tables of the peers that know an owner only in an empty database, and fill them alike."""
    statements = [
        _bound(statement, users=users, tasks=tasks, owner=rows.EVENLY, project="")
        for statement in (*rows.PEER_USERS, rows.OWNED_TASKS)
    ]
    schema = (_PEERS / "schema.sql").read_text()
    execute(url, schema, *statements, "SELECT setval(pg_get_serial_sequence('users', 'id'), max(id)) FROM users")
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

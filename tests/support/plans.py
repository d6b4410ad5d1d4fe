"""What PostgreSQL does for a list of tasks: the plans of the very statements that the service sends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

import asyncpg
from alembic import command
from sqlalchemy import make_url, text

from taskmanager.database.database import Database, SharedConnection
from taskmanager.database.poolers import PoolerMode
from taskmanager.database.pools import Pool
from taskmanager.database.reads import Begun, Reads
from taskmanager.database.schema_migrations import alembic_config
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.statements import Arguments, Statement
from taskmanager.http.pagination import CursorSigner
from taskmanager.tasks.listing.repository import TaskListReader
from taskmanager.tasks.listing.schemas import ProjectTaskQuery
from taskmanager.tasks.schemas import TaskList
from tests.conftest import make_settings
from tests.support.databases import temporary_database
from tests.support.server import connect
from tests.support.sessions import open_transaction

# From the sixth execution on PostgreSQL may plan without looking at the values.
EXECUTIONS = 7
_NUMBERS = count()
NEEDLES = 10
_SIGNER = CursorSigner([b"a secret for tests only, of more than 32 bytes"])

# One large project among many small ones, so that the average says nothing of it.
_FILL = (
    """
    INSERT INTO users (username, email, password_hash) SELECT name, name || '@example.com', 'x'
    FROM (VALUES ('alice'), ('bob'), ('carol')) AS names (name)
    """,
    "INSERT INTO projects (name) SELECT 'Project ' || n FROM generate_series(1, 20201) AS n",
    """
    INSERT INTO project_members (project_id, user_id, role)
    SELECT p.id, u.id, 'owner' FROM projects p CROSS JOIN users u
    WHERE p.id <= 4 OR (u.username = 'bob' AND p.id <= 201)
    """,
    """
    INSERT INTO tasks (project_id, title, created_at, due_at, tags)
    SELECT 2 + n % 200, 'Small ' || md5(CAST(n AS text)), CAST('2026-01-01' AS timestamptz) + make_interval(secs => n),
           CASE WHEN n % 3 = 0 THEN CAST('2026-01-01' AS timestamptz) + make_interval(mins => n) END,
           CASE WHEN n % 3 = 0 THEN '{common}'::text[] ELSE '{}'::text[] END
    FROM generate_series(1, 4000) AS n
    """,
    """
    INSERT INTO tasks (project_id, title, description, status, priority, tags, due_at, due_on, assignee_id,
                       created_at, updated_at, completed_at)
    SELECT 1, 'Task ' || md5(CAST(n AS text)) || CASE WHEN n % rarely = 7 THEN ' needle' ELSE '' END,
           CASE WHEN n % 2 = 0 THEN 'Description ' || md5(CAST(-n AS text)) END,
           CASE WHEN n % rarely = 0 THEN 'cancelled'
                ELSE (ARRAY['pending', 'in_progress', 'completed'])[1 + n % 3] END,
           CASE WHEN n % rarely = 1 THEN 5 ELSE 1 + n / 3 % 4 END,
           CASE WHEN n % rarely = 2 THEN '{rare}'::text[] WHEN n % 5 < 2 THEN ARRAY['common']
                ELSE ARRAY['tag ' || md5(CAST(n % 2000 AS text))] END,
           CASE WHEN n % rarely <> 4 AND n % 7 < 4
                THEN CAST('2026-01-01' AS timestamptz) + make_interval(secs => n * 7919 % large) END,
           CASE WHEN n % rarely = 4 THEN CURRENT_DATE
                WHEN n % 7 = 4 THEN CAST('2026-01-01' AS date) + CAST(n % 10 AS integer) END,
           CASE WHEN n % rarely = 3 THEN 1 WHEN n % 11 < 5 THEN 2 END,
           CAST('2026-01-01' AS timestamptz) + make_interval(secs => n / 3),
           CASE WHEN n % rarely = 5 THEN CAST('2030-01-01' AS timestamptz)
                ELSE CAST('2026-01-01' AS timestamptz) + make_interval(secs => n * 13 % large) END,
           CASE WHEN n % rarely > 0 AND n % 3 = 2 THEN CAST('2026-01-01' AS timestamptz) END
    FROM generate_series(1, CAST(:large AS bigint)) AS n
    CROSS JOIN (SELECT CAST(:large AS bigint) AS large, CAST(:large AS bigint) / :needles AS rarely) AS sizes
    """,
)


@dataclass(frozen=True)
class Sent:
    """A statement with its arguments, as it was run."""

    statement: Statement
    arguments: Arguments


class RecordingReads(Reads):
    """Reads that keep what they run."""

    def __init__(self, database: Database, connections: SharedConnections) -> None:
        super().__init__(database, connections)
        self.sent: list[Sent] = []

    def prepare(self, statement: Statement, **values: Any) -> Begun:
        """Keep a statement, and run it."""
        self.sent.append(Sent(statement, statement.arguments(values)))
        return super().prepare(statement, **values)


@dataclass(frozen=True)
class Plan:
    """A plan that was executed, with what it cost."""

    root: dict[str, Any]
    milliseconds: float

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """All nodes."""
        found: list[dict[str, Any]] = []
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += node.get("Plans", [])
        return found

    @property
    def buffers(self) -> int:
        """Pages that were read, from memory or not."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def task_scans(self) -> set[str]:
        """How tasks are read: the names of indexes, or `Seq Scan`."""
        found = set()
        for node in self.nodes:
            index = node.get("Index Name")
            if index is not None and index.startswith("tasks_"):
                found.add(index)
            elif node.get("Relation Name") == "tasks" and node["Node Type"] != "Bitmap Heap Scan":
                found.add(node["Node Type"])
        return found

    @property
    def most_rows(self) -> int:
        """The most rows that any node handled, kept or thrown away, but for who is a member of what."""
        return max(
            int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
            for node in self.nodes
            if node.get("Relation Name") != "project_members"
        )


@dataclass(frozen=True)
class LargeProject:
    """A database with one large project, number 1, 200 small and many empty ones; user 1 is in four of them."""

    database: Database
    url: str
    size: int

    async def read(self, query: dict[str, Any], *, anywhere: bool = False, user_id: int = 1) -> tuple[TaskList, Sent]:
        """Read a page of the project, or of all of the user's, and return it with the statement that gave it."""
        page, sent = await self.run(query, anywhere=anywhere, user_id=user_id)
        return page, sent[-1]

    async def run(
        self, query: dict[str, Any], *, anywhere: bool = False, user_id: int = 1
    ) -> tuple[TaskList, list[Sent]]:
        """Read a page, and return it with all that was run for it but counts.

        If that is more than one statement the first has found that there are more than few tasks.
        """
        connections = SharedConnections(self.database)
        reads = RecordingReads(self.database, connections)
        try:
            page = await TaskListReader(reads, _SIGNER).read(
                ProjectTaskQuery.model_validate(query), user_id=user_id, project_ids=() if anywhere else (1,)
            )
        finally:
            await connections.close()
            await reads.close()
        sent = [one for one in reads.sent if one.statement.name.startswith("list")]
        return TaskList.model_validate_json(page.body), sent

    async def plan(
        self,
        query: dict[str, Any],
        *,
        anywhere: bool = False,
        after: dict[str, Any] | None = None,
        executions: int = EXECUTIONS,
        together: int = 0,
        user_id: int = 1,
        of_few: bool = False,
    ) -> Plan:
        """Return the plan that PostgreSQL has settled on for a page, after so many reads of it or of another query.

        With `together` it is that of so many requests that share the statement, with `of_few` that of the attempt to
        find the page among few tasks.
        """
        _, sent = await self.run(query, anywhere=anywhere, user_id=user_id)
        read = sent[0] if of_few else sent[-1]
        earlier = read if after is None else (await self.read(after, anywhere=anywhere))[1]
        return await self.explain(read, earlier, executions=executions, together=together)

    async def explain(
        self, read: Sent, earlier: Sent | None = None, *, executions: int = EXECUTIONS, together: int = 0
    ) -> Plan:
        """Return the plan of a statement after so many executions of it, or of an earlier one with other values."""
        earlier = earlier or read
        assert earlier.statement is read.statement
        # On one of the service's own connections, with all their settings.
        is_shared = read.statement.is_shared
        held = await self.database.connect(Pool.SHARED if is_shared else Pool.ALONE)
        sql = read.statement.shared if together else read.statement.lone
        # The driver keeps the form of each statement's answer: none of a name may have another.
        name = f"read_{next(_NUMBERS)}"
        try:
            async with self._unprepared(held):
                await held.fetch(f"PREPARE {name} AS {sql}")
                for _ in range(executions - 1):
                    await held.fetch(f"EXECUTE {name}{_values(earlier, together)}")
                analyse = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {name}{_values(read, together)}"
                (((plan,),),) = await held.fetch(analyse)
        finally:
            await held.discard()
        return Plan(plan["Plan"], plan["Execution Time"])

    @asynccontextmanager
    async def _unprepared(self, held: SharedConnection) -> AsyncIterator[None]:
        # Through a pooler in transaction mode each statement is planned anew for its values.
        if self.database.pooler_mode is not PoolerMode.TRANSACTION:
            yield
            return
        async with held.transaction():
            await held.fetch("SET LOCAL plan_cache_mode = force_custom_plan")
            await held.fetch("SET LOCAL statement_timeout = 60000")
            yield
            await held.fetch("DEALLOCATE ALL")


def _values(sent: Sent, together: int) -> str:
    values = sent.statement.columns([sent.arguments] * together) if together else sent.arguments
    return f"({', '.join(_literal(value) for value in values)})"


def _literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case datetime():
            return f"'{value.isoformat()}'"
        case list() | tuple():
            return _literal("{" + ",".join(_element(element) for element in value) + "}")
    return "'" + str(value).replace("'", "''") + "'"


def _element(value: Any) -> str:
    if value is None or isinstance(value, int):
        return "NULL" if value is None else str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@asynccontextmanager
async def large_project(database_url: str, size: int) -> AsyncIterator[LargeProject]:
    """Yield a database of its own with a project of so many tasks."""
    async with temporary_database(database_url) as url:
        await asyncio.to_thread(command.upgrade, alembic_config(url), "head")
        settings = make_settings(
            database_url=url,
            database_statement_timeout_ms=60_000,
            database_command_timeout_seconds=60,
        )
        database = Database(settings)
        try:
            async with open_transaction(database) as session:
                for statement in _FILL:
                    values = {"large": size, "needles": NEEDLES} if ":large" in statement else {}
                    await session.execute(text(statement), values)
            connection: asyncpg.Connection[Any] = await connect(make_url(url))
            await connection.execute("VACUUM ANALYZE", timeout=1_800)
            await connection.close()
            yield LargeProject(database, url, size)
        finally:
            await database.dispose()

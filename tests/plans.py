"""What PostgreSQL does for a list of tasks: the plans of the very statements that the service sends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from alembic import command
from sqlalchemy import event, make_url, text

from taskmanager.database.database import Database
from taskmanager.pagination import CursorSigner
from taskmanager.schema_migrations import alembic_config
from taskmanager.tasks.list_repository import TaskListReader
from taskmanager.tasks.schemas import ProjectTaskQuery, TaskList
from tests.conftest import make_settings
from tests.databases import temporary_database
from tests.server import connect

# From the sixth execution on PostgreSQL may plan without looking at the values.
EXECUTIONS = 7
NEEDLES = 10
_SIGNER = CursorSigner([b"a secret for tests only, of more than 32 bytes"])

# One large project among many small ones, so that the average says nothing of it.
_FILL = (
    """
    INSERT INTO users (username, email, password_hash) SELECT name, name || '@example.com', 'x'
    FROM (VALUES ('alice'), ('bob'), ('carol')) AS names (name)
    """,
    "INSERT INTO projects (name) SELECT 'Project ' || n FROM generate_series(1, 201) AS n",
    """
    INSERT INTO project_members (project_id, user_id, role)
    SELECT p.id, u.id, 'owner' FROM projects p CROSS JOIN users u WHERE p.id <= 4 OR u.username = 'bob'
    """,
    """
    INSERT INTO tasks (project_id, title, created_at, due_at, tags)
    SELECT 2 + n % 200, 'Small ' || md5(CAST(n AS text)), CAST('2026-01-01' AS timestamptz) + make_interval(secs => n),
           CASE WHEN n % 3 = 0 THEN CAST('2026-01-01' AS timestamptz) + make_interval(mins => n) END,
           CASE WHEN n % 3 = 0 THEN '{common}'::text[] ELSE '{}'::text[] END
    FROM generate_series(1, 4000) AS n
    """,
    """
    INSERT INTO tasks (project_id, title, description, status, priority, tags, due_at, assignee_id, created_at,
                       updated_at, completed_at)
    SELECT 1, 'Task ' || md5(CAST(n AS text)) || CASE WHEN n % rarely = 7 THEN ' needle' ELSE '' END,
           CASE WHEN n % 2 = 0 THEN 'Description ' || md5(CAST(-n AS text)) END,
           CASE WHEN n % rarely = 0 THEN 'cancelled'
                ELSE (ARRAY['pending', 'in_progress', 'completed'])[1 + n % 3] END,
           CASE WHEN n % rarely = 1 THEN 5 ELSE 1 + n / 3 % 4 END,
           CASE WHEN n % rarely = 2 THEN '{rare}'::text[] WHEN n % 5 < 2 THEN ARRAY['common']
                ELSE ARRAY['tag ' || md5(CAST(n % 2000 AS text))] END,
           CASE WHEN n % 7 < 4 THEN CAST('2026-01-01' AS timestamptz) + make_interval(secs => n * 7919 % large) END,
           CASE WHEN n % rarely = 3 THEN 1 WHEN n % 11 < 5 THEN 2 END,
           CAST('2026-01-01' AS timestamptz) + make_interval(secs => n / 3),
           CAST('2026-01-01' AS timestamptz) + make_interval(secs => n * 13 % large),
           CASE WHEN n % rarely > 0 AND n % 3 = 2 THEN CAST('2026-01-01' AS timestamptz) END
    FROM generate_series(1, CAST(:large AS bigint)) AS n
    CROSS JOIN (SELECT CAST(:large AS bigint) AS large, CAST(:large AS bigint) / :needles AS rarely) AS sizes
    """,
)


@dataclass(frozen=True)
class Sent:
    """A statement with its parameters, as it went to the driver."""

    statement: str
    parameters: Sequence[Any]


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
    """A database with one large project, number 1, among 200 small ones; user 1 is in four of them."""

    database: Database
    url: str
    size: int

    async def read(
        self, query: dict[str, Any], *, anywhere: bool = False, sent: list[Sent] | None = None
    ) -> tuple[TaskList, list[Sent]]:
        """Read a page of the project, or of all of the user's, and return it with what was sent for it."""
        recorded = [] if sent is None else sent

        def record(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            recorded.append(Sent(statement, tuple(parameters)))

        event.listen(self.database.engine.sync_engine, "before_cursor_execute", record)
        try:
            async with self.database.reader() as session:
                project_ids = () if anywhere else (1,)
                page = await TaskListReader(session, _SIGNER).read(
                    ProjectTaskQuery.model_validate(query), user_id=1, project_ids=project_ids
                )
        finally:
            event.remove(self.database.engine.sync_engine, "before_cursor_execute", record)
        return page, recorded

    async def plan(
        self,
        query: dict[str, Any],
        *,
        anywhere: bool = False,
        after: dict[str, Any] | None = None,
        executions: int = EXECUTIONS,
    ) -> Plan:
        """Return the plan that PostgreSQL has settled on for a page, after so many reads of it or of another query."""
        _, (*settings, read) = await self.read(query, anywhere=anywhere)
        earlier = read if after is None else (await self.read(after, anywhere=anywhere))[1][-1]
        assert earlier.statement == read.statement
        # On one of the service's own connections, with all their settings.
        async with self.database.engine.connect() as pooled:
            connection: Any = (await pooled.get_raw_connection()).driver_connection
            await connection.execute("BEGIN")
            for setting in settings:
                await connection.execute(setting.statement)
            await connection.execute(f"PREPARE read AS {read.statement}")
            for _ in range(executions - 1):
                await connection.execute(_call(earlier))
            (answer,) = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {_call(read)}")
            await connection.execute("ROLLBACK; DEALLOCATE read")
        (plan,) = answer[0]
        return Plan(plan["Plan"], plan["Execution Time"])


def _call(sent: Sent) -> str:
    return f"EXECUTE read({', '.join(_literal(value) for value in sent.parameters)})"


def _literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case datetime():
            return f"'{value.isoformat()}'"
        case list():
            return "'{" + ",".join(f'"{element}"' for element in value) + "}'"
    return "'" + str(value).replace("'", "''") + "'"


@asynccontextmanager
async def large_project(database_url: str, size: int) -> AsyncIterator[LargeProject]:
    """Yield a database of its own with a project of so many tasks."""
    async with temporary_database(database_url) as url:
        await asyncio.to_thread(command.upgrade, alembic_config(url), "head")
        settings = make_settings(
            database_url=url,
            database_long_statement_timeout_ms=1_800_000,
            database_statement_timeout_ms=60_000,
            database_command_timeout_seconds=60,
        )
        database = Database(settings)
        try:
            async with database.long_transaction() as session:
                for statement in _FILL:
                    values = {"large": size, "needles": NEEDLES} if ":large" in statement else {}
                    await session.execute(text(statement), values)
            connection: asyncpg.Connection[Any] = await connect(make_url(url))
            await connection.execute("VACUUM ANALYZE", timeout=1_800)
            await connection.close()
            yield LargeProject(database, url, size)
        finally:
            await database.dispose()

"""A new version migrates while the old one serves: no request fails, and no statement would block the others."""

import asyncio
import io
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import pytest
from alembic import command
from sqlalchemy import make_url

from taskmanager.database.database import SCHEMA_REVISION
from taskmanager.schema_migrations import alembic_config
from tests.conftest import SECRET
from tests.credentials import API
from tests.databases import temporary_database
from tests.live_server import LiveServer

ROOT = Path(__file__).parents[1]
CLIENTS = 8
NEXT = """
from alembic import op

revision = "next"
down_revision = "{newest}"

def upgrade():
    for table in ("users", "projects", "project_members", "tasks", "comments", "events"):
        op.execute(f"ALTER TABLE {{table}} ADD COLUMN colour text DEFAULT 'red' NOT NULL")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS tasks_colour_idx")
        op.execute("CREATE INDEX CONCURRENTLY tasks_colour_idx ON tasks (project_id, colour)")

def downgrade():
    pass
"""


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that has one more migration."""
    folder = tmp_path_factory.mktemp("next")
    ignored = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    shutil.copytree(ROOT / "migrations", folder / "migrations", ignore=ignored)
    path = folder / "migrations" / "versions" / "next_version.py"
    path.write_text(NEXT.format(newest=SCHEMA_REVISION))
    return folder


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    """A database of the test's own at the current version."""
    async with temporary_database(database_url) as url:
        await asyncio.to_thread(command.upgrade, alembic_config(url), "head")
        yield url


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[LiveServer]:
    """The current version, serving."""
    server = LiveServer({"DATABASE_URL": url, "SECRET_KEY": SECRET}, tmp_path / "log")
    server.start()
    yield server
    server.stop()


async def migrate(folder: Path, url: str) -> tuple[int, str]:
    """Run `taskmanager migrate` of another version; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskmanager", "migrate"),
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@dataclass
class Load:
    """What clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0


async def _use(client: httpx.AsyncClient, load: Load, until: asyncio.Event) -> None:
    own = (await client.post(f"{API}/tasks", json={"title": "Old"})).json()["id"]
    calls = (
        ("GET", "/users/me", None),
        ("GET", "/projects", None),
        ("GET", "/tasks?limit=5", None),
        ("GET", f"/tasks/{own}", None),
        ("GET", f"/tasks/{own}/comments", None),
        ("GET", f"/tasks/{own}/activity", None),
        ("GET", "/notifications", None),
        ("POST", "/tasks", {"title": "New"}),
        ("POST", f"/tasks/{own}/comments", {"body": "New"}),
        ("POST", "/projects", {"name": "New"}),
        ("PATCH", f"/tasks/{own}", {"description": "New"}),
    )
    while not until.is_set():
        method, path, body = random.choice(calls)
        if method == "PATCH":
            body = {"description": str(time.monotonic())}
        started = time.monotonic()
        response = await client.request(method, f"{API}{path}", json=body)
        load.slowest_seconds = max(load.slowest_seconds, time.monotonic() - started)
        load.statuses[response.status_code] += 1
        if not response.is_success:
            load.failures.append(f"{method} {path}: {response.text}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def under_load(server: LiveServer) -> AsyncIterator[Load]:
    """Have clients read and write everything while the block runs."""
    load, done = Load(), asyncio.Event()
    account = {"username": "old_hand", "email": "old@example.com", "password": "upgrade while serving"}
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=15, verify=False))
            for _ in range(CLIENTS)
        ]
        assert (await clients[0].post(f"{API}/users", json=account)).status_code == 201
        token = (await clients[0].post(f"{API}/token", data=account)).json()["access_token"]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                client.headers["Authorization"] = f"Bearer {token}"
                group.create_task(_use(client, load, done))
            # Long enough for every statement to be prepared on every connection.
            await asyncio.sleep(2)
            yield load
            await asyncio.sleep(1.5)
            done.set()
        assert (await clients[0].get("/readyz")).status_code == 200


async def revision_of(url: str) -> str:
    connection = await connect(url)
    try:
        return str(await connection.fetchval("SELECT version_num FROM alembic_version"))
    finally:
        await connection.close()


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


async def test_a_migration_while_serving_fails_no_request(next_version: Path, url: str, server: LiveServer) -> None:
    async with under_load(server) as load:
        # Two machines roll out at once.
        for code, output in await asyncio.gather(migrate(next_version, url), migrate(next_version, url)):
            assert (code, output) == (0, "The schema is up to date.\n")
    assert load.failures == []
    assert load.statuses.total() > 100
    assert await revision_of(url) == "next"
    # The way back needs no downgrade: on a newer schema the old `migrate` has nothing to do, and `serve` starts.
    await asyncio.to_thread(server.stop)
    assert await migrate(ROOT, url) == (0, "The schema is up to date.\n")
    assert await revision_of(url) == "next"
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_a_migration_waits_for_a_table_without_stopping_the_others(
    next_version: Path, url: str, server: LiveServer
) -> None:
    async with under_load(server) as load:
        connection = await connect(url)
        async with connection.transaction():
            # A report that takes its time: whoever wants the table for himself has to wait, and all others behind him.
            await connection.fetchval("SELECT count(*) FROM tasks")
            migration = asyncio.create_task(migrate(next_version, url))
            await asyncio.sleep(5)
            assert not migration.done()
        await connection.close()
        assert await migration == (0, "The schema is up to date.\n")
    assert load.failures == []
    assert await revision_of(url) == "next"


def lint(sql: str) -> subprocess.CompletedProcess[str]:
    """Check SQL by the rules of `.squawk.toml`."""
    squawk = Path(sys.executable).with_name("squawk")
    arguments = ["--config", str(ROOT / ".squawk.toml"), "--stdin-filepath", "upgrade.sql", "--reporter", "gcc"]
    return subprocess.run([squawk, *arguments], input=sql, capture_output=True, text=True, timeout=60, check=False)


def test_no_migration_blocks_the_others_for_long() -> None:
    printed = io.StringIO()
    config = alembic_config()
    config.output_buffer = printed
    command.upgrade(config, "head", sql=True)
    sql = printed.getvalue()
    assert f"'{SCHEMA_REVISION}'" in sql
    result = lint(sql)
    assert result.returncode == 0, result.stdout + result.stderr
    # The rules do bite.
    for unsafe, rule in (
        ("CREATE INDEX tasks_colour_idx ON tasks (colour);", "require-concurrent-index-creation"),
        ("ALTER TABLE tasks ALTER COLUMN title TYPE varchar(10);", "changing-column-type"),
        ("ALTER TABLE tasks RENAME COLUMN title TO name;", "renaming-column"),
        ("ALTER TABLE tasks ADD COLUMN colour text NOT NULL;", "adding-required-field"),
    ):
        result = lint(sql + unsafe)
        assert result.returncode == 1
        assert rule in result.stdout

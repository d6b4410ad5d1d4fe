"""A new version migrates while the old one serves: no request fails, and no statement would block the others."""

import asyncio
import io
import random
import shutil
import subprocess
import sys
import tarfile
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
from taskmanager.database.schema_migrations import alembic_config
from tests.conftest import SECRET
from tests.support.catalogue import catalogue_of, without_version
from tests.support.credentials import API
from tests.support.databases import temporary_database
from tests.support.live_server import LiveServer
from tests.support.other_versions import OtherVersion, migrate

ROOT = Path(__file__).parents[2]
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


# The last revision of this repository that keeps the schema's revision in alembic_version.
BEFORE = "de6566d"


@pytest.fixture(scope="module")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the version before, from the history."""
    archive = subprocess.run(
        ["git", "archive", BEFORE, "src", "migrations"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    if archive.returncode:
        pytest.skip(f"revision {BEFORE} is not in the history of this checkout: {archive.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    # It asks for its version by the name that it was installed under.
    metadata = folder / "src" / "taskmanager-0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: taskmanager\nVersion: 0\n")
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
async def under_load(server: LiveServer | OtherVersion) -> AsyncIterator[Load]:
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
        return str(await connection.fetchval("SELECT version_num FROM taskmanager_schema"))
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


@pytest.mark.takes_long
async def test_the_version_before_serves_on_and_comes_back(
    version_before: Path, database_url: str, tmp_path: Path
) -> None:
    up_to_date = (0, "The schema is up to date.\n")
    async with temporary_database(database_url) as url:
        assert await migrate(version_before, url) == up_to_date
        before = OtherVersion(version_before, url)
        await before.start()
        async with under_load(before) as load:
            assert await migrate(ROOT, url) == up_to_date
        assert load.failures == []
        assert await revision_of(url) == SCHEMA_REVISION
        server = LiveServer({"DATABASE_URL": url, "SECRET_KEY": SECRET}, tmp_path / "log")
        await asyncio.to_thread(server.start)
        await before.stop()
        # And back: a restart, the migration of a deployment, and both beside each other.
        assert await migrate(version_before, url) == up_to_date
        await before.start()
        async with httpx.AsyncClient() as client:
            for one in (before, server):
                assert (await client.get(f"{one.url}/readyz")).status_code == 200
        await before.stop()
        await asyncio.to_thread(server.stop)
        assert await revision_of(url) == SCHEMA_REVISION


async def test_the_version_before_migrates_on_what_this_one_began(version_before: Path, database_url: str) -> None:
    async with temporary_database(database_url) as url:
        await asyncio.to_thread(command.upgrade, alembic_config(url), "0001")
        assert await migrate(version_before, url) == (0, "The schema is up to date.\n")
        assert await revision_of(url) == "0004"
        assert await migrate(ROOT, url) == (0, "The schema is up to date.\n")
        assert await catalogue_of(url) == await catalogue_of(database_url)


async def test_what_the_version_before_left_half_done_comes_through(version_before: Path, database_url: str) -> None:
    async with temporary_database(database_url) as url:
        connection = await connect(url)
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT 1")
            code, output = await migrate(version_before, url)
        assert code == 2
        assert 'relation "idempotency_keys" already exists' in output
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0002"
        assert await connection.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 1
        await connection.close()
        assert await migrate(ROOT, url) == (0, "The schema is up to date.\n")
        assert without_version(await catalogue_of(url)) == without_version(await catalogue_of(database_url))


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

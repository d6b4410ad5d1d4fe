"""Clients that offer another protocol with their first request, as they come.

They need curl with HTTP/2 and a JDK (`apt-get install curl default-jdk-headless`); what is missing is skipped.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.live_server import LiveServer
from tests.support.rows import fetch_all

JAVA = Path(__file__).with_name("HttpClientDefaults.java")


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.fixture
async def curl() -> str:
    """The curl of this machine, if it can offer HTTP/2."""
    found = shutil.which("curl")
    if found is None or "HTTP2" not in await run(found, "--version"):
        pytest.skip("curl with HTTP/2 is not installed: apt-get install curl")
    return found


async def test_curl_offers_http_2(curl: str, live_server: LiveServer, alice: Person, database: Database) -> None:
    written = ("-sS", "--http2", "-w", "\\n%{http_code} %{num_connects}\\n", "-H", "Content-Type: application/json")
    login = ("-H", f"Authorization: Bearer {alice.token}")
    for length in (1, 2_000):
        body = json.dumps({"title": "From curl", "description": "x" * length})
        once = (*written, *login, "-d", body, f"{live_server.url}/api/v1/tasks")
        lines = (await run(curl, *once, "--next", *once)).split("\n")  # on one connection
        assert json.loads(lines[0])["title"] == json.loads(lines[2])["title"] == "From curl"
        assert lines[1:4:2] == ["201 1", "201 0"]
    rows = await fetch_all(database, "SELECT title FROM tasks")
    assert [row["title"] for row in rows] == ["From curl"] * 4


async def test_the_jdk_offers_http_2(live_server: LiveServer, alice: Person, database: Database) -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("a JDK is not installed: apt-get install default-jdk-headless")
    output = await run(java, str(JAVA), live_server.url, alice.token)
    assert output.split("\n")[:-1] == [*["POST 201"] * 3, "PATCH 200", "GET 200", "DELETE 204", "WebSocket 401"]
    rows = await fetch_all(database, "SELECT title FROM tasks")
    assert len(rows) == 2

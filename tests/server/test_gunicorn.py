"""The service under gunicorn, started by the command line in docs/operations.md."""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from taskmanager.database.database import Database
from tests.conftest import SECRET
from tests.support.ports import free_port
from tests.support.raw_http import head, raw_connection

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
_START_SECONDS = 20
_STOP_SECONDS = 20


@asynccontextmanager
async def gunicorn(folder: Path, **settings: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the documented command on a free port; yield its process and its address."""
    written = re.search(r"<!-- gunicorn -->\n```bash\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert written is not None
    address = f"127.0.0.1:{free_port()}"
    command = written[1].replace("\\\n", "").replace("127.0.0.1:8000", address)
    assert address in command
    name, *arguments = shlex.split(command)
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name(name)), *arguments),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process, f"http://{address}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_ready(process: asyncio.subprocess.Process, url: str) -> None:
    async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(base_url=url, verify=False) as client:
        while True:
            assert process.returncode is None
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def read_until(process: asyncio.subprocess.Process, line: bytes, *, times: int) -> bytes:
    """Return what the process printed until it had printed this so many times."""
    assert process.stdout is not None
    output = b""
    async with asyncio.timeout(_START_SECONDS):
        while output.count(line) < times:
            read = await process.stdout.readline()
            assert read, output
            output += read
    return output


async def test_gunicorn_serves_and_stops(database_url: str, database: Database, tmp_path: Path) -> None:
    async with gunicorn(tmp_path, DATABASE_URL=database_url, SECRET_KEY=SECRET, DRAIN_SECONDS="2") as (process, url):
        await until_ready(process, url)
        output = await read_until(process, b"Application startup complete", times=2)
        async with httpx.AsyncClient(
            base_url=f"{url}/api/v1", headers={"X-Forwarded-For": "203.0.113.7"}, verify=False
        ) as client:
            person = {"username": "alice", "email": "alice@example.com", "password": "a long password"}
            assert (await client.post("/users", json=person)).status_code == 201
            login = await client.post("/token", data={"username": "alice", "password": "a long password"})
            assert login.status_code == 200
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
            task = (await client.post("/tasks", json={"title": "Under gunicorn"})).json()
            # Over connections of their own, so that both workers come to answer.
            for _ in range(6):
                read = await client.get(f"/tasks/{task['id']}", headers={"Connection": "close"})
                assert (read.status_code, read.json()) == (200, task)
            # An offer of another protocol is ignored here too, and the body, in a packet of its own, is no request.
            body = b'{"title": "Offered"}'
            lines = (f"Authorization: {client.headers['Authorization']}", "Connection: Upgrade", "Upgrade: h2c")
            async with raw_connection(int(url.rpartition(":")[2])) as connection:
                for _ in range(2):
                    await connection.send(head("POST", "/api/v1/tasks", *lines, body=body), body)
                    made = await connection.receive()
                    assert (made.status, made.json()["title"]) == (201, "Offered")
                await connection.send(head("GET", "/nope", "Connection: Upgrade", "Upgrade: websocket"))
                refused = await connection.receive()
                assert (refused.status, refused.headers["content-type"]) == (404, "application/problem+json")
                assert "server" not in refused.headers
                await connection.send(head("GET", "/livez", f"X-Long: {'x' * 70_000}"))
                assert (await connection.receive()).status == 431
            process.terminate()
            # The workers go on taking connections while they drain.
            async with asyncio.timeout(_STOP_SECONDS):
                while (await client.get(f"{url}/readyz", headers={"Connection": "close"})).status_code == 200:  # noqa: ASYNC110  # what it waits for is asked for in intervals
                    await asyncio.sleep(0.05)
            read = await client.get(f"/tasks/{task['id']}")
            assert (read.status_code, read.headers["Connection"]) == (200, "close")
        rest, _ = await asyncio.wait_for(process.communicate(), _STOP_SECONDS)
    output += rest
    assert process.returncode == 0
    assert output.count(b"Application startup complete") == 2
    assert output.count(b"Application shutdown complete") == 2
    assert output.count(b"Finished server process") == 2
    assert b"203.0.113.7" not in output
    assert b"Traceback" not in output


async def test_its_workers_share_their_metrics(database_url: str, database: Database, tmp_path: Path) -> None:
    token = "a token for metrics under gunicorn"
    settings = {
        "SECRET_KEY": SECRET,
        "METRICS_TOKEN": token,
        "DRAIN_SECONDS": "0",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    async with gunicorn(tmp_path, DATABASE_URL=database_url, DATABASE_POOL_SIZE="3", **settings) as (process, url):
        await until_ready(process, url)
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        async with (
            asyncio.timeout(_START_SECONDS),
            httpx.AsyncClient(base_url=url, headers=headers, verify=False) as client,
        ):
            for _ in range(20):
                assert (await client.get("/livez")).status_code == 200
            # The worker that is not asked may tell a second later.
            wanted = {
                'taskmanager_http_requests_total{method="GET",route="/livez",status="200"} 20.0',
                "taskmanager_database_pool_size 6.0",
            }
            while True:
                if wanted <= set((await client.get("/metrics")).text.splitlines()):
                    break
                await asyncio.sleep(0.1)
        process.terminate()
        await asyncio.wait_for(process.communicate(), _STOP_SECONDS)
    assert process.returncode == 0
    assert not list((tmp_path / "metrics").glob("gauge_live*"))


async def test_gunicorn_gives_up_on_unsafe_settings(database_url: str, tmp_path: Path) -> None:
    async with gunicorn(tmp_path, DATABASE_URL=database_url, SECRET_KEY="short") as (process, _):
        output, _ = await asyncio.wait_for(process.communicate(), _START_SECONDS)
    # 3 says that a worker did not start; 1 if a second one fails while the first is dealt with.
    assert process.returncode in {1, 3}
    assert b"must have at least 32 bytes" in output

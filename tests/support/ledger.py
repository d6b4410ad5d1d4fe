"""Writers that note every acknowledged write, while the database is restarted and its backends are killed."""

import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
from alembic import command
from sqlalchemy import make_url

from taskmanager.database.schema_migrations import alembic_config
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from tests.conftest import SECRET
from tests.support.live_server import LiveServer
from tests.support.pgbouncer import service_url
from tests.support.stalls import Stalls

CLIENTS = 32


@dataclass
class Ledger:
    """What was acknowledged, and how requests were answered; times are without the machine's stalls."""

    stalls: Stalls
    tasks: dict[int, int] = field(default_factory=dict)
    comments: dict[int, int] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    recoveries: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """How many writes were acknowledged."""
        return self.statuses[200] + self.statuses[201]


async def _write(client: httpx.AsyncClient, ledger: Ledger, writes: int) -> None:
    own: list[int] = []
    while ledger.acknowledged < writes:
        started = time.monotonic()
        kind = random.random()
        if kind < 0.5 or not own:
            response = await client.post("/tasks", json={"title": "Kept"})
        elif kind < 0.8:
            response = await client.patch(f"/tasks/{random.choice(own)}", json={"description": str(started)})
        else:
            response = await client.post(f"/tasks/{random.choice(own)}/comments", json={"body": "Kept"})
        ledger.slowest_seconds = max(ledger.slowest_seconds, ledger.stalls.seconds(started))
        ledger.statuses[response.status_code] += 1
        if response.status_code >= 400:
            await asyncio.sleep(0.05)
            continue
        body = response.json()
        if "task_id" in body:
            ledger.comments[body["id"]] = body["task_id"]
        else:
            if response.status_code == 201:
                own.append(body["id"])
            ledger.tasks[body["id"]] = max(body["version"], ledger.tasks.get(body["id"], 0))


async def _break_things(
    postgres: EmbeddedPostgres,
    url: str,
    client: httpx.AsyncClient,
    ledger: Ledger,
    *,
    restarts: int,
    kills: int,
    writes: int,
) -> None:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    events = ["restart"] * restarts + ["kill"] * kills
    random.shuffle(events)
    for number, event in enumerate(events, start=1):
        while ledger.acknowledged < writes * number / (len(events) + 1):  # noqa: ASYNC110  # a count, not an event
            await asyncio.sleep(0.002)  # no event of its own
        if event == "restart":
            # pg_ctl -m immediate: no checkpoint, connections cut, recovery from the log at the next start.
            data = (postgres.data_dir / "postgres").resolve() / "data" / "postmaster.pid"
            os.kill(int(data.read_text().split()[0]), signal.SIGQUIT)
            await asyncio.to_thread(postgres.stop)
            await asyncio.to_thread(postgres.start)
            ready = time.monotonic()
            while (await client.get("/tasks?limit=1&count=none")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # this is what a client does
            ledger.recoveries.append(ledger.stalls.seconds(ready))
        else:
            connection = await asyncpg.connect(dsn)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'taskmanager'"
                " AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
            )
            await connection.close()


async def _verify(url: str, ledger: Ledger) -> None:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    versions = {row[0]: row[1] for row in await connection.fetch("SELECT id, version FROM tasks")}
    comments = {row[0]: row[1] for row in await connection.fetch("SELECT id, task_id FROM comments")}
    newest = "SELECT entity_id, max(version) FROM events WHERE entity = 'task' GROUP BY entity_id"
    logged = {row[0]: row[1] for row in await connection.fetch(newest)}
    await connection.close()
    for task_id, version in ledger.tasks.items():
        if versions.get(task_id, 0) < version:
            ledger.lost.append(f"task {task_id} at version {version}, found {versions.get(task_id)}")
        if logged.get(task_id) != versions.get(task_id):
            ledger.lost.append(f"task {task_id}: log says {logged.get(task_id)}, row says {versions.get(task_id)}")
    ledger.lost += [f"comment {key}" for key, task_id in ledger.comments.items() if comments.get(key) != task_id]


async def _run(
    server: LiveServer, postgres: EmbeddedPostgres, url: str, *, writes: int, restarts: int, kills: int
) -> Ledger:
    ledger = Ledger(Stalls(server.pid))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ledger.stalls)
        # One each: the connections of a shared one are not handed out in turn, and waiting for one counts as slow.
        client, *writers = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"{server.url}/api/v1", timeout=30, verify=False)
            )
            for _ in range(CLIENTS + 1)
        ]
        account = {"username": "ledger", "email": "ledger@example.com", "password": "every write counts"}
        assert (await client.post("/users", json=account)).status_code == 201
        token = (await client.post("/token", data=account)).json()["access_token"]
        for each in (client, *writers):
            each.headers["Authorization"] = f"Bearer {token}"
        breaking = _break_things(postgres, url, client, ledger, restarts=restarts, kills=kills, writes=writes)
        await asyncio.gather(breaking, *(_write(writer, ledger, writes) for writer in writers))
    await _verify(url, ledger)
    return ledger


def run_ledger(*, writes: int, restarts: int, kills: int) -> Ledger:
    """Make writes on a server and database of its own, with restarts and kills spread over them, and check them all."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledger-")))
        folder.chmod(0o711)  # as root the database runs under another account
        postgres = EmbeddedPostgres(folder, options={"checkpoint_timeout": "30s"})
        stack.callback(postgres.remove)
        url = postgres.start()
        command.upgrade(alembic_config(url), "head")
        address = stack.enter_context(service_url(url))
        server = LiveServer({"DATABASE_URL": address, "SECRET_KEY": SECRET}, folder / "server.log")
        server.start()
        stack.callback(server.stop)
        return asyncio.run(_run(server, postgres, url, writes=writes, restarts=restarts, kills=kills))

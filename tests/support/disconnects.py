"""Clients that go away in the middle of a request: what they leave behind in the pool and in the tables."""

import asyncio
import json
import random
import socket
import struct
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import SECRET, Person
from tests.support.credentials import API, bearer
from tests.support.live_server import LiveServer
from tests.support.sessions import open_session, open_transaction

POOL_SIZE = 4
_AT_ONCE = 20
_PATIENCE = {
    "DATABASE_LOCK_TIMEOUT_MS": "4000",
    "DATABASE_STATEMENT_TIMEOUT_MS": "5000",
    "DATABASE_COMMAND_TIMEOUT_SECONDS": "6",
    "DATABASE_POOL_WAIT_SECONDS": "5",
}
_BACKENDS = text("""
    SELECT count(*) FILTER (WHERE state <> 'idle') AS busy,
        coalesce(extract(epoch FROM max(clock_timestamp() - state_change)
            FILTER (WHERE state LIKE 'idle in transaction%')), 0) AS idle_in_transaction_seconds
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'taskmanager' AND pid <> pg_backend_pid()
""")
_WAITING_FOR_A_LOCK = text("""
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
""")
_HALF_DONE = text("""
    SELECT 'task', t.id FROM tasks t WHERE t.version <> (
        SELECT count(*) FROM events e WHERE (e.project_id, e.entity, e.entity_id) = (t.project_id, 'task', t.id)
    )
    UNION ALL
    SELECT 'comment', c.id FROM comments c WHERE 1 <> (
        SELECT count(*) FROM events e WHERE (e.project_id, e.entity, e.entity_id) = (c.project_id, 'comment', c.id)
    )
    UNION ALL
    SELECT e.entity, e.entity_id FROM events e WHERE e.action = 'created' AND e.entity IN ('task', 'comment')
    AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = e.entity_id)
    AND NOT EXISTS (SELECT 1 FROM comments WHERE id = e.entity_id)
""")


@dataclass
class Aftermath:
    """What the clients did, and what is left of it."""

    disconnects: int = 0
    keys: set[str] = field(default_factory=set)
    idle_in_transaction_seconds: float = 0.0
    usable_connections: int = 0
    half_done: list[Any] = field(default_factory=list)
    done_before_the_retry: int = 0
    wrong_retries: list[str] = field(default_factory=list)


class _Crowd:
    def __init__(self, server: LiveServer, person: Person, task_id: int) -> None:
        self.aftermath = Aftermath()
        self._server = server
        self._person = person
        self._task_id = task_id

    async def disconnect(self) -> None:
        """Send a request, or a part of it, and go away without waiting for the answer."""
        kind = random.random()
        key = ""
        if kind < 0.4:
            key = uuid.uuid4().hex
            request = self._request("POST", "/tasks", {"title": key}, f"Idempotency-Key: {key}\r\n")
        elif kind < 0.6:
            request = self._request("PATCH", f"/tasks/{self._task_id}", {"description": uuid.uuid4().hex})
        elif kind < 0.8:
            request = self._request("POST", f"/tasks/{self._task_id}/comments", {"body": "Gone"})
        else:
            request = self._request("GET", "/tasks")
        if random.random() < 0.2:
            request = request[: random.randrange(1, len(request))]
        elif key:
            self.aftermath.keys.add(key)
        _, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        writer.write(request)
        await writer.drain()
        await asyncio.sleep(random.uniform(0, 0.03))
        if random.random() < 0.5:  # with RST instead of FIN
            connected: socket.socket = writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        self.aftermath.disconnects += 1

    def _request(self, method: str, path: str, body: object = None, more: str = "") -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {API}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._person.token}\r\n{more}"
        if content:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        return f"{head}\r\n".encode() + content


@asynccontextmanager
async def _serving(database_url: str, folder: Path) -> AsyncIterator[LiveServer]:
    environment = {
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET,
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        **_PATIENCE,
    }
    server = LiveServer(environment, folder / "log")
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def _watch_backends(database: Database, aftermath: Aftermath) -> None:
    """Note how long a transaction was ever left idle, until nothing has been going on for two seconds."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 2:
        async with open_session(database) as reader:
            found = (await reader.execute(_BACKENDS)).one()
        idle = float(found.idle_in_transaction_seconds)
        aftermath.idle_in_transaction_seconds = max(aftermath.idle_in_transaction_seconds, idle)
        if found.busy:
            quiet_since = time.monotonic()
        await asyncio.sleep(0.1)


async def _usable_connections(client: httpx.AsyncClient, database: Database, task_id: int) -> int:
    """Return how many requests of one worker can wait for the same row at once: each holds a connection."""
    async with open_transaction(database) as session:
        await session.execute(text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE"), {"id": task_id})
        requests = [
            asyncio.create_task(client.patch(f"/tasks/{task_id}", json={"title": f"Title {number}"}))
            for number in range(2 * POOL_SIZE)
        ]
        waiting = 0
        async with open_session(database) as reader:
            for _ in range(150):
                waiting = max(waiting, (await reader.execute(_WAITING_FOR_A_LOCK)).scalar_one())
                await asyncio.sleep(0 if waiting >= POOL_SIZE else 0.02)
    await asyncio.gather(*requests)
    return waiting


async def _retry_all(client: httpx.AsyncClient, database: Database, aftermath: Aftermath) -> None:
    for key in aftermath.keys:
        async with open_session(database) as reader:
            statement = text("SELECT count(*) FROM tasks WHERE title = :title")
            before = (await reader.execute(statement, {"title": key})).scalar_one()
            answer = await client.post(
                "/tasks",
                content=json.dumps({"title": key}),
                headers={"Content-Type": "application/json", "Idempotency-Key": key},
            )
            after = (await reader.execute(statement, {"title": key})).scalar_one()
        aftermath.done_before_the_retry += before
        replayed = answer.headers.get("Idempotency-Replayed") == "true"
        if answer.status_code != 201 or after != 1 or before > 1 or replayed != bool(before):
            aftermath.wrong_retries.append(f"{key}: {answer.status_code}, {before} before, {after} after, {replayed}")


async def run_disconnects(
    person: Person, database: Database, database_url: str, folder: Path, *, count: int
) -> Aftermath:
    """Have that many clients go away in the middle of a request, and look at what is left."""
    task_id = (await person.new_task())["id"]
    async with (
        _serving(database_url, folder) as server,
        httpx.AsyncClient(
            base_url=f"{server.url}{API}", headers=bearer(person.token), timeout=20, verify=False
        ) as client,
    ):
        crowd = _Crowd(server, person, task_id)
        aftermath = crowd.aftermath

        async def disconnect_repeatedly() -> None:
            for _ in range(count // _AT_ONCE):
                await crowd.disconnect()

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(disconnect_repeatedly())
            group.create_task(_watch_backends(database, aftermath))
        async with open_session(database) as reader:
            aftermath.half_done = list((await reader.execute(_HALF_DONE)).all())
        aftermath.usable_connections = await _usable_connections(client, database, task_id)
        await _retry_all(client, database, aftermath)
    return aftermath


def assert_unharmed(aftermath: Aftermath) -> None:
    """Check that nothing leaked, and that each write was done as a whole or not at all."""
    # PostgreSQL would end one that was left behind after 10 seconds.
    assert aftermath.idle_in_transaction_seconds < 4
    assert aftermath.usable_connections == POOL_SIZE
    assert aftermath.half_done == []
    assert aftermath.wrong_retries == []
    assert 0 < aftermath.done_before_the_retry <= len(aftermath.keys)

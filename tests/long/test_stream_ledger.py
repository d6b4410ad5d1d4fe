"""What streams heard is what the log says, in its order, however often processes are killed: `make stream-ledger`.

STREAM_SECONDS (600) is how long.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import asyncpg
import httpx

from taskmanager.database.database import Database
from tests.conftest import SECRET, Person, SignUp
from tests.support.credentials import bearer
from tests.support.live_server import LiveServer
from tests.support.memberships import add
from tests.support.rows import fetch_all
from tests.support.streams import OnSocket

SECONDS = float(os.environ.get("STREAM_SECONDS", "600"))
PROCESSES, LISTENERS, WRITERS = 2, 12, 4
LASTING = {"taskmanager.stream.feed.LONGEST_SECONDS": 3_600.0}
_ORDER = """
SELECT entity || ' ' || entity_id || ' ' || version AS name FROM events WHERE project_id = :id ORDER BY era, xid, id
"""
_LATE = """
WITH t AS (INSERT INTO tasks (project_id, title) VALUES ($1, 'late') RETURNING *)
INSERT INTO events (project_id, entity, entity_id, version, action) SELECT project_id, 'task', id, 1, 'created' FROM t
"""
_LAST = "The last one"


class Processes:
    """Processes of the service, which are killed and started again at random."""

    def __init__(self, database_url: str, folder: Path) -> None:
        environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "MAX_STREAMS_PER_USER": "1000"}
        self.servers = [LiveServer(environment, folder / f"log{n}", constants=LASTING) for n in range(PROCESSES)]
        self.kills = Counter[str]()

    def any_url(self) -> str:
        """Return the address of one of them."""
        return random.choice(self.servers).url

    async def kill_until(self, deadline: float) -> None:
        """Kill or stop one now and then, and start it again."""
        while time.monotonic() < deadline:
            await asyncio.sleep(random.uniform(1, 4))
            server = random.choice(self.servers)
            number = random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            await asyncio.to_thread(server.stop, number)
            self.kills[number.name] += 1
            await asyncio.sleep(random.uniform(0, 1))
            await asyncio.to_thread(server.start)


async def listen(processes: Processes, person: Person, beginning: str) -> list[str]:
    """Return what a client heard, wherever it was served, until the last event."""
    heard: list[str] = []
    last_id = beginning
    while True:
        listener = OnSocket()
        listener.last_id = last_id
        try:
            async with listener.open(processes.any_url(), bearer(person.token)):
                async with asyncio.timeout(random.uniform(1, 10)):
                    await listener.is_over.wait()
        except (httpx.TransportError, TimeoutError, AssertionError):
            await asyncio.sleep(0.05)
        assert not [frame for frame in listener.frames if frame.event == "reset"]
        heard += [f"{event['entity']} {event['id']} {event['version']}" for event in listener.events]
        last_id = listener.last_id
        if any(event["changes"].get("title", {}).get("new") == _LAST for event in listener.events):
            return heard


async def write(processes: Processes, people: list[Person], project: int, deadline: float) -> None:
    """Create and change tasks, at whichever process answers."""
    mine: list[int] = []
    async with httpx.AsyncClient(verify=False, timeout=10) as client:
        while time.monotonic() < deadline:
            person, url = random.choice(people), processes.any_url()
            try:
                if not mine or random.random() < 0.5:
                    body = {"title": "Kept", "project_id": project}
                    answer = await client.post(f"{url}/api/v1/tasks", json=body, headers=bearer(person.token))
                    if answer.status_code == 201:
                        mine.append(answer.json()["id"])
                else:
                    path = f"{url}/api/v1/tasks/{random.choice(mine)}"
                    await client.patch(path, json={"description": str(time.time())}, headers=bearer(person.token))
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            await asyncio.sleep(random.uniform(0, 0.05))


async def write_late(url: str, project: int, deadline: float) -> None:
    """Commit long after writing."""
    connection = await asyncpg.connect(url)
    while time.monotonic() < deadline:
        async with connection.transaction():
            await connection.execute(_LATE, project)
            await asyncio.sleep(random.uniform(0, 0.5))
    await connection.close()


async def test_ledger(sign_up: SignUp, database: Database, database_url: str, tmp_path: Path) -> None:
    people = [await sign_up(name) for name in ("alice", "bob", "carol")]
    project = await people[0].new_project("Shared")
    for person in people[1:]:
        await add(people[0], project, person)
    processes = Processes(database_url, tmp_path)
    deadline = time.monotonic() + SECONDS
    try:
        for server in processes.servers:
            server.start()
        beginning = OnSocket()
        async with beginning.open(processes.any_url(), bearer(people[0].token)):
            await beginning.named("ready")
        (before,) = await fetch_all(
            database, "SELECT count(*) AS events FROM events WHERE project_id = :id", id=project
        )
        listeners = [
            asyncio.create_task(listen(processes, people[n % len(people)], beginning.last_id)) for n in range(LISTENERS)
        ]
        url = database_url.replace("postgresql+asyncpg", "postgresql")
        writers = [write(processes, people, project, deadline) for _ in range(WRITERS)]
        await asyncio.gather(processes.kill_until(deadline), write_late(url, project, deadline), *writers)
        await people[0].new_task(project, title=_LAST)
        async with asyncio.timeout(120):
            heard = await asyncio.gather(*listeners)
    finally:
        for server in processes.servers:
            server.kill()
    order = [row["name"] for row in await fetch_all(database, _ORDER, id=project)][before["events"] :]
    wrong = sum(one != order for one in heard)
    print(
        f"\n{len(order)} events, {LISTENERS} listeners at {PROCESSES} processes, "
        f"{processes.kills['SIGKILL']} killed and {processes.kills['SIGTERM']} stopped: {wrong} heard something else"
    )
    assert wrong == 0

"""Processes that are restarted in turn behind a balancer, while clients read and write."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.conftest import SECRET
from tests.support.credentials import API, bearer
from tests.support.live_server import LiveServer

CLIENTS = 8
PROBE_SECONDS = 0.5
DRAIN_SECONDS = 2


@dataclass
class Outcome:
    """How requests were answered, what did not come through, and what was promised to be stored."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    created: set[int] = field(default_factory=set)
    restarts: int = 0
    slowest_seconds: float = 0.0
    stop_seconds: list[float] = field(default_factory=list)


class Balancer:
    """Sends requests to the processes whose `/readyz` said 200 when it last asked, and repeats none of them.

    Connections are kept open. One that the process closed while it lay idle is noticed before it is used, as proxies
    do; a connection that ends after a request was sent is a failure, whatever the method.
    """

    def __init__(self, servers: Sequence[LiveServer], token: str) -> None:
        self._servers = servers
        self._clients = {
            server: httpx.AsyncClient(base_url=server.url, headers=bearer(token), timeout=15, verify=False)
            for server in servers
        }
        self.ready: set[LiveServer] = set()

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def probe(self) -> None:
        """Ask one process after the other, for ever."""
        while True:
            await asyncio.gather(*(self._probe(server) for server in self._servers))
            await asyncio.sleep(PROBE_SECONDS)

    async def _probe(self, server: LiveServer) -> None:
        # Over a connection of its own: with several workers any of them may answer.
        async with httpx.AsyncClient(timeout=2, verify=False) as client:
            try:
                status = (await client.get(f"{server.url}/readyz")).status_code
            except httpx.TransportError:
                status = 0
        if status == 200:
            self.ready.add(server)
        else:
            self.ready.discard(server)

    async def until_ready(self, *servers: LiveServer) -> None:
        """Wait until requests are sent to these processes."""
        async with asyncio.timeout(30):
            while not self.ready.issuperset(servers):  # noqa: ASYNC110  # what it waits for is asked for in intervals
                await asyncio.sleep(0.05)

    async def send(self, method: str, path: str, outcome: Outcome, json: object = None) -> httpx.Response | None:
        """Send a request and note how it ended."""
        started = time.monotonic()
        try:
            server = random.choice(tuple(self.ready))
            response = await self._clients[server].request(method, f"{API}{path}", json=json)
        except (IndexError, httpx.TransportError) as error:
            outcome.failures.append(f"{method} {path}: {type(error).__name__} {error}")
            return None
        outcome.slowest_seconds = max(outcome.slowest_seconds, time.monotonic() - started)
        outcome.statuses[response.status_code] += 1
        if response.status_code >= 400:
            outcome.failures.append(f"{method} {path}: {response.status_code} {response.text}")
            return None
        return response


async def _use(balancer: Balancer, outcome: Outcome, until: asyncio.Event, *, pause_seconds: float) -> None:
    own: list[int] = []
    while not until.is_set():
        kind = random.random()
        if kind < 0.3 or not own:
            if made := await balancer.send("POST", "/tasks", outcome, {"title": "Rolling"}):
                own.append(made.json()["id"])
                outcome.created.add(own[-1])
        elif kind < 0.6:
            await balancer.send("PATCH", f"/tasks/{random.choice(own)}", outcome, {"priority": random.randint(1, 5)})
        elif kind < 0.8:
            await balancer.send("GET", f"/tasks/{random.choice(own)}", outcome)
        else:
            await balancer.send("GET", "/tasks?limit=20&count=none", outcome)
        await asyncio.sleep(pause_seconds)


async def restart_in_turn(
    database_url: str, token: str, folder: Path, *, restarts: int, pause_seconds: float = 0.01
) -> Outcome:
    """Restart two services, one of one worker and one of two, in turn under clients that pause after each request."""
    outcome = Outcome()
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "DRAIN_SECONDS": str(DRAIN_SECONDS)}
    servers = [LiveServer(environment, folder / f"{workers}.log", workers=workers) for workers in (1, 2)]
    async with AsyncExitStack() as stack:
        for server in servers:
            await asyncio.to_thread(server.start)
            stack.push_async_callback(asyncio.to_thread, server.kill)
        balancer = Balancer(servers, token)
        stack.push_async_callback(balancer.aclose)
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(balancer.probe())
            await balancer.until_ready(*servers)
            for _ in range(CLIENTS):
                group.create_task(_use(balancer, outcome, done, pause_seconds=pause_seconds))
            for number in range(restarts):
                server = servers[number % 2]
                started = time.monotonic()
                await asyncio.to_thread(server.stop)
                outcome.stop_seconds.append(time.monotonic() - started)
                await asyncio.to_thread(server.start)
                await balancer.until_ready(*servers)
                outcome.restarts += 1
            done.set()
            probing.cancel()
    return outcome

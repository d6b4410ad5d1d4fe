"""Several processes that send webhooks and die at their three moments: after a claim, while they send, before a record.

What the receiver gets is compared with what happened: nothing is missing, nothing comes first out of turn, what comes
again is the same, and a webhook is never sent to by two at the same time.
"""

import asyncio
import os
import secrets
import signal
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.webhooks.messages import write_message
from taskmanager.webhooks.schedule import decide
from taskmanager.webhooks.sending import _read_answer
from tests.conftest import SECRET, Person
from tests.support.live_server import LiveServer
from tests.support.rows import fetch_all
from tests.support.webhook_receivers import Received, Receiver, Write, answer, until
from tests.support.webhooks import Hook, new_hook


@dataclass(frozen=True)
class DyingBefore:
    """Calls a function, or has the process die instead, once in a while; `odds` are 1 in so many."""

    odds: int
    moment: str
    folder: str

    def __call__(self, *arguments: Any) -> Any:
        """Call it, or die."""
        if secrets.randbelow(self.odds) == 0:  # forked processes have the state of `random` in common
            Path(self.folder, f"{self.moment}-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        functions: dict[str, Any] = {
            "claimed": write_message,
            "sent": _read_answer,
            "recording": decide,
        }
        return functions[self.moment](*arguments)


@dataclass
class Storm:
    """How it went."""

    events: int = 0
    requests: int = 0
    deaths: int = 0
    most_at_once: int = 0


async def storm(
    app: FastAPI,
    owner: Person,
    receiver: Receiver,
    folder: Path,
    *,
    projects: int,
    tasks: int,
    odds: int,
    workers: int = 3,
    lease_seconds: float = 3.0,
    seconds: float = 120,
) -> Storm:
    """Let many things happen while processes die, and check what was received."""
    database: Database = app.state.database
    hooks = [await new_hook(owner, await owner.new_project(), receiver.url) for _ in range(projects)]
    of_project: dict[int, list[Received]] = defaultdict(list)
    at_once: dict[int, int] = defaultdict(int)
    result = Storm()

    async def respond(request: Received, write: Write) -> None:
        project_id = request.document["data"]["project_id"]
        of_project[project_id].append(request)
        at_once[project_id] += 1
        result.most_at_once = max(result.most_at_once, at_once[project_id])
        await write(answer(200))
        at_once[project_id] -= 1

    receiver.respond = respond
    dying = {
        "taskmanager.webhooks.sender.write_message": DyingBefore(odds, "claimed", str(folder)),
        "taskmanager.webhooks.sending._read_answer": DyingBefore(odds, "sent", str(folder)),
        "taskmanager.webhooks.sender.decide": DyingBefore(odds, "recording", str(folder)),
        "taskmanager.webhooks.claims.LEASE_SECONDS": lease_seconds,
        "taskmanager.webhooks.sender._LATEST_START_SECONDS": lease_seconds / 3,
        "taskmanager.webhooks.sender._TURN_SECONDS": lease_seconds / 3,
        "taskmanager.webhooks.sending.ATTEMPT_SECONDS": lease_seconds / 3,
    }
    server = LiveServer(
        {
            "DATABASE_URL": str(app.state.settings.database_url).replace("postgresql+asyncpg", "postgresql"),
            "SECRET_KEY": SECRET,
            "WEBHOOKS_ENABLED": "true",
            "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1",
        },
        folder / "log",
        workers=workers,
        constants=dying,
    )
    await asyncio.to_thread(server.start)
    try:
        for start in range(0, tasks, 20):
            for hook in hooks:
                bodies = [
                    {"title": f"Task {n}", "project_id": hook.project_id} for n in range(start, min(start + 20, tasks))
                ]
                await owner.post("/tasks/bulk", {"tasks": bodies})
        await until(lambda: _is_done(database), seconds)
    finally:
        await asyncio.to_thread(server.stop)
    result.deaths = sum(name != "log" for name in os.listdir(folder))  # noqa: PTH208
    result.requests = len(receiver.received)
    for hook in hooks:
        result.events += await _check(database, hook, of_project[hook.project_id])
    return result


async def _is_done(database: Database) -> bool:
    rows = await fetch_all(
        database,
        """
        SELECT count(*) AS left_over FROM events e JOIN webhooks w USING (project_id)
        WHERE (e.era, e.xid, e.id) > (w.era, w.xid, w.event_id)
        """,
    )
    return bool(rows[0]["left_over"] == 0)


async def _check(database: Database, hook: Hook, received: list[Received]) -> int:
    """Compare what a webhook received with what happened, and return how much that was."""
    happened = await fetch_all(
        database,
        """
        SELECT e.id, d.message_id, d.state FROM events e
        LEFT JOIN webhook_deliveries d ON d.project_id = e.project_id AND d.event_id = e.id AND d.webhook_id = :id
        WHERE e.project_id = :project_id AND e.entity = 'task' ORDER BY e.era, e.xid, e.id
        """,
        id=hook.id,
        project_id=hook.project_id,
    )
    assert {row["state"] for row in happened} == {"delivered"}
    first: dict[str, Received] = {}
    for request in received:
        assert first.setdefault(request.id, request).body == request.body
    assert list(first) == [row["message_id"] for row in happened]
    # One that comes again is the last that came: nothing goes on before it is recorded.
    for before, request in pairwise(received):
        assert request.id == before.id or first[request.id] is request
    return len(happened)

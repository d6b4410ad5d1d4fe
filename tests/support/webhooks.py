"""Webhooks of a project, senders that run as long as a test wants, and a clock that tests move."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.webhooks.claim_statements import DUE
from taskmanager.webhooks.claims import Claims
from taskmanager.webhooks.guard import TargetGuard
from taskmanager.webhooks.sender import WebhookSender
from taskmanager.webhooks.sending import attempt
from taskmanager.webhooks.signatures import SecretMaker
from tests.conftest import Person
from tests.support.rows import execute, fetch_all
from tests.support.webhook_receivers import until

_TIMES = {
    "webhooks": ("rotated_at", "moved_at", "lease_until", "failing_since", "last_success_at", "created_at"),
    "webhook_deliveries": ("tried_since", "next_attempt_at", "last_attempt_at", "finished_at", "created_at"),
    "events": ("created_at",),
}


@dataclass
class Hook:
    """A webhook and its owner."""

    owner: Person
    project_id: int
    id: int
    secret: str

    @property
    def path(self) -> str:
        """Where it is."""
        return f"/projects/{self.project_id}/webhooks/{self.id}"

    async def read(self) -> dict[str, Any]:
        """Return it as its owner sees it."""
        found: dict[str, Any] = (await self.owner.get(self.path)).json()
        return found

    async def deliveries(self) -> list[dict[str, Any]]:
        """Return its messages, oldest first."""
        found: list[dict[str, Any]] = (await self.owner.get(f"{self.path}/deliveries?limit=100")).json()["deliveries"]
        return found[::-1]

    async def states(self) -> list[str]:
        """Return the states of its messages, oldest first."""
        return [delivery["state"] for delivery in await self.deliveries()]

    async def is_at_rest(self) -> bool:
        """Return whether everything that happened was delivered."""
        return (await self.read())["lag_seconds"] == 0 and set(await self.states()) <= {"delivered"}


async def new_hook(owner: Person, project_id: int, url: str, *events: str, **values: Any) -> Hook:
    """Make a webhook."""
    body = {"name": "A hook", "url": url, "events": list(events), **values}
    made = (await owner.post(f"/projects/{project_id}/webhooks", body)).json()
    return Hook(owner, project_id, made["id"], made["secret"])


def new_sender(app: FastAPI, *, guard: TargetGuard | None = None, secrets: SecretMaker | None = None) -> WebhookSender:
    """Return a sender of an application."""
    state = app.state
    entities = [entity for feature in state.features for entity in feature.entities]
    return WebhookSender(
        Claims(state.writes, entities),
        state.epochs,
        guard or TargetGuard(state.settings),
        secrets or SecretMaker(state.settings.signing_secrets),
        attempt,
    )


@asynccontextmanager
async def sending(app: FastAPI, sender: WebhookSender | None = None, **options: Any) -> AsyncIterator[WebhookSender]:
    """Run a sender, which commits of the application wake as in the service."""
    sender = sender or new_sender(app, **options)
    notice = sender.notice_commit
    app.state.writes.on_commit.append(notice)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        app.state.writes.on_commit.remove(notice)
        sender.stop()
        await running


async def pass_time(database: Database, sender: WebhookSender | None = None, **interval: float) -> None:
    """Let time pass, by moving all times of rows into the past; then wake the sender."""
    seconds = timedelta(**interval).total_seconds()
    for table, columns in _TIMES.items():
        changes = ", ".join(f"{column} = {column} - make_interval(secs => :seconds)" for column in columns)
        await execute(database, f"UPDATE {table} SET {changes}", seconds=seconds)
    if sender is not None:
        sender.wake()


async def until_idle(database: Database) -> None:
    """Wait until no webhook is claimed, and nothing could be."""

    async def is_idle() -> bool:
        rows = await fetch_all(
            database,
            f"{DUE} SELECT EXISTS (SELECT FROM due) OR EXISTS (SELECT FROM webhooks WHERE lease_until > now()) AS busy",
        )
        return not rows[0]["busy"]

    await until(is_idle)


async def wait_for_attempts(database: Database, hook: Hook, attempts: int) -> None:
    """Wait until so many attempts of a webhook's messages have been recorded, and it was let go."""

    async def is_so() -> bool:
        rows = await fetch_all(
            database,
            "SELECT COALESCE(sum(attempts), 0) AS attempts FROM webhook_deliveries WHERE webhook_id = :id",
            id=hook.id,
        )
        return bool(rows[0]["attempts"] >= attempts)

    await until(is_so)
    await until_idle(database)

"""Reads and writes webhooks for requests."""

from typing import Any

import asyncpg

from taskmanager.database.reads import FoundPage, Reads, found_page
from taskmanager.database.statements import Write
from taskmanager.database.writes import WriteRunner, Written
from taskmanager.errors import (
    CursorExpiredError,
    LimitReachedError,
    NotFoundError,
    ProjectArchivedError,
    WebhookInactiveError,
)
from taskmanager.following.positions import Position
from taskmanager.http.pagination import Page
from taskmanager.projects.access import require_owner
from taskmanager.webhooks.schemas import WebhookCreate, WebhookUpdate
from taskmanager.webhooks.signatures import SecretMaker
from taskmanager.webhooks.statements import CREATE, DELETE, FIND, LIST, LOCK, MOST_OF_PROJECT, REPLAY, ROTATE, UPDATE


def fingerprints(secrets: SecretMaker) -> dict[str, bytes | None]:
    """Return the parameters by which rows say what their secrets derive from."""
    current, *former = secrets.fingerprints
    return {"fingerprint": current, "former_fingerprint": former[0] if former else None}


def require_manager(row: asyncpg.Record | None) -> asyncpg.Record:
    """Return the row of a write, once it says that the caller is an owner of a project that is not archived.

    Raises:
        NotFoundError: There is no such project that the caller may see.
        RoleTooLowError: The caller is not its owner.
        ProjectArchivedError: It is archived.
    """
    if row is None:
        raise NotFoundError("project")
    require_owner(row["role"])
    if row["archived"]:
        raise ProjectArchivedError
    return row


class WebhookReader:
    """Reads webhooks of projects that the caller owns."""

    def __init__(self, reads: Reads, secrets: SecretMaker) -> None:
        self._reads = reads
        self._fingerprints = fingerprints(secrets)

    async def find(self, project_id: int, webhook_id: int, *, user_id: int) -> bytes:
        """Return one webhook as JSON.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook.
            RoleTooLowError: The caller is not the project's owner.
        """
        row = await self._reads.one(
            FIND, project_id=project_id, webhook_id=webhook_id, user_id=user_id, **self._fingerprints
        )
        if row is None:
            raise NotFoundError("project")
        require_owner(row["role"])
        if row["id"] is None:
            raise NotFoundError("webhook")
        body: bytes = row["body"]
        return body

    async def list_page(self, project_id: int, page: Page, *, user_id: int) -> FoundPage:
        """Return a page of a project's webhooks, oldest first.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller is not its owner.
        """
        row = await self._reads.one(
            LIST, **page.parameters, project_id=project_id, user_id=user_id, **self._fingerprints
        )
        return owned_page(row)


def owned_page(row: asyncpg.Record | None) -> FoundPage:
    """Return a page that only owners may see.

    Raises:
        NotFoundError: There is no such project that the caller may see.
        RoleTooLowError: The caller is not its owner.
    """
    if row is None:
        raise NotFoundError("project")
    require_owner(row["role"])
    return found_page(row)


class WebhookWriter:
    """Writes webhooks."""

    def __init__(self, writes: WriteRunner, secrets: SecretMaker) -> None:
        self._writes = writes
        self._fingerprints = fingerprints(secrets)

    async def create(self, project_id: int, new: WebhookCreate, host: str, *, user_id: int) -> Written:
        """Store a webhook, which is sent what happens from now on.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived.
            LimitReachedError: It has as many as it may have.
        """
        async with self._writes.transaction() as run:
            found = require_manager(await run.one(LOCK, project_id=project_id, user_id=user_id))
            if found["webhooks"] >= MOST_OF_PROJECT:
                raise LimitReachedError("webhooks", MOST_OF_PROJECT)
            row = await run.last(
                CREATE, **new.model_dump(), host=host, project_id=project_id, user_id=user_id, **self._fingerprints
            )
            if row is None:
                # They were counted before the lock was there.
                raise LimitReachedError("webhooks", MOST_OF_PROJECT)
        return Written(row["id"], None, row["body"])

    async def update(
        self, project_id: int, webhook_id: int, changes: WebhookUpdate, host: str | None, *, user_id: int
    ) -> Written:
        """Change the given fields; a webhook that is enabled again goes on where it stopped.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived.
        """
        given: dict[str, Any] = dict.fromkeys(("name", "url", "events", "enabled"))
        given |= changes.model_dump(exclude_unset=True)
        return await self._change(UPDATE, project_id, webhook_id, user_id, **given, host=host)

    async def rotate(self, project_id: int, webhook_id: int, *, user_id: int) -> Written:
        """Give a webhook another secret; the one before signs for a day as well.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived.
        """
        return await self._change(ROTATE, project_id, webhook_id, user_id)

    async def replay(self, project_id: int, webhook_id: int, position: Position, *, user_id: int) -> Written:
        """Have everything after a position of the log sent again.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook.
            RoleTooLowError: The caller is not its owner.
            CursorExpiredError: What followed is not kept, or it has not happened here.
            ProjectArchivedError: It is archived.
            WebhookInactiveError: It is disabled or paused.
        """
        era, xid, event_id = position
        row = await self._writes.one(
            REPLAY,
            project_id=project_id,
            webhook_id=webhook_id,
            user_id=user_id,
            era=era,
            xid=str(xid),
            event_id=event_id,
            **self._fingerprints,
        )
        row = require_manager(row)
        if row["id"] is None:
            raise NotFoundError("webhook")
        if row["is_below_floor"]:
            raise CursorExpiredError("retention")
        if row["is_ahead"]:
            raise CursorExpiredError("ahead")
        if not row["done"]:
            raise WebhookInactiveError(row["state"])
        return Written(row["id"], None, row["body"])

    async def delete(self, project_id: int, webhook_id: int, *, user_id: int) -> None:
        """Delete a webhook with its messages.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived.
        """
        row = await self._writes.one(DELETE, project_id=project_id, webhook_id=webhook_id, user_id=user_id)
        if not require_manager(row)["done"]:
            raise NotFoundError("webhook")

    async def _change(self, write: Write, project_id: int, webhook_id: int, user_id: int, **values: Any) -> Written:
        row = await self._writes.one(
            write, project_id=project_id, webhook_id=webhook_id, user_id=user_id, **self._fingerprints, **values
        )
        row = require_manager(row)
        if not row["done"]:
            raise NotFoundError("webhook")
        return Written(row["id"], None, row["body"])

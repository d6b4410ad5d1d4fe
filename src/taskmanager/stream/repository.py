"""Reads what a stream begins with and what it has missed, and keeps tickets."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import asyncpg

from taskmanager.accounts.callers import Caller
from taskmanager.database.reads import Reads
from taskmanager.database.writes import Runner
from taskmanager.errors import CursorExpiredError, InvalidTokenError
from taskmanager.events.followed import FollowedEntity
from taskmanager.following.epochs import Epochs
from taskmanager.following.positions import Epoch, Position
from taskmanager.stream.log_events import position_of
from taskmanager.stream.rights import Filters, Rights
from taskmanager.stream.statements import (
    CREATE_TICKET,
    FIND_ENDED,
    MOST_MISSED,
    OPEN,
    SPEND_TICKET,
    page_of_events,
)


@dataclass(frozen=True)
class Opening:
    """What a stream begins with: the projects that its user sees, its rights, and whether it has missed too much."""

    visible: frozenset[int]
    rights: Rights
    has_missed_too_much: bool


class Missed(NamedTuple):
    """Events that a stream has missed, as rows, and the position up to which these are all."""

    rows: Sequence[asyncpg.Record]
    position: Position


class EventReader:
    """Reads events for one user; one per application."""

    def __init__(self, reads: Reads, epochs: Epochs, entities: Sequence[FollowedEntity]) -> None:
        self.entities = [entity.name for entity in entities]
        self._reads = reads
        self._epochs = epochs
        self._page = page_of_events(entities)

    async def open(self, epoch: Epoch, position: Position, filters: Filters, *, is_cursor: bool) -> Opening:
        """Return what a stream begins with that goes on behind a position, which may come from a client's cursor.

        Raises:
            CursorExpiredError: The epoch is over, what followed the cursor is not kept, or it has not happened here.
        """
        row = await self._reads.one(
            OPEN,
            user_id=filters.user_id,
            project_ids=None if filters.project_ids is None else sorted(filters.project_ids),
            **_parameters(position),
        )
        assert row is not None  # `event_log` has one row
        await self._check_epoch(row, epoch)
        if is_cursor and row["is_below_floor"]:
            raise CursorExpiredError("retention")
        if is_cursor and row["is_ahead"]:
            raise CursorExpiredError("ahead")
        visible = frozenset(row["visible"] or ())
        rights = Rights(filters, visible, row["gained"] or (), (row["era"], row["horizon"]))
        return Opening(visible, rights, row["missed"] > MOST_MISSED)

    async def read_missed(self, epoch: Epoch, position: Position, filters: Filters, limit: int) -> Missed:
        """Return the next events behind a position.

        Raises:
            CursorExpiredError: The epoch is over, or what followed is not kept any more.
        """
        values = {
            "user_id": filters.user_id,
            "project_ids": None if filters.project_ids is None else sorted(filters.project_ids),
            "limit": limit,
            **_parameters(position),
        }
        rows = await self._reads.fetch_alone(self._page, self._page.arguments(values))
        await self._check_epoch(rows[0], epoch)
        if rows[0]["is_below_floor"]:
            raise CursorExpiredError("retention")
        last = rows[-1]
        end = position if last["id"] is None else position_of(last)
        if not last["has_more"] and last["last_id"] is not None:
            end = max(end, Position(last["last_era"], last["last_xid"], last["last_id"]))
        return Missed(rows, end)

    async def find_ended(self, callers: Sequence[Caller]) -> list[int]:
        """Return the places of those callers whose login or API key holds no more."""
        values = {
            "session_ids": [caller.session_id for caller in callers],
            "user_ids": [caller.user_id for caller in callers],
            "key_ids": [caller.key_id for caller in callers],
        }
        rows = await self._reads.fetch_alone(FIND_ENDED, FIND_ENDED.arguments(values))
        return [row["n"] - 1 for row in rows]

    async def _check_epoch(self, row: asyncpg.Record, epoch: Epoch) -> None:
        if row["is_outdated"] or row["epoch"] != epoch.id:
            await self._epochs.look(epoch)
            raise CursorExpiredError("epoch")


class Tickets:
    """Stores tickets, and takes them back once."""

    def __init__(self, writes: Runner) -> None:
        self._writes = writes

    async def create(self, secret: str, caller: Caller) -> None:
        """Store a ticket that stands for the caller's credential."""
        await self._writes.one(
            CREATE_TICKET,
            secret_hash=_hash(secret),
            user_id=caller.user_id,
            session_id=caller.session_id,
            key_id=caller.key_id,
        )

    async def spend(self, secret: str) -> Caller:
        """Return the caller that a ticket stands for, which is gone then.

        Raises:
            InvalidTokenError: There is no such ticket any more, or its credential has ended.
        """
        row = await self._writes.one(SPEND_TICKET, secret_hash=_hash(secret))
        if row is None:
            raise InvalidTokenError
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        return Caller(row["user_id"], row["session_id"], scopes, row["key_id"])


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _parameters(position: Position) -> dict[str, int | str]:
    return {"era": position.era, "xid": str(position.xid), "event_id": position.id}

"""Reads the end of the event log as it grows, once for all who follow it in this process.

It asks, ten times a second while anybody waits, and at once after a commit of its own process. Nothing has to be sent
by the database, so it works through any pooler, and no writer pays for it: NOTIFY takes a lock of the whole server at
the commit of each transaction (PostgreSQL's manual, NOTIFY). It holds no connection and no transaction in between.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import asyncpg
import structlog

from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.reads import Reads
from taskmanager.events.followed import FollowedEntity
from taskmanager.following.epochs import Epochs
from taskmanager.following.followers import Followers, News
from taskmanager.following.positions import Epoch, Position
from taskmanager.following.statements import FIND_END, MOST_EVENTS, next_events

_PAUSE_SECONDS = 0.1
# Between two looks, however many commits there are.
_LEAST_PAUSE_SECONDS = 0.005
_PAUSE_AFTER_FAILURE_SECONDS = 0.5
_READY_SECONDS = 1.0


class Audience(Protocol):
    """Those who get the events themselves, if there are any of them now."""

    @property
    def is_present(self) -> bool:
        """Whether anybody is there."""
        ...

    def begin(self, epoch: Epoch, position: Position) -> None:
        """Learn from where on events will be given; it may be where they ended."""
        ...

    async def take(self, events: Sequence[asyncpg.Record]) -> None:
        """Take the next events, rows of `next_events`."""
        ...


class Tailer:
    """Tells followers what has happened, and gives the events to the `audience` if there is one.

    `lag_seconds` and `horizon_age_seconds` are as it last found them.
    """

    def __init__(
        self, reads: Reads, epochs: Epochs, followers: Followers, entities: Sequence[FollowedEntity] = ()
    ) -> None:
        self.lag_seconds = 0.0
        self.horizon_age_seconds = 0.0
        self.audience: Audience | None = None
        self._reads = reads
        self._epochs = epochs
        self._followers = followers
        self._next = next_events(entities)
        self._is_following = asyncio.Event()
        self._committed = asyncio.Event()
        self._epoch: Epoch | None = None
        self._position: Position | None = None
        self._horizon = 0
        self._horizon_since = 0.0

    def notice_commit(self) -> None:
        """Look soon: something has been committed here, or somebody has come."""
        self._committed.set()

    async def follow(self) -> None:
        """Return when everything that becomes visible from now on will be published; or after a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_SECONDS):
                await self._is_following.wait()

    async def run(self) -> None:
        """Follow the log whenever anybody waits."""
        while True:
            self.lag_seconds = self.horizon_age_seconds = 0.0
            self._position = None
            await self._followers.wanted.wait()
            while self._followers.wanted.is_set():
                try:
                    await self._tail()
                except DATABASE_ERRORS as error:
                    structlog.stdlib.get_logger("taskmanager.following").warning(
                        "the event log cannot be followed", cause=f"{type(error).__name__}: {error}"[:300]
                    )
                    await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)

    async def _tail(self) -> None:
        # After an interruption the log may be another one. If it is not, nothing of it has been passed over.
        epoch = await self._epochs.look()
        if self._position is None or epoch != self._epoch:
            end = await self._reads.one(FIND_END)
            assert end is not None  # `event_log` has one row
            self._epoch, self._position = epoch, Position(end["era"], end["xid"], end["id"])
        self._is_following.set()
        # What happened during an interruption may concern anybody.
        self._followers.wake_all()
        try:
            while self._followers.wanted.is_set():
                is_same, is_behind = await self._look(epoch, self._position)
                if not is_same:
                    await self._epochs.look(epoch)
                    return
                if is_behind:
                    continue
                await asyncio.sleep(_LEAST_PAUSE_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_SECONDS - _LEAST_PAUSE_SECONDS):
                        await self._committed.wait()
        finally:
            self._is_following.clear()

    async def _look(self, epoch: Epoch, position: Position) -> tuple[bool, bool]:
        """Publish what comes next; return whether the epoch is this one still, and whether there may be more."""
        self._committed.clear()
        audience = self.audience if self.audience is not None and self.audience.is_present else None
        if audience is not None:
            audience.begin(epoch, position)
        values = {
            "era": position.era,
            "xid": str(position.xid),
            "event_id": position.id,
            "renders": audience is not None,
        }
        rows = await self._reads.fetch_alone(self._next, self._next.arguments(values))
        if rows[0]["epoch"] != epoch.id or rows[0]["is_outdated"]:
            return False, False
        self._measure(rows[0]["horizon"], rows[0]["ahead"])
        if rows[0]["id"] is None:
            self.lag_seconds = 0.0
            return True, False
        self.lag_seconds = max(rows[0]["age"], 0.0)
        self._followers.publish(News(row["project_id"], row["member_id"]) for row in rows)
        last = rows[-1]
        self._position = Position(last["era"], last["xid"], last["id"])
        if audience is not None:
            await audience.take(rows)
        return True, len(rows) == MOST_EVENTS

    def _measure(self, horizon: int, ahead: int) -> None:
        now = time.monotonic()
        if horizon != self._horizon:
            self._horizon, self._horizon_since = horizon, now
        # Without any transaction under way the horizon stands still without holding anything up.
        self.horizon_age_seconds = now - self._horizon_since if horizon < ahead else 0.0

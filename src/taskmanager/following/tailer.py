"""Reads the end of the event log as it grows, once for all who follow it in this process.

It asks, ten times a second while anybody waits, and at once after a commit of its own process. Nothing has to be sent
by the database, so it works through any pooler, and no writer pays for it: NOTIFY takes a lock of the whole server at
the commit of each transaction (PostgreSQL's manual, NOTIFY). It holds no connection and no transaction in between.
"""

import asyncio
import time
from contextlib import suppress

import structlog

from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.following.epochs import Epochs
from taskmanager.following.followers import Followers, News
from taskmanager.following.positions import Position

_PAUSE_SECONDS = 0.1
# Between two looks, however many commits there are.
_LEAST_PAUSE_SECONDS = 0.005
_PAUSE_AFTER_FAILURE_SECONDS = 0.5
_MOST_EVENTS = 1_000
_READY_SECONDS = 1.0

# The last event below the horizon: those above it may become visible before others that sort before them.
LAST_POSITION = """
SELECT e.era, CAST(CAST(e.xid AS text) AS bigint) AS xid, e.id
FROM events e
WHERE (e.era, e.xid) < (log.era, log.horizon)
ORDER BY e.era DESC, e.xid DESC, e.id DESC LIMIT 1
"""
LOG = "(SELECT l.*, pg_snapshot_xmin(pg_current_snapshot()) AS horizon FROM event_log l) AS log"
_END = Statement("find end of log", f"SELECT last.* FROM {LOG} CROSS JOIN LATERAL ({LAST_POSITION}) AS last")
_NEXT = Statement(
    "read end of log",
    f"""
SELECT e.era, CAST(CAST(e.xid AS text) AS bigint) AS xid, e.id, e.project_id,
       CASE WHEN e.entity = 'member' THEN e.entity_id END AS member_id,
       CAST(EXTRACT(epoch FROM clock_timestamp() - e.created_at) AS double precision) AS age,
       CAST(CAST(log.horizon AS text) AS bigint) AS horizon,
       CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS ahead
FROM {LOG} LEFT JOIN LATERAL (
    SELECT * FROM events e
    WHERE (e.era, e.xid, e.id) > (:era, CAST(:xid AS xid8), :event_id) AND (e.era, e.xid) < (log.era, log.horizon)
    ORDER BY e.era, e.xid, e.id LIMIT {_MOST_EVENTS}
) AS e ON true
""",
    {"era": "integer", "xid": "text"},
)


class Tailer:
    """Tells followers what has happened; `lag_seconds` and `horizon_age_seconds` are as it last found them."""

    def __init__(self, reads: Reads, epochs: Epochs, followers: Followers) -> None:
        self.lag_seconds = 0.0
        self.horizon_age_seconds = 0.0
        self._reads = reads
        self._epochs = epochs
        self._followers = followers
        self._is_following = asyncio.Event()
        self._committed = asyncio.Event()
        self._horizon = 0
        self._horizon_since = 0.0

    def notice_commit(self) -> None:
        """Look soon: something has been committed here."""
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
            await self._followers.wanted.wait()
            try:
                await self._tail()
            except DATABASE_ERRORS as error:
                self._is_following.clear()
                structlog.stdlib.get_logger("taskmanager.following").warning(
                    "the event log cannot be followed", cause=f"{type(error).__name__}: {error}"[:300]
                )
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)

    async def _tail(self) -> None:
        # After an interruption the log may be another one.
        await self._epochs.look()
        end = await self._reads.one(_END)
        position = Position(0, 0, 0) if end is None else Position(*end)
        self._is_following.set()
        # What happened during an interruption is not published.
        self._followers.wake_all()
        try:
            while self._followers.wanted.is_set():
                position, is_behind = await self._look(position)
                if is_behind:
                    continue
                await asyncio.sleep(_LEAST_PAUSE_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_SECONDS - _LEAST_PAUSE_SECONDS):
                        await self._committed.wait()
        finally:
            self._is_following.clear()

    async def _look(self, position: Position) -> tuple[Position, bool]:
        self._committed.clear()
        arguments = _NEXT.arguments({"era": position.era, "xid": str(position.xid), "event_id": position.id})
        rows = await self._reads.fetch_alone(_NEXT, arguments)
        self._measure(rows[0]["horizon"], rows[0]["ahead"])
        if rows[0]["id"] is None:
            self.lag_seconds = 0.0
            return position, False
        self.lag_seconds = max(rows[0]["age"], 0.0)
        self._followers.publish(News(row["project_id"], row["member_id"]) for row in rows)
        last = rows[-1]
        return Position(last["era"], last["xid"], last["id"]), len(rows) == _MOST_EVENTS

    def _measure(self, horizon: int, ahead: int) -> None:
        now = time.monotonic()
        if horizon != self._horizon:
            self._horizon, self._horizon_since = horizon, now
        # Without any transaction under way the horizon stands still without holding anything up.
        self.horizon_age_seconds = now - self._horizon_since if horizon < ahead else 0.0

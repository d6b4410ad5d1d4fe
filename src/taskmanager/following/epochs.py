"""The epoch of the event log, and when another one starts."""

import asyncio
import math
import time
from contextlib import suppress

import asyncpg
import structlog

from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Runner
from taskmanager.errors import CursorExpiredError
from taskmanager.following.positions import Epoch

# Whether the log is another than the row of `event_log` says: of another server or database, as after a restore or in
# a copy; or of another timeline, as after a promotion, by which the end of the log may have been lost.
IS_OUTDATED = """(
    SELECT l.system_id <> system_identifier
        OR l.database_id <> (SELECT CAST(oid AS bigint) FROM pg_database WHERE datname = current_database())
        OR CASE WHEN pg_is_in_recovery() THEN false  -- a standby writes no log of its own
        ELSE l.timeline <> CAST(CAST('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8) AS bit(32)) AS integer) END
    FROM pg_control_system()
)"""
_FIND = Statement("find epoch", f"SELECT l.epoch, l.mac_key, {IS_OUTDATED} AS is_outdated FROM event_log l")
# All writers wait behind its lock on the log, so it gives up soon where a long transaction has read there; not so soon
# where the log is vacuumed, which PostgreSQL breaks off for it after a second.
_START = Statement(
    "start epoch",
    """
    SELECT start_epoch(:epoch) AS is_started FROM (
        SELECT set_config('lock_timeout', CASE WHEN EXISTS (
            SELECT FROM pg_locks WHERE relation = CAST('events' AS regclass) AND mode = 'ShareUpdateExclusiveLock'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        ) THEN '1300ms' ELSE '50ms' END, true) AS patience OFFSET 0
    ) AS s WHERE s.patience IS NOT NULL
    """,
    {"epoch": "uuid"},
)
# A cursor that somebody made up must not make each request look for a new epoch.
_LOOKED_SECONDS = 0.2
# To start one takes a lock that all writers wait for, so after a failure none of a process tries for this long.
_PAUSE_AFTER_FAILURE_SECONDS = 2.0
_TRIES = 50
_PAUSE_SECONDS = 0.2


class EpochPendingError(OSError):
    """The log is another one, and its epoch could not be started yet: as if the database were out of reach."""


class Epochs:
    """Knows the epoch of the log, as one process last found it."""

    def __init__(self, reads: Reads, writes: Runner) -> None:
        self._reads = reads
        self._writes = writes
        self._found: Epoch | None = None
        self._looked_at = 0.0
        self._failed_at = -math.inf
        self._looking = asyncio.Lock()

    async def current(self) -> Epoch:
        """Return the epoch, looked up if it is not known yet."""
        return self._found or await self.look()

    async def look(self, known: Epoch | None = None) -> Epoch:
        """Look the epoch up, and start another one if the log is not the one that it was.

        It is not looked up again if another one than `known` has been found meanwhile.

        Raises:
            asyncpg.PostgresError: The server refused.
            EpochPendingError: It has refused to start an epoch a moment ago.
            OSError: The server cannot be reached.
        """
        async with self._looking:
            if known is not None and self._found is not None and self._found != known:
                return self._found
            row = await self._reads.one(_FIND)
            assert row is not None  # the migration writes it
            if row["is_outdated"]:
                await self._start(row)
                row = await self._reads.one(_FIND)
                assert row is not None
            self._found = Epoch(row["epoch"], row["mac_key"])
            self._looked_at = time.monotonic()
            return self._found

    async def _start(self, row: asyncpg.Record) -> None:
        if time.monotonic() - self._failed_at < _PAUSE_AFTER_FAILURE_SECONDS:
            raise EpochPendingError("another epoch of the event log cannot be started yet")
        try:
            await _start(self._writes, row)
        except BaseException:
            self._failed_at = time.monotonic()
            raise

    async def of_cursor(self, cursor: str) -> Epoch:
        """Return the epoch with which to read a cursor: it may be of a newer one than this process has found.

        Raises:
            InvalidCursorError: It is no cursor at all.
            CursorExpiredError: It is of another epoch, as a moment ago.
        """
        epoch = await self.current()
        try:
            epoch.check(cursor)
        except CursorExpiredError:
            if time.monotonic() - self._looked_at < _LOOKED_SECONDS:
                raise
            return await self.look(epoch)
        return epoch


async def start_epoch(run: Runner) -> bool:
    """Start another epoch, unless somebody else does at this moment; cursors of the one before are not good any more.

    For ten seconds it is tried again where transactions hold the log.

    Raises:
        asyncpg.PostgresError: The server refused.
        OSError: The server cannot be reached.
    """
    row = await run.one(_FIND)
    assert row is not None  # the migration writes it
    for _ in range(_TRIES):
        with suppress(asyncpg.LockNotAvailableError):
            return await _start(run, row)
        await asyncio.sleep(_PAUSE_SECONDS)
    return await _start(run, row)


async def _start(run: Runner, row: asyncpg.Record) -> bool:
    # Of the processes that have found the same row, one starts an epoch.
    started = await run.one(_START, epoch=row["epoch"])
    is_started = started is not None and bool(started["is_started"])
    if is_started:
        structlog.stdlib.get_logger("taskmanager.following").warning(
            "a new epoch of the event log has started: clients load everything anew", was_outdated=row["is_outdated"]
        )
    return is_started

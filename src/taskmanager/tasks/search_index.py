"""Merges the search index's pending list in the background, so that writers seldom have to stop for it.

A GIN index collects new entries in a pending list, and the writer that finds the list full merges it into the index: a
request, which takes some hundred milliseconds longer, and with it all others that share its statement. Each connection
decides what a full list is (PostgreSQL's manual, "GIN Fast Update Technique"): for requests it is long and here it is
shorter, so that a connection of the background finds it full first.

The function that PostgreSQL has for it goes on until the list is empty, which under many writes it never is. A new
entry has what was there before it merged, and no more.
"""

import asyncio
import time

import structlog

from taskmanager.database.driver_errors import DATABASE_ERRORS, is_transient
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes

_MANY_ROWS = 1_000
_LONGEST_SECONDS = 30.0
_PAUSE_SECONDS = 0.25
# Some 3,000 tasks. A longer list costs less time per task to merge, but slows the searches that must read it.
_LONG_LIST = "8MB"
_SHORT_LIST = "64kB"  # the least there is
_FULL_LIST = Statement(
    "set size of pending list", "SELECT set_config('gin_pending_list_limit', :full, true)", {"full": "text"}
)
# The row enters the index and is then rolled back, because the project does not exist. No other transaction sees it.
# One process at a time is enough.
_MERGE = Statement(
    "merge pending list",
    """
DO $$ BEGIN
    IF pg_try_advisory_xact_lock(hashtextextended('tasks_search_idx', 0)) THEN
        INSERT INTO tasks (project_id, id, title) VALUES (0, 0, 'merges what was there before it');
    END IF;
    RAISE foreign_key_violation;
EXCEPTION WHEN foreign_key_violation THEN
    NULL;
END $$
""",
)


class SearchIndexUpkeep:
    """Merges the pending list after many rows were written, or some time after a few."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._rows_at_last_try = 0
        self._rows_merged = 0
        self._tried_at = time.monotonic()

    async def run(self) -> None:
        """Merge whenever it is due, until the server refuses for good."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                if self._writes.rows - self._rows_at_last_try >= _MANY_ROWS:
                    await self.merge(_LONG_LIST)
                elif self._writes.rows > self._rows_merged and self._is_long_ago():
                    await self.merge()
            except DATABASE_ERRORS as error:
                # Out of reach, out of time, or a large project is being deleted: the next try will do.
                if not is_transient(error):
                    # Then autovacuum and the writers merge it.
                    log = structlog.stdlib.get_logger("taskmanager.tasks")
                    log.warning("the search index is left alone", cause=f"{type(error).__name__}: {error}"[:300])
                    return

    async def merge(self, full: str = _SHORT_LIST) -> None:
        """Merge the entries that are pending now, if they fill a list of this size.

        Raises:
            asyncpg.PostgresError: The server refused, or the time was up.
            sqlalchemy.exc.TimeoutError: The connection is in use.
            OSError: The server cannot be reached, or the connection was lost.
        """
        self._rows_at_last_try = rows = self._writes.rows
        self._tried_at = time.monotonic()
        async with self._writes.transaction(long=True) as run:
            await run.all(_FULL_LIST, full=full)
            await run.all(_MERGE)
        if full == _SHORT_LIST:
            # The merge itself counts as one.
            self._rows_merged = rows + 1

    def _is_long_ago(self) -> bool:
        return time.monotonic() - self._tried_at >= _LONGEST_SECONDS

"""Keeps the search index in order in quiet moments, so that writers seldom have to stop for it.

A GIN index collects new entries in a list, and whoever finds the list full sorts them in: a request, which takes some
hundred milliseconds longer, and with it all others that share its statement. Sorted in before, over a connection of
its own, the list is not full (PostgreSQL's manual, "GIN Fast Update Technique"). The function that does it goes on
until the list is empty, which under many writes it never is: then a full list is left to a writer, who does it at far
less cost.
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database import Database, is_transient

# The list holds some 6,000 tasks.
_MANY_WRITES = 500
_LONGEST_SECONDS = 30.0
_PAUSE_SECONDS = 1.0
_QUIET_WRITES = 10  # in a pause, by each of several processes
# In pieces, so that what was sorted in before the time is up stays so; nobody waits long for the connection.
_BOUNDS = text("SELECT set_config('statement_timeout', '1s', true), set_config('maintenance_work_mem', '16MB', true)")
# One process is enough.
_SORT_IN = text(
    "SELECT gin_clean_pending_list('tasks_search_idx')"
    " WHERE pg_try_advisory_xact_lock(hashtextextended('tasks_search_idx', 0))"
)


class SearchIndexUpkeep:
    """Sorts new entries in when `count_writes` has risen much, or some time ago, and rises slowly now.

    It need not count every write: entries that are not counted are sorted in with the next ones.
    """

    def __init__(self, database: Database, count_writes: Callable[[], int]) -> None:
        self._database = database
        self._count_writes = count_writes
        self._writes_before = 0
        self._writes_sorted_in = 0
        self._sorted_in_at = time.monotonic()

    async def run(self) -> None:
        """Look after the index for ever, or until the server refuses."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            if not self._is_due():
                continue
            try:
                await self.sort_in()
            except (DBAPIError, PoolTimeoutError, OSError) as error:
                # Out of reach, out of time, or a large project is being deleted: there is no hurry.
                if not is_transient(error):
                    # The index may belong to another role. Then autovacuum does it, and writers do.
                    log = structlog.stdlib.get_logger("taskmanager.tasks")
                    log.warning("the search index is left alone", cause=f"{type(error).__name__}: {error}"[:300])
                    return

    async def sort_in(self) -> None:
        """Sort in what is there now.

        Raises:
            sqlalchemy.exc.DBAPIError: The server refused, the time was up, or the connection was lost.
            sqlalchemy.exc.TimeoutError: The connection is in use.
            OSError: The server cannot be reached.
        """
        self._writes_sorted_in = self._count_writes()
        self._sorted_in_at = time.monotonic()
        async with self._database.long_transaction() as session:
            await session.execute(_BOUNDS)
            await session.execute(_SORT_IN)

    def _is_due(self) -> bool:
        writes = self._count_writes()
        is_quiet = writes - self._writes_before < _QUIET_WRITES
        self._writes_before = writes
        new = writes - self._writes_sorted_in
        is_long_ago = time.monotonic() - self._sorted_in_at >= _LONGEST_SECONDS
        return is_quiet and (new >= _MANY_WRITES or (new > 0 and is_long_ago))

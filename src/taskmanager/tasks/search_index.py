"""Keeps the search index in order in the background, so that writers seldom have to stop for it.

A GIN index collects new entries in a list, and whoever finds the list full sorts them in: a request, which takes some
hundred milliseconds longer, and with it all others that share its statement. Each connection decides what a full list
is (PostgreSQL's manual, "GIN Fast Update Technique"): for requests it is long and here it is shorter, so that it is one
of our own connections that finds it full.

The function that PostgreSQL has for it goes on until the list is empty, which under many writes it never is. A new
entry has what was there before it sorted in, and no more.
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database.database import Database
from taskmanager.database.driver_errors import is_transient

_MANY_WRITES = 1_000
_LONGEST_SECONDS = 30.0
_PAUSE_SECONDS = 0.25
# Some 3,000 tasks. A longer list makes a pass cheaper for each of them, and a search that must look through it slower.
_LONG_LIST = "8MB"
_SHORT_LIST = "64kB"  # the least there is
_FULL_LIST = text("SELECT set_config('gin_pending_list_limit', :full, true)")
# The row goes into the index, and is then taken back: there is no such project, and if there were, nobody would see it.
# One process at a time is enough.
_SORT_IN = text("""
DO $$ BEGIN
    IF pg_try_advisory_xact_lock(hashtextextended('tasks_search_idx', 0)) THEN
        INSERT INTO tasks (project_id, id, title) VALUES (0, 0, 'sorts in what was there before it');
    END IF;
    RAISE foreign_key_violation;
EXCEPTION WHEN foreign_key_violation THEN
    NULL;
END $$
""")


class SearchIndexUpkeep:
    """Sorts new entries in when `count_writes` has risen much, or a little some time ago.

    It need not count every write: other entries are sorted in with the next ones that are counted, by autovacuum,
    or by the writer who finds the list full.
    """

    def __init__(self, database: Database, count_writes: Callable[[], int]) -> None:
        self._database = database
        self._count_writes = count_writes
        self._writes_at_last_try = 0
        self._writes_sorted_in = 0
        self._tried_at = time.monotonic()

    async def run(self) -> None:
        """Look after the index for ever, or until the server refuses."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                if self._count_writes() - self._writes_at_last_try >= _MANY_WRITES:
                    await self.sort_in(_LONG_LIST)
                elif self._count_writes() > self._writes_sorted_in and self._is_long_ago():
                    await self.sort_in()
            except (DBAPIError, PoolTimeoutError, OSError) as error:
                # Out of reach, out of time, or a large project is being deleted: there is no hurry.
                if not is_transient(error):
                    # Then autovacuum does it, and writers do.
                    log = structlog.stdlib.get_logger("taskmanager.tasks")
                    log.warning("the search index is left alone", cause=f"{type(error).__name__}: {error}"[:300])
                    return

    async def sort_in(self, full: str = _SHORT_LIST) -> None:
        """Sort in what is there now, if it fills a list of this size.

        Raises:
            sqlalchemy.exc.DBAPIError: The server refused, the time was up, or the connection was lost.
            sqlalchemy.exc.TimeoutError: The connection is in use.
            OSError: The server cannot be reached.
        """
        self._writes_at_last_try = writes = self._count_writes()
        self._tried_at = time.monotonic()
        async with self._database.long_transaction() as session:
            await session.execute(_FULL_LIST, {"full": full})
            await session.execute(_SORT_IN)
        if full == _SHORT_LIST:
            self._writes_sorted_in = writes

    def _is_long_ago(self) -> bool:
        return time.monotonic() - self._tried_at >= _LONGEST_SECONDS

"""Keeps the search index in order beside the writers, who would otherwise have to stop for it now and then.

A GIN index collects new entries in a list, and whoever finds the list full sorts them in: a request, which takes some
hundred milliseconds longer, and with it all others that share its statement. Sorted in early, over a connection of its
own, the list is never full. (PostgreSQL's manual, "GIN Fast Update Technique".)
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmanager.database import Database, sqlstate_of

# A row of the longest text takes 4 kB of the list, which holds 16 MB.
_MANY_ROWS = 2_000
_LONGEST_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
_INSUFFICIENT_PRIVILEGE = "42501"
# One process is enough.
_SORT_IN = text(
    "SELECT gin_clean_pending_list('tasks_search_idx')"
    " WHERE pg_try_advisory_xact_lock(hashtextextended('tasks_search_idx', 0))"
)


class SearchIndexUpkeep:
    """Sorts new entries in when this process has written many rows, or some and long ago."""

    def __init__(self, database: Database, rows_written: Callable[[], int]) -> None:
        self._database = database
        self._rows_written = rows_written
        self._rows_sorted_in = 0
        self._sorted_in_at = time.monotonic()

    async def run(self) -> None:
        """Look after the index for ever, or until it turns out to belong to somebody else."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            if not self._is_due():
                continue
            try:
                await self.sort_in()
            except DBAPIError as error:
                if sqlstate_of(error) == _INSUFFICIENT_PRIVILEGE:
                    # Then it is done by autovacuum, and by writers.
                    structlog.stdlib.get_logger("taskmanager.tasks").warning("the search index is not ours to keep")
                    return
            except (PoolTimeoutError, OSError):
                pass  # the database is out of reach, or a large project is being deleted; there is no hurry

    async def sort_in(self) -> None:
        """Sort in what is there now.

        Raises:
            sqlalchemy.exc.DBAPIError: The server refused, or the connection was lost.
            sqlalchemy.exc.TimeoutError: The connection is in use.
            OSError: The server cannot be reached.
        """
        rows = self._rows_written()
        async with self._database.long_transaction() as session:
            await session.execute(_SORT_IN)
        self._rows_sorted_in = rows
        self._sorted_in_at = time.monotonic()

    def _is_due(self) -> bool:
        rows = self._rows_written() - self._rows_sorted_in
        return rows >= _MANY_ROWS or (rows > 0 and time.monotonic() - self._sorted_in_at >= _LONGEST_SECONDS)

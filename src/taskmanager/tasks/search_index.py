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

from taskmanager.database import Database, sqlstate_of

# The list holds some 6,000 tasks.
_MANY_ROWS = 500
_LONGEST_SECONDS = 30.0
_PAUSE_SECONDS = 1.0
_QUIET_ROWS = 50  # in a pause
_INSUFFICIENT_PRIVILEGE = "42501"
# What was sorted in until then stays so.
_BOUND = text("SET LOCAL statement_timeout = '5s'")
# One process is enough.
_SORT_IN = text(
    "SELECT gin_clean_pending_list('tasks_search_idx')"
    " WHERE pg_try_advisory_xact_lock(hashtextextended('tasks_search_idx', 0))"
)


class SearchIndexUpkeep:
    """Sorts new entries in when this process has written many rows, or some and long ago, and now writes few."""

    def __init__(self, database: Database, rows_written: Callable[[], int]) -> None:
        self._database = database
        self._rows_written = rows_written
        self._rows_sorted_in = 0
        self._rows_before = 0
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
            await session.execute(_BOUND)
            await session.execute(_SORT_IN)
        self._rows_sorted_in = rows
        self._sorted_in_at = time.monotonic()

    def _is_due(self) -> bool:
        written = self._rows_written()
        is_quiet = written - self._rows_before < _QUIET_ROWS
        self._rows_before = written
        rows = written - self._rows_sorted_in
        is_long_ago = time.monotonic() - self._sorted_in_at >= _LONGEST_SECONDS
        return is_quiet and (rows >= _MANY_ROWS or (rows > 0 and is_long_ago))

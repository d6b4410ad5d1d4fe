"""The pools of a process: what each is for, how many connections it has, and with which settings."""

from enum import Enum
from typing import Final

from taskmanager.database_settings import DatabaseSettings

# For statements that requests share, for reads that run alone, and for batches of writes; see `sharing`, `reads` and
# `write_kinds`.
SHARED_CONNECTIONS: Final = 2
ALONE_CONNECTIONS: Final = 2
BATCH_CONNECTIONS: Final = 2
# So few that the first does not wait long for the last. Each statement of a batch may take that part of the time-out,
# so that the server gives up before the client does.
MOST_IN_BATCH: Final = 32
# Longer than a migration waits for a table.
_SHARED_LOCK_TIMEOUT_MS: Final = 1_100
# Longer than a batch of small writes takes. While a statement waits, all that its batch has written stays locked, and
# PostgreSQL looks for deadlocks only after a second.
_BATCH_LOCK_TIMEOUT_MS: Final = 25
# A plan is made once and kept, so one made for a small table must still be right when the table has grown.
_PLANNED_ONCE: Final = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}


class Pool(Enum):
    """The connections of a process, by what they are for."""

    WRITING = "writing"
    SHARED = "shared"
    ALONE = "alone"
    BATCHES = "batches"
    LONG = "long"


def sizes_of(settings: DatabaseSettings) -> dict[Pool, int]:
    """Return how many connections each pool may have."""
    return {
        Pool.WRITING: settings.database_pool_size,
        Pool.SHARED: SHARED_CONNECTIONS,
        Pool.ALONE: ALONE_CONNECTIONS,
        Pool.BATCHES: BATCH_CONNECTIONS,
        Pool.LONG: 1,
    }


def server_settings(pool: Pool, settings: DatabaseSettings) -> dict[str, str]:
    """Return the server's settings that differ from those of other connections, by their names."""
    match pool:
        case Pool.WRITING:
            # Writes find their rows by key, so one plan is right for all values, and planning costs more than running.
            return _PLANNED_ONCE
        case Pool.SHARED:
            # These statements skip locked rows, so they wait only for a table that is locked as a whole.
            return {**_PLANNED_ONCE, "lock_timeout": _at_most(_SHARED_LOCK_TIMEOUT_MS, settings)}
        case Pool.BATCHES:
            return {**_PLANNED_ONCE, **_batch_timeouts(settings)}
        case Pool.ALONE:
            # A filter may match one row in a million or all of them, so each plan has to consider its value.
            return {"plan_cache_mode": "force_custom_plan"}
        case Pool.LONG:
            # Deleting a whole project takes longer than other requests may wait for a connection.
            return {"statement_timeout": str(settings.database_long_statement_timeout_ms)}


def first_of_transaction(pool: Pool, settings: DatabaseSettings) -> str:
    """Return the statement that begins each transaction through a pooler in transaction mode, or nothing."""
    match pool:
        case Pool.BATCHES:
            needed = _batch_timeouts(settings)
        case Pool.LONG:
            needed = server_settings(pool, settings)
        case _:
            needed = {}
    return "; ".join(f"SET LOCAL {name} = {value}" for name, value in needed.items())


def _batch_timeouts(settings: DatabaseSettings) -> dict[str, str]:
    part = max(settings.database_statement_timeout_ms // MOST_IN_BATCH, 1)
    return {"lock_timeout": _at_most(_BATCH_LOCK_TIMEOUT_MS, settings), "statement_timeout": str(part)}


def _at_most(lock_timeout_ms: int, settings: DatabaseSettings) -> str:
    return str(min(lock_timeout_ms, settings.database_lock_timeout_ms))

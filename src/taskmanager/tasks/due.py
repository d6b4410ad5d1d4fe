"""SQL for when tasks are due: at a moment, or on a day, which ends where the caller is.

The caller is `:user_id`. What is due today, this week or before now lies in a window of `DUE_AT`, which an index gives
and which is wide enough for all time zones, from 12 hours behind UTC to 14 ahead of it; the caller's own zone decides
what in the window is meant.
"""

from collections.abc import Collection
from itertools import combinations
from typing import Final, NamedTuple

from taskmanager.tasks.listing.schemas import Due

# Of a task `t`, as an index has it: the moment by which the task is sorted. A day counts as its end in UTC.
DUE_AT: Final = "COALESCE(t.due_at, CAST(t.due_on + 1 AS timestamp) AT TIME ZONE 'UTC')"
HAS_NO_DUE: Final = "(t.due_at IS NULL AND t.due_on IS NULL)"


def _of_caller(value: str) -> str:
    return f"(SELECT {value} FROM users u WHERE u.id = :user_id)"


_TODAY: Final = _of_caller("CAST(now() AT TIME ZONE u.time_zone AS date)")
_MONDAY: Final = _of_caller("CAST(date_trunc('week', now() AT TIME ZONE u.time_zone) AS date)")
_DUE_DAY: Final = f"COALESCE(t.due_on, CAST(t.due_at AT TIME ZONE {_of_caller('u.time_zone')} AS date))"


class _Window(NamedTuple):
    """A time from now: its window in hours, and the condition in it."""

    first: int | None
    last: int
    condition: str


_WINDOWS: Final = {
    Due.OVERDUE: _Window(
        None,
        14,
        f"COALESCE(t.due_at < now(), t.due_on < {_TODAY}) AND t.status NOT IN ('completed', 'cancelled')",
    ),
    # Of the 25 hours of a day on which the clock goes back, the last comes an hour nearer to UTC.
    Due.TODAY: _Window(-38, 38, f"{_DUE_DAY} = {_TODAY}"),
    Due.WEEK: _Window(-182, 182, f"{_DUE_DAY} - {_MONDAY} BETWEEN 0 AND 6"),
}


def is_due(when: Collection[Due]) -> str:
    """Return the condition that a task `t` is due at one of these."""
    windows = [_WINDOWS[one] for one in _WINDOWS if one in when]
    found = [HAS_NO_DUE] if Due.NONE in when else []
    if windows:
        limits = [f"{DUE_AT} <= now() + interval '{max(window.last for window in windows)} hours'"]
        first = [window.first for window in windows if window.first is not None]
        if len(first) == len(windows):
            limits.append(f"{DUE_AT} >= now() + interval '{min(first)} hours'")
        conditions = " OR ".join(f"({window.condition})" for window in windows)
        found.append(f"({' AND '.join(limits)} AND ({conditions}))")
    return f"({' OR '.join(found)})"


# When a task is due, each time without those before it; NULL for one that ended and was due before this week.
DUE_GROUP: Final = f"""CASE
    WHEN {HAS_NO_DUE} THEN 'none' WHEN {_WINDOWS[Due.OVERDUE].condition} THEN 'overdue'
    WHEN {_WINDOWS[Due.TODAY].condition} THEN 'today' WHEN {_WINDOWS[Due.WEEK].condition} THEN 'week'
    WHEN {_DUE_DAY} > {_TODAY} THEN 'later'
END"""
IS_OVERDUE: Final = is_due([Due.OVERDUE])  # NULL of a task that is not due
# Every choice, by its name as a filter.
IS_DUE: Final = {
    due_filter: is_due(when)
    for number in range(1, len(Due) + 1)
    for when in combinations(Due, number)
    for due_filter in [f"due {' '.join(when)}"]
}

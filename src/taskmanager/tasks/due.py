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


class Window(NamedTuple):
    """A window of `DUE_AT` in hours from now; `first` is None where it has no beginning."""

    first: int | None
    last: int


# What is due at each time: the window that has it, and the condition in it.
_TIMES: Final = {
    Due.OVERDUE: (
        Window(None, 14),
        f"COALESCE(t.due_at < now(), t.due_on < {_TODAY}) AND t.status NOT IN ('completed', 'cancelled')",
    ),
    # Of the 25 hours of a day on which the clock goes back, the last comes an hour nearer to UTC.
    Due.TODAY: (Window(-38, 38), f"{_DUE_DAY} = {_TODAY}"),
    Due.WEEK: (Window(-182, 182), f"{_DUE_DAY} - {_MONDAY} BETWEEN 0 AND 6"),
}


def _window(when: Collection[Due]) -> Window:
    windows = [window for one, (window, _) in _TIMES.items() if one in when]
    beginnings = [window.first for window in windows if window.first is not None]
    return Window(min(beginnings) if len(beginnings) == len(windows) else None, max(window.last for window in windows))


def is_due(when: Collection[Due]) -> str:
    """Return the condition that a task `t` is due at one of these."""
    conditions = [condition for one, (_, condition) in _TIMES.items() if one in when]
    found = [HAS_NO_DUE] if Due.NONE in when else []
    if conditions:
        first, last = _window(when)
        limits = [f"{DUE_AT} <= now() + interval '{last} hours'"]
        if first is not None:
            limits.append(f"{DUE_AT} >= now() + interval '{first} hours'")
        found.append(f"({' AND '.join(limits)} AND ({' OR '.join(f'({one})' for one in conditions)}))")
    return f"({' OR '.join(found)})"


# When a task is due, each time without those before it; NULL for one that ended and was due before this week.
DUE_GROUP: Final = f"""CASE
    WHEN {HAS_NO_DUE} THEN 'none' WHEN {_TIMES[Due.OVERDUE][1]} THEN 'overdue'
    WHEN {_TIMES[Due.TODAY][1]} THEN 'today' WHEN {_TIMES[Due.WEEK][1]} THEN 'week'
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
# The windows of those that no task without a due meets.
WINDOWS: Final = {
    "overdue": _window([Due.OVERDUE]),
    **{name: _window(when) for name in IS_DUE if Due.NONE not in (when := [Due(one) for one in name.split()[1:]])},
}

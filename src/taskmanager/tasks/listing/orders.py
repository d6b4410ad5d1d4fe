"""The orders of lists of tasks: their keys, and which rows come behind the last one seen."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from taskmanager.ordering.positions import position
from taskmanager.tasks.due import DUE_AT
from taskmanager.tasks.folding import folded_title
from taskmanager.tasks.listing.schemas import SortKey, TaskSort

_SORT_KEYS: Final = {
    TaskSort.CREATED_AT: "t.created_at",
    TaskSort.UPDATED_AT: "t.updated_at",
    TaskSort.PRIORITY: "t.priority",
    TaskSort.TITLE: folded_title("t.title"),
    TaskSort.DUE_AT: DUE_AT,
    TaskSort.POSITION: position("t"),
}
_KEY_TYPES: Final = {"t.id": "bigint", "t.priority": "integer", folded_title("t.title"): "text", position("t"): "text"}
_TIME: Final = "timestamptz"


class _Key(NamedTuple):
    """A column of an order."""

    sql: str
    ascending: bool

    @property
    def may_be_null(self) -> bool:
        return self.sql == DUE_AT

    @property
    def direction(self) -> str:
        return "ASC" if self.ascending else "DESC"

    @property
    def is_after(self) -> str:
        return ">" if self.ascending else "<"


@cache
def order_of(sort: tuple[SortKey, ...]) -> "Order":
    """Return the order of these keys, of which there are few."""
    return Order(sort)


class Order:
    """The order of a list: one or two sort keys, then time of creation and id in the direction of the last one.

    Tasks that are not due come last in either direction. No two tasks have the same position.
    """

    def __init__(self, sort: Sequence[SortKey]) -> None:
        keys = [_Key(_SORT_KEYS[one.by], one.ascending) for one in sort]
        is_unique = any(one.by is TaskSort.POSITION for one in sort)
        for last in () if is_unique else ("t.created_at", "t.id"):
            if all(key.sql != last for key in keys):
                keys.append(_Key(last, keys[-1].ascending))
        self._keys: Final = keys
        self.keys: Final = tuple(key.sql for key in keys)
        # Then an index may have it.
        self.has_one_direction: Final = len({key.ascending for key in keys}) == 1

    def by(self, first: int = 0) -> str:
        """Return the ORDER BY clause, from a key on, for rows whose first one is not NULL."""
        return ", ".join(
            f"{key.sql} {key.direction}{' NULLS LAST' if key.may_be_null and number > 0 else ''}"
            for number, key in enumerate(self._keys)
            if number >= first
        )

    def by_labels(self, source: str) -> str:
        """Return the ORDER BY clause for any rows of a subquery that has `labelled_keys`."""
        return ", ".join(
            f"{source}.key_{number} {key.direction}{' NULLS LAST' if key.may_be_null or number == 0 else ''}"
            for number, key in enumerate(self._keys)
        )

    def labelled_keys(self) -> str:
        """Return the sort keys as columns of the result."""
        return ", ".join(f"{key} AS key_{number}" for number, key in enumerate(self.keys))

    def after(self, seen: Sequence[bool], first: int = 0) -> str:
        """Return the condition that a row comes behind the values `seen_0` and so on, by the keys from `first` on.

        `seen` says which of the values are not NULL; if the first key has one, rows without it are not found.
        """
        keys = [(number, key) for number, key in enumerate(self._keys) if number >= first]
        if self.has_one_direction and not any(key.may_be_null for _, key in keys[1:]) and seen[first]:
            names = ", ".join(key.sql for _, key in keys)
            return f"({names}) {keys[0][1].is_after} ({', '.join(f':seen_{number}' for number, _ in keys)})"
        conditions: list[str] = []
        same: list[str] = []
        for number, key in keys:
            value = f":seen_{number}"
            if seen[number]:
                later = f"{key.sql} {key.is_after} {value}"
                if key.may_be_null and number > 0:
                    later = f"({later} OR {key.sql} IS NULL)"
                conditions.append(" AND ".join([*same, later]))
            same.append(f"{key.sql} = {value}" if seen[number] else f"{key.sql} IS NULL")
        # What an index can give of it.
        begin = f"{keys[0][1].sql} {keys[0][1].is_after}= :seen_{first} AND " if seen[first] else ""
        return f"{begin}({' OR '.join(f'({one})' for one in conditions)})"

    def seen_types(self) -> dict[str, str]:
        """Return the types of the parameters of `after`."""
        return {f"seen_{number}": _KEY_TYPES.get(key, _TIME) for number, key in enumerate(self.keys)}

    def seen_values(self, cursor_values: Sequence[Any]) -> dict[str, Any]:
        """Return the parameters of `after`, from what a cursor holds."""
        return {
            f"seen_{number}": value if value is None or key in _KEY_TYPES else datetime.fromisoformat(value)
            for number, (key, value) in enumerate(zip(self.keys, cursor_values, strict=True))
        }

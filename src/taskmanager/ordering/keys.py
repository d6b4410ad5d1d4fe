"""The keys of a manual order: texts whose order by bytes is that of the things.

A key is a path of integers and the id of its thing. A thing that was never moved has the path [id], which
`position_of` writes in SQL. What is put between [5] and [6] gets [5, 0], what is put behind that [5, 8], what is put
before it [5, -8]: keys are counted, so ten thousand things put to one place have keys of a few characters more. Only
where the numbers on both sides are fixed, the middle between them is taken. Why so: docs/decisions/0031.

An integer is written as a letter that says how many hexadecimal digits follow, and these digits: 5 is `a5`, 1042 is
`c412`. Negative ones have capital letters, which come first: -1 is `Zf`. The id stands behind a dot, which comes before
all letters, so that a path comes before those that it begins. Two keys are never equal, since ids are not.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

# Instead of a longer key, the keys around are renewed.
MOST_CHARACTERS: Final = 64
MOST_RENEWED: Final = 100
# Between the numbers of renewed keys, and between those that are counted.
_SPACE: Final = 4096
_STEP: Final = 8
_HEXADECIMAL: Final = 16
_FIRST_POSITIVE: Final = ord("a")
_FIRST_NEGATIVE: Final = ord("Z")

Path = list[int]


def write_key(path: Sequence[int], thing_id: int) -> str:
    """Return the key of a thing that is put at a path."""
    return f"{_write_path(path)}.{thing_id:x}"


def default_key(thing_id: int) -> str:
    """Return the key of a thing that was never moved, as SQL's `position_of`."""
    return _write_integer(thing_id)


def read_path(key: str) -> Path:
    """Return the path in a key."""
    text = key.partition(".")[0]
    path = []
    start = 0
    while start < len(text):
        header = ord(text[start])
        is_negative = header <= _FIRST_NEGATIVE
        size = (_FIRST_NEGATIVE - header if is_negative else header - _FIRST_POSITIVE) + 1
        number = int(text[start + 1 : start + 1 + size], _HEXADECIMAL)
        path.append(number - _HEXADECIMAL**size if is_negative else number)
        start += 1 + size
    return path


def _write_path(path: Sequence[int]) -> str:
    return "".join(map(_write_integer, path))


def _write_integer(number: int) -> str:
    digits = f"{abs(number):x}"
    if number >= 0:
        return f"{chr(_FIRST_POSITIVE + len(digits) - 1)}{digits}"
    return f"{chr(_FIRST_NEGATIVE - len(digits) + 1)}{_HEXADECIMAL ** len(digits) + number:0{len(digits)}x}"


def key_between(low: str | None, high: str | None, thing_id: int) -> str | None:
    """Return the key of a thing that is put between two others; None if the keys around have to be renewed.

    `low` is None where nothing comes before it, `high` where nothing comes after it.
    """
    path = _path_between(low, high)
    key = None if path is None else write_key(path, thing_id)
    return key if key is None or len(key) <= MOST_CHARACTERS else None


def _path_between(low: str | None, high: str | None) -> Path | None:
    lower, upper = None if low is None else read_path(low), None if high is None else read_path(high)
    if lower is None:
        return [0] if upper is None else [upper[0] - _STEP]
    if upper is None:
        # Not the next first number, which a new thing may get: that comes last.
        return _behind(lower, 1)
    common = _common(lower, upper)
    if common == len(upper):
        return None  # two things had one number, of which one came from elsewhere without a key
    return _path_inside(lower, upper, common)


def _path_inside(lower: Path, upper: Path, common: int) -> Path:
    """Return a path between two others that have the first `common` numbers in common."""
    if common == len(lower):
        return [*lower, upper[common] - _STEP]
    if upper[common] - lower[common] > 1:
        return [*lower[:common], (lower[common] + upper[common]) // 2]
    if len(upper) > common + 1:
        return upper[: common + 1]
    return _behind(lower, common + 1)


def _behind(path: Path, place: int) -> Path:
    return [*path[:place], path[place] + _STEP if place < len(path) else 0]


class _Row(NamedTuple):
    """Paths that differ in their last number only, which counts on by `step`."""

    prefix: Path
    first: int
    step: int
    size: int

    @property
    def characters(self) -> int:
        """The length of the longest one as text."""
        ends = (self.first, self.first + self.step * (self.size - 1))
        return max(len(_write_path([*self.prefix, end])) for end in ends)

    def keys(self, ids: Sequence[int]) -> dict[int, str]:
        """Return the keys of things in their order."""
        return {one: write_key([*self.prefix, self.first + self.step * n], one) for n, one in enumerate(ids)}


def renew_keys(before: Sequence[tuple[int, str]], thing_id: int, after: Sequence[tuple[int, str]]) -> dict[int, str]:
    """Return new keys for a thing and for what is around its place, by their ids: as short as `MOST_RENEWED` can be.

    `before` and `after` are ids and keys in their order, `MOST_RENEWED` of each where there are so many.
    """
    most = MOST_RENEWED - 1
    choices: list[tuple[int, int, int, int, _Row]] = []
    for taken in range(max(0, min(len(before), most - len(after))), min(len(before), most) + 1):
        left = min(len(after), most - taken)
        low = before[-taken - 1][1] if taken < len(before) else None
        high = after[left][1] if left < len(after) else None
        row = _row_between(low, high, taken + 1 + left)
        if row is not None:
            choices.append((row.characters, -row.step, abs(2 * taken - most), taken, row))
    *_, taken, row = min(choices)
    around = [*before[len(before) - taken :], (thing_id, ""), *after[: row.size - taken - 1]]
    return row.keys([one for one, _ in around])


def _row_between(low: str | None, high: str | None, size: int) -> _Row | None:
    """Return so many paths between two keys, with room between them; None if there is none."""
    lower, upper = None if low is None else read_path(low), None if high is None else read_path(high)
    if lower is None:
        return _below([], 0 if upper is None else upper[0], size)
    if upper is None:
        return _above(lower, 1, size)
    common = _common(lower, upper)
    if common == len(upper):
        return None
    if common == len(lower):
        return _below(lower, upper[common], size)
    step = min(_SPACE, (upper[common] - lower[common]) // (size + 1))
    if step:
        return _Row(lower[:common], lower[common] + step, step, size)
    return _above(lower, common + 1, size)


def _above(path: Path, place: int, size: int) -> _Row:
    return _Row(path[:place], path[place] + _SPACE if place < len(path) else 0, _SPACE, size)


def _below(prefix: Path, number: int, size: int) -> _Row:
    return _Row(prefix, number - _SPACE * size, _SPACE, size)


def _common(lower: Path, upper: Path) -> int:
    """Return how many of their first numbers two paths have in common."""
    pairs = zip(lower, upper, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(lower), len(upper)))

"""The keys of the manual order, without a database: the patterns of people, at full size."""

from collections.abc import Sequence
from itertools import islice, pairwise

import pytest

from taskmanager.ordering.keys import (
    MOST_CHARACTERS,
    MOST_RENEWED,
    default_key,
    key_between,
    read_path,
    renew_keys,
    write_key,
)
from tests.support.move_patterns import PATTERNS, Step, apply

MOVES = 10_000


class Board:
    """Things in their order, with the keys that moves give them."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.order = list(ids)
        self.keys = {one: default_key(one) for one in ids}
        self.longest = 0
        self.renewals = 0

    def move(self, step: Step) -> None:
        """Put one thing to its place."""
        thing = step[0]
        index = apply(self.order, step)
        low = self.keys[self.order[index - 1]] if index else None
        high = self.keys[self.order[index + 1]] if index + 1 < len(self.order) else None
        key = key_between(low, high, thing)
        new = self.renewed(index) if key is None else {thing: key}
        self.keys |= new
        self.longest = max(self.longest, *map(len, new.values()))

    def renewed(self, index: int) -> dict[int, str]:
        """Return new keys for the thing at a place and those around it."""
        self.renewals += 1
        before = self.order[max(0, index - MOST_RENEWED) : index]
        after = self.order[index + 1 :][:MOST_RENEWED]
        new = renew_keys(
            [(one, self.keys[one]) for one in before], self.order[index], [(one, self.keys[one]) for one in after]
        )
        assert self.order[index] in new
        assert len(new) <= MOST_RENEWED
        return new

    def check(self) -> None:
        """Compare the order of the keys with that of the things."""
        keys = [self.keys[one] for one in self.order]
        assert all(low < high for low, high in pairwise(keys))


@pytest.mark.parametrize(
    ("name", "size"), [*((name, size) for name in PATTERNS for size in (3, 200)), ("between the last two", 12_000)]
)
def test_ten_thousand_moves_keep_keys_short(name: str, size: int) -> None:
    board = Board(range(5_000_000, 5_000_000 + size))
    for number, step in enumerate(islice(PATTERNS[name](board.order), MOVES)):
        board.move(step)
        if number % 1_000 == 0:
            board.check()
    board.check()
    print(f"{name}, {size} things: {board.longest} characters, {board.renewals} renewals")
    assert board.longest <= MOST_CHARACTERS
    # Only what is put between two that were put between two ... needs renewals, of 100 keys for 50 moves at worst.
    assert board.renewals <= (MOVES / 50 if name == "between the last two" else 0)
    # What is new comes last, whatever was moved.
    assert default_key(5_000_000 + size) > max(board.keys.values())


@pytest.mark.parametrize(
    "path", [[0], [1], [15], [16], [2**53 - 1], [-1], [-15], [-16], [5, 0, -3], [7, -4096, 70_000]]
)
def test_a_path_is_read_as_it_was_written(path: list[int]) -> None:
    assert read_path(write_key(path, 42)) == path


def test_numbers_are_in_the_order_of_their_texts() -> None:
    numbers = sorted({sign * (16**n + more) for n in range(12) for more in (-1, 0, 1) for sign in (1, -1)})
    keys = [write_key([number], 1) for number in numbers]
    assert keys == sorted(keys)
    assert all(key.isascii() for key in keys)


def test_where_two_things_have_one_path_the_keys_around_are_renewed() -> None:
    # A version without keys has moved number 9 in from another project.
    order = [(3, default_key(3)), (9, default_key(9)), (5, write_key([9], 5)), (12, default_key(12))]
    assert [key for _, key in order] == sorted(key for _, key in order)
    assert key_between(order[1][1], order[2][1], 7) is None
    renewed = renew_keys(order[:2], 7, order[2:])
    assert list(renewed) == [3, 9, 7, 5, 12]
    assert list(renewed.values()) == sorted(renewed.values())


def test_an_empty_order_has_room() -> None:
    key = key_between(None, None, 7)
    assert key is not None
    assert key < default_key(1)

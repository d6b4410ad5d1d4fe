"""In which patterns people move cards: each says which thing to put where, again and again."""

import random
from collections.abc import Callable, Iterator, Sequence

# A thing, "before" or "after", and its neighbour; or a thing, "at", and an end.
Step = tuple[int, str, int | str]
Pattern = Callable[[Sequence[int]], Iterator[Step]]


def _random(ids: Sequence[int]) -> Iterator[Step]:
    chance = random.Random(1)  # no secret
    while True:
        thing, neighbour = chance.sample(ids, 2)
        yield thing, chance.choice(["before", "after"]), neighbour


def _beside_one(side: str) -> Pattern:
    def steps(ids: Sequence[int]) -> Iterator[Step]:
        fixed, *others = ids
        while True:
            for thing in others:
                yield thing, side, fixed

    return steps


def _at_end(end: str) -> Pattern:
    def steps(ids: Sequence[int]) -> Iterator[Step]:
        while True:
            for thing in ids:
                yield thing, "at", end

    return steps


def _between_the_last_two(ids: Sequence[int]) -> Iterator[Step]:
    last, newest = ids[0], ids[1]
    side = "before"  # where `last` is, seen from `newest`
    while True:
        for thing in ids:
            if thing not in {last, newest}:
                yield thing, side, newest
                last, newest = newest, thing
                side = "after" if side == "before" else "before"


def _before_and_after_one(ids: Sequence[int]) -> Iterator[Step]:
    fixed, *others = ids
    while True:
        for n, thing in enumerate(others):
            yield thing, ("before", "after")[n % 2], fixed


PATTERNS: dict[str, Pattern] = {
    "random": _random,
    "after one": _beside_one("after"),
    "before one": _beside_one("before"),
    "before and after one": _before_and_after_one,
    "top": _at_end("top"),
    "bottom": _at_end("bottom"),
    "between the last two": _between_the_last_two,
}


def apply(order: list[int], step: Step) -> int:
    """Bring things into the order in which they are after a step, and return the place of the one that is moved."""
    thing, side, neighbour = step
    order.remove(thing)
    if side == "at":
        index = 0 if neighbour == "top" else len(order)
    else:
        index = order.index(int(neighbour)) + (side == "after")
    order.insert(index, thing)
    return index

"""The ring says what it has, and never less than what happened behind its start."""

import pytest

from taskmanager.following.positions import START, Position
from taskmanager.stream.log_events import LogEvent
from taskmanager.stream.rights import Filters, Rights
from taskmanager.stream.ring import Ring


def event(
    n: int,
    project_id: int = 1,
    *,
    size: int = 10,
    action: str = "updated",
    member_id: int | None = None,
    lost: dict[tuple[int, int], Position] | None = None,
) -> LogEvent:
    """Return the n-th event."""
    entity = "task" if member_id is None else "member"
    return LogEvent(Position(0, n, n), project_id, entity, action, member_id, None, b"x" * size, lost or {})


def numbers(ring: Ring, after: int, limit: int = 100) -> list[int] | None:
    """Return the numbers of the events behind one."""
    found = ring.after(Position(0, after, after), limit)
    return None if found is None else [one.position.id for one in found]


def test_it_keeps_the_last_events() -> None:
    ring = Ring(most_events=5)
    assert ring.after(START, 10) == []
    for n in range(1, 101):
        ring.extend([event(n)])
        assert len(ring) == min(n, 5)
        assert numbers(ring, n) == []
        assert numbers(ring, n - 1) == [n]
        if n > 5:
            assert numbers(ring, n - 5) == list(range(n - 4, n + 1))
            assert numbers(ring, n - 6) is None
    assert numbers(ring, 96, 2) == [97, 98]
    assert len(ring._events) <= 12


def test_it_keeps_so_many_bytes() -> None:
    ring = Ring(most_bytes=100)
    for n in range(1, 31):
        ring.extend([event(n, size=30)])
    assert (len(ring), ring.bytes) == (3, 90)
    assert ring.start == Position(0, 27, 27)
    ring.extend([event(31, size=1_000)])
    assert (len(ring), ring.bytes) == (0, 0)
    assert numbers(ring, 30) is None
    assert numbers(ring, 31) == []


def test_it_begins_again() -> None:
    ring = Ring()
    ring.extend([event(1), event(2)])
    ring.begin(Position(0, 5, 5))
    assert (len(ring), ring.bytes) == (0, 0)
    assert numbers(ring, 4) is None
    ring.extend([event(6)])
    assert numbers(ring, 5) == [6]


ME = 7


@pytest.mark.parametrize(
    ("visible", "gained", "events", "sent"),
    [
        ({1}, set(), [event(1), event(2)], [1, 2]),
        (set(), set(), [event(1)], []),
        # Before they were added the user had no right to it, though they have it now.
        ({1}, {1}, [event(1), event(2, action="added", member_id=ME), event(3)], [2, 3]),
        # Added and removed again by the time of the snapshot: only that is said.
        (
            set(),
            {1},
            [event(1, action="added", member_id=ME), event(2), event(3, action="removed", member_id=ME)],
            [1, 3],
        ),
        # Added behind the snapshot.
        (set(), set(), [event(150, action="added", member_id=ME), event(151)], [150, 151]),
        (
            {1},
            set(),
            [event(1, action="removed", member_id=ME), event(2), event(3, action="removed", member_id=8)],
            [1],
        ),
        # The row was read after the removal.
        ({1}, set(), [event(1, lost={(ME, 1): Position(0, 2, 2)}), event(3, lost={(ME, 1): Position(0, 2, 2)})], [3]),
    ],
)
def test_rights(visible: set[int], gained: set[int], events: list[LogEvent], sent: list[int]) -> None:
    rights = Rights(Filters(ME), visible, gained, (0, 100))
    assert [one.position.id for one in events if rights.admit(one)] == sent

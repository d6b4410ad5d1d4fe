"""Events of the log as streams send them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import asyncpg

from taskmanager.following.positions import Position

NOBODY: Final[Mapping[tuple[int, int], Position]] = {}


class LogEvent(NamedTuple):
    """An event as its frame, and what decides who gets it.

    `member_id` is the user whose membership it changes, `founder_id` the one who has made a project by it. `lost` has,
    by user and project, the last end of a membership that the row in the frame may be younger than.
    """

    position: Position
    project_id: int
    entity: str
    action: str
    member_id: int | None
    founder_id: int | None
    frame: bytes
    lost: Mapping[tuple[int, int], Position] = NOBODY


def position_of(row: asyncpg.Record) -> Position:
    """Return the position of an event."""
    return Position(row["era"], row["xid"], row["id"])

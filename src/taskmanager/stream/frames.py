"""Frames of the stream (server-sent events, WHATWG HTML 9.2); each event is rendered once, the same for everybody."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import asyncpg
from fastapi.sse import format_sse_event

from taskmanager.following.positions import Epoch, Position
from taskmanager.stream.log_events import NOBODY, LogEvent, position_of

# Sorts behind everything that has been read.
_LATER: Final = Position(2**31 - 1, 0, 0)
_PIECE_BYTES: Final = 65_536
READY: Final = format_sse_event(event="ready", data_str="{}")


def read_events(epoch: Epoch, rows: Iterable[asyncpg.Record], *, is_shared: bool) -> list[LogEvent]:
    """Return the events of rows that were read together, without those that nobody follows.

    They may go to several users if they are `shared`; else they were read for one, who sees what there is.
    """
    rows = [row for row in rows if row["id"] is not None]
    lost: dict[tuple[int, int], Position] = {}
    if is_shared and rows:
        lost = {(user_id, project_id): _LATER for user_id, project_id in rows[0]["lost"] or ()}  # noqa: C420  # lists
        for row in rows:
            key = row["member_id"], row["project_id"]
            if row["action"] == "removed" and row["member_id"] is not None and lost.get(key) is not _LATER:
                lost[key] = position_of(row)
    return [_read_event(epoch, row, lost or NOBODY) for row in rows if row["text"] is not None]


def join_frames(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Yield frames in pieces of about 64 KiB, so that no more of them waits for a slow client to read."""
    piece: list[bytes] = []
    size = 0
    for frame in frames:
        piece.append(frame)
        size += len(frame)
        if size >= _PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def place_frame(cursor: str) -> bytes:
    """Return the frame by which a client moves on to a position without an event."""
    return format_sse_event(id=cursor)


def control_frame(name: str, reason: str) -> bytes:
    """Return a frame that says what becomes of the stream itself; without an id, so that nobody resumes behind it."""
    return format_sse_event(event=name, data_str=f'{{"reason":"{reason}"}}')


def retry_frame(milliseconds: int) -> bytes:
    """Return the frame that says how long a client waits before it comes back."""
    return format_sse_event(retry=milliseconds)


def _read_event(epoch: Epoch, row: asyncpg.Record, lost: Mapping[tuple[int, int], Position]) -> LogEvent:
    position = position_of(row)
    cursor = epoch.write(position)
    entity, action = row["entity"], row["action"]
    frame = format_sse_event(id=cursor, event=f"{entity}.{action}", data_str=f'{{"cursor":"{cursor}",{row["text"]}}}')
    return LogEvent(position, row["project_id"], entity, action, row["member_id"], row["founder_id"], frame, lost)

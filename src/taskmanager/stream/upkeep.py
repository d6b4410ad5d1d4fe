"""What is done for all streams of a process together, once a second: so that none of them needs a timer."""

import asyncio
import time
from typing import Final

import structlog

from taskmanager.accounts.callers import Caller
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.stream.broker import Broker
from taskmanager.stream.repository import EventReader
from taskmanager.stream.streams import MAX_AGE, REVOKED, Stream

_TICK_SECONDS: Final = 1.0
# In so many ticks each quiet stream is moved on once, so that proxies see it alive and it resumes from there.
_TICKS_BETWEEN_MOVES: Final = 15
_TICKS_BETWEEN_CHECKS: Final = 10
_MOST_WRITE_SECONDS: Final = 20.0


class Upkeep:
    """Moves quiet streams on, and ends those that are too old, do not read, or whose credential has ended."""

    def __init__(self, broker: Broker, reader: EventReader, tick_seconds: float = _TICK_SECONDS) -> None:
        self._broker = broker
        self._reader = reader
        self._tick_seconds = tick_seconds
        self._ticks = 0

    async def run(self) -> None:
        """Look after the streams whenever there are any."""
        while True:
            await self._broker.occupied.wait()
            await asyncio.sleep(self._tick_seconds)
            await self.tick()

    async def tick(self) -> None:
        """Do what is due."""
        self._ticks += 1
        streams = list(self._broker.streams)
        now = time.monotonic()
        for stream in streams:
            if stream.ends_at <= now:
                stream.end(MAX_AGE)
            stream.give_up_writing(now - _MOST_WRITE_SECONDS)
        # A part of them each time, since to write to thousands takes tenths of a second.
        phase = self._ticks % _TICKS_BETWEEN_MOVES
        await self._broker.move_on([stream for stream in streams if stream.phase % _TICKS_BETWEEN_MOVES == phase])
        if self._ticks % _TICKS_BETWEEN_CHECKS == 0:
            try:
                await self.check_credentials(streams)
            except DATABASE_ERRORS as error:
                structlog.stdlib.get_logger("taskmanager.stream").warning(
                    "credentials of streams cannot be checked", cause=f"{type(error).__name__}: {error}"[:300]
                )

    async def check_credentials(self, streams: list[Stream]) -> None:
        """End the streams whose login or API key holds no more, by one statement for all."""
        of_caller: dict[Caller, list[Stream]] = {}
        for stream in streams:
            of_caller.setdefault(stream.caller, []).append(stream)
        callers = list(of_caller)
        for place in await self._reader.find_ended(callers) if callers else ():
            for stream in of_caller[callers[place]]:
                stream.end(REVOKED)

"""One serving process: what it waits for before it starts, and how it ends."""

import asyncio
import logging
import os
import signal
import ssl
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from socket import socket
from types import FrameType
from typing import NoReturn

import structlog
import typer
import uvicorn

from taskmanager.database.database import Database, SchemaError
from taskmanager.database.driver_errors import DATABASE_ERRORS, is_transient, sqlstate_of
from taskmanager.database.failures import describe_failure
from taskmanager.database.server_settings import UnfitConnectionError
from taskmanager.settings import Settings
from taskmanager.telemetry.logs import log_writer

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
BEAT_SECONDS = 0.5
_PAUSE_SECONDS = 0.5
# A wrong password, a role that may not log in, a database that does not exist: waiting does not help. A service that
# has already started treats them as temporary.
_PERMANENT_SQLSTATES = ("28", "3D000")


class CannotStartError(Exception):
    """The service cannot start; the message says why in one line."""


async def wait_for_database(settings: Settings) -> None:
    """Return when the database answers and its schema fits, which takes up to `database_wait_seconds`.

    Raises:
        CannotStartError: It did not answer in time, or it refuses for a reason that does not pass.
    """
    database = Database(settings)
    deadline = time.monotonic() + settings.database_wait_seconds
    is_waiting = False
    try:
        while True:
            try:
                await database.check_schema()
            except SchemaError as error:
                raise CannotStartError(str(error)) from error
            except DATABASE_ERRORS as error:
                if not _may_pass(error) or time.monotonic() + _PAUSE_SECONDS >= deadline:
                    raise CannotStartError(describe_failure(error)) from error
                if not is_waiting:
                    is_waiting = True
                    structlog.stdlib.get_logger("taskmanager.start").warning(
                        "waiting for the database",
                        seconds=settings.database_wait_seconds,
                        cause=describe_failure(error),
                    )
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return
    finally:
        await database.dispose()


def _may_pass(error: Exception) -> bool:
    if isinstance(error, (ssl.SSLCertVerificationError, UnfitConnectionError)):
        return False
    return is_transient(error) and not (sqlstate_of(error) or "").startswith(_PERMANENT_SQLSTATES)


def exit_when_asked() -> None:
    """From now on end this process with exit code 0 on SIGTERM and SIGINT, and skip what the interpreter does then.

    The server handles these signals itself and raises them again when all is finished. The interpreter would wait for
    threads, such as one that asks a silent name server for the database's address.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _exit)


def _exit(_number: int, _frame: FrameType | None) -> NoReturn:
    exit_now()


def exit_now() -> NoReturn:
    """End this process with exit code 0, and skip what the interpreter does then."""
    logging.shutdown()
    log_writer.close()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


class Server(uvicorn.Server):
    """A server that prints a banner when it serves, and ends with its parent if it has one.

    Its parent alone holds the other end of `lifeline`. Into `beats` the event loop writes a byte twice a second.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        banner: str = "",
        lifeline: Connection | None = None,
        beats: Connection | None = None,
    ) -> None:
        super().__init__(config)
        self._banner = banner
        self._lifeline = lifeline
        self._beats = beats
        self._beating: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self._banner:
            log_writer.flush()  # the server's lines come first
            typer.echo(f"\n{self._banner}\n")
        loop = asyncio.get_running_loop()
        if self._lifeline is not None:
            loop.add_reader(self._lifeline.fileno(), self._end_with_parent, self._lifeline)
        if self._beats is not None:
            self._beating = loop.create_task(_beat(self._beats))

    def _end_with_parent(self, lifeline: Connection) -> None:
        asyncio.get_running_loop().remove_reader(lifeline.fileno())
        structlog.stdlib.get_logger("taskmanager.server.workers").warning("parent ended, stopping", pid=os.getpid())
        # Without a drain, because the next start needs the port.
        self.should_exit = True


async def _beat(beats: Connection) -> None:
    os.set_blocking(beats.fileno(), False)
    while True:
        with suppress(OSError):  # the parent is gone, or did not read until the pipe was full
            os.write(beats.fileno(), b".")
        await asyncio.sleep(BEAT_SECONDS)

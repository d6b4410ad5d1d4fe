"""The processes that serve: one by itself, or several below a parent that replaces those that end."""

import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from socket import socket
from typing import Any, Final

import structlog
import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import ChangeReload

from taskmanager.server.serving import BEAT_SECONDS, STOP_SIGNALS, Server, exit_when_asked
from taskmanager.settings import Settings

CANNOT_START: Final = 2
ENDED_UNASKED: Final = 1
_APP = "taskmanager.main:create_checked_app"
_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP)
_HUNG_SECONDS = 5.0
_START_SECONDS = 60.0
# A worker that ends sooner is replaced after a pause, which doubles each time.
_STEADY_SECONDS = 5.0
_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


def server_config(settings: Settings, app: str | Callable[[], ASGIApp], *, reload: bool = False) -> uvicorn.Config:
    """Return how a process serves; `app` makes the application, or names what does."""
    return uvicorn.Config(
        app,
        factory=True,
        http="taskmanager.server.uvicorn_protocol:CorkedHttpProtocol",
        ws="none",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        reload=reload,
        reload_dirs=[str(Path(__file__).parents[1])] if reload else None,
    )


def run_server(settings: Settings, *, workers: int = 1, reload: bool = False, banner: str = "") -> int:
    """Serve until asked to stop, from a database that has been checked, and return the exit code.

    That is 0 only after SIGTERM or SIGINT, `CANNOT_START` if nothing began to serve, else `ENDED_UNASKED`. A process
    that serves by itself exits with 0 instead of returning. Must be called in the main thread, for its signals.
    """
    config = server_config(settings, _APP, reload=reload)
    if reload:
        typer.echo(f"\n{banner}\n")
        lifeline, lifeline_end = multiprocessing.Pipe(duplex=False)
        with lifeline, lifeline_end:
            server = Server(config, lifeline=lifeline)
            ChangeReload(config, target=server.run, sockets=[config.bind_socket()]).run()
        return 0
    if workers > 1:
        return Supervisor(config, [config.bind_socket()], workers).run()
    exit_when_asked()
    try:
        Server(config, banner=banner).run()
    except SystemExit:
        return CANNOT_START  # uvicorn has logged why
    return ENDED_UNASKED


class _Worker:
    """A worker as its parent sees it."""

    def __init__(self, process: BaseProcess, beats: Connection) -> None:
        self.process = process
        self.beats = beats
        self.serves_since: float | None = None
        self.silent_seconds = 0.0
        self.is_stopping = False

    def take_beats(self) -> None:
        with suppress(OSError):
            if os.read(self.beats.fileno(), 4_096):
                self.silent_seconds = 0.0
                self.serves_since = self.serves_since or time.monotonic()

    @property
    def is_hung(self) -> bool:
        return self.silent_seconds > (_START_SECONDS if self.serves_since is None else _HUNG_SECONDS)

    @property
    def was_steady(self) -> bool:
        return self.serves_since is not None and time.monotonic() - self.serves_since >= _STEADY_SECONDS

    def send_signal(self, number: int) -> None:
        if self.process.pid is not None and self.process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


class Supervisor:
    """Keeps `count` workers that serve from the given sockets; it closes its own copies of these when it stops.

    A worker that ends unasked is replaced, after a pause if it did not live long. One whose event loop stands still is
    killed. SIGTERM and SIGINT stop all workers, and a later one is passed on to end their drain. SIGHUP replaces all,
    one after the other. However this process ends, the workers end too: they see their end of its pipe close.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket], count: int) -> None:
        self._config = config
        self._sockets = sockets
        self._count = count
        # System libraries of macOS fail after a fork.
        self._forks = sys.platform == "linux"
        self._context: Any = multiprocessing.get_context("fork" if self._forks else "spawn")
        self._lifeline, self._lifeline_end = self._context.Pipe(duplex=False)
        self._log = structlog.stdlib.get_logger("taskmanager.server.workers")
        self._received: list[int] = []
        self._workers: list[_Worker] = []
        self._outdated: list[_Worker] = []
        self._successor: _Worker | None = None
        self._has_served = False
        self._exit_code: int | None = None
        self._failures = 0
        self._start_at = 0.0

    def run(self) -> int:
        """Serve until asked to stop and return 0, or `CANNOT_START` if no worker begins to serve."""
        if self._forks:
            # Imported once for all workers, so that they start immediately and share its memory.
            import_module(_APP.partition(":")[0])
            gc.freeze()
        for number in _SIGNALS:
            signal.signal(number, lambda number, _: self._received.append(number))
        looked_at = time.monotonic()
        try:
            while True:
                self._obey_signals()
                self._fill_up()
                self._replace_outdated()
                if self._exit_code is not None and not self._workers:
                    return self._exit_code
                self._wait_for_events()
                # If this process was stopped, its workers may have been stopped too.
                passed = min(time.monotonic() - looked_at, 2 * BEAT_SECONDS)
                looked_at = time.monotonic()
                for worker in list(self._workers):
                    self._look_at(worker, passed)
        finally:
            # Otherwise the interpreter would wait here for workers that wait for this process.
            self._lifeline_end.close()

    def _wait_for_events(self) -> None:
        if not self._workers:
            time.sleep(BEAT_SECONDS / 2)
            return
        of_beats = {worker.beats: worker for worker in self._workers}
        sentinels = [worker.process.sentinel for worker in self._workers]
        for event in wait([*of_beats, *sentinels], BEAT_SECONDS / 2):
            if isinstance(event, Connection):
                of_beats[event].take_beats()
        self._has_served |= any(worker.serves_since is not None for worker in self._workers)

    def _obey_signals(self) -> None:
        while self._received:
            if self._received.pop(0) in STOP_SIGNALS:
                self._stop(0)
            elif self._exit_code is None:
                self._outdated = [worker for worker in self._workers if not worker.is_stopping]

    def _stop(self, exit_code: int) -> None:
        if self._exit_code is None:
            self._exit_code = exit_code
            for listener in self._sockets:
                listener.close()  # otherwise connections would still be accepted here when no worker takes them
        for worker in self._workers:
            self._retire(worker)

    @staticmethod
    def _retire(worker: _Worker) -> None:
        worker.is_stopping = True
        worker.send_signal(signal.SIGTERM)

    def _fill_up(self) -> None:
        while (
            self._exit_code is None
            and sum(not worker.is_stopping for worker in self._workers) < self._count
            and time.monotonic() >= self._start_at
        ):
            self._start()

    def _replace_outdated(self) -> None:
        if self._exit_code is not None or any(worker.is_stopping for worker in self._workers):
            return
        if self._successor is None:
            if self._outdated:
                self._successor = self._start()
        elif self._successor.serves_since is not None:
            self._successor = None
            if self._outdated:
                self._retire(self._outdated.pop(0))

    def _start(self) -> _Worker | None:
        beats, worker_beats = self._context.Pipe(duplex=False)
        # Signals are blocked, so that the new worker neither handles one with its parent's handler nor loses one.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            inherited = self._lifeline_end if self._forks else None
            arguments = (self._config, self._sockets, self._lifeline, worker_beats, inherited)
            process = self._context.Process(target=_work, args=arguments)
            process.start()
        except OSError as error:
            beats.close()
            self._log.error("worker cannot be started", cause=str(error))
            self._outdated = []
            self._fail()
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            worker_beats.close()
        self._log.info("worker started", pid=process.pid)
        worker = _Worker(process, beats)
        self._workers.append(worker)
        return worker

    def _look_at(self, worker: _Worker, passed: float) -> None:
        worker.silent_seconds += passed
        if worker.process.exitcode is not None:
            self._bury(worker, worker.process.exitcode)
        elif worker.is_hung:
            self._log.error("worker hangs, killing it", pid=worker.process.pid)
            worker.send_signal(signal.SIGKILL)
            worker.silent_seconds = 0.0

    def _bury(self, worker: _Worker, code: int) -> None:
        ending = {"exit_code": code} if code >= 0 else {"signal": _signal_name(-code)}
        self._workers.remove(worker)
        if worker in self._outdated:
            self._outdated.remove(worker)
        if worker is self._successor:
            self._successor = None
            self._outdated = []  # the others would fail as well
        if worker.is_stopping:
            self._log.info("worker stopped", pid=worker.process.pid, **ending)
        else:
            self._log.error("worker ended unasked", pid=worker.process.pid, **ending)
            if worker.was_steady:
                self._failures = 0
                self._start_at = 0.0
            else:
                self._fail()
        worker.beats.close()
        worker.process.close()

    def _fail(self) -> None:
        pause = _SHORTEST_PAUSE_SECONDS * 2 ** min(self._failures, 10)
        self._start_at = time.monotonic() + min(pause, _LONGEST_PAUSE_SECONDS)
        self._failures += 1
        if not self._has_served and self._failures >= self._count and self._exit_code is None:
            self._log.error("no worker begins to serve, stopping")
            self._stop(CANNOT_START)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)


def _work(
    config: uvicorn.Config,
    sockets: list[socket],
    lifeline: Connection,
    beats: Connection,
    inherited: Connection | None,
) -> None:
    if inherited is not None:
        inherited.close()  # the parent alone may hold it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to all processes, and the parent handles it
    exit_when_asked()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    Server(config, lifeline=lifeline, beats=beats).run(sockets)
    sys.exit(ENDED_UNASKED)

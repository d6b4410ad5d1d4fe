"""The service as a process of its own, on a socket; forked, so that what it imports is imported once."""

import multiprocessing
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher as Argon2

from tests.support.pgbouncer import through_pooler
from tests.support.ports import free_port

RATE_LIMITS = (
    "rate_limit_anonymous_per_minute",
    "rate_limit_user_per_minute",
    "rate_limit_login_per_minute",
    "rate_limit_login_address_per_minute",
)
# A stream of events never ends, which tests of all routes would wait for. Here each ends when it has begun, unless a
# test of streams says otherwise.
SHORT_STREAMS: Mapping[str, Any] = {"taskmanager.stream.feed.LONGEST_SECONDS": 0.0}
_ARGON2 = "taskmanager.accounts.password.hashing._ARGON2"
_PROCESSES = multiprocessing.get_context("forkserver")
# All but the modules that need prometheus_client, which looks at the environment when it is imported.
_PROCESSES.set_forkserver_preload(
    [
        "uvloop",
        "uvicorn.lifespan.on",
        "uvicorn.loops.auto",
        "taskmanager.commands.cli",
        "taskmanager.server.uvicorn_protocol",
        "taskmanager.accounts.authentication",
        "taskmanager.accounts.feature",
        "taskmanager.activity.routes",
        "taskmanager.administration.routes",
        "taskmanager.comments.routes",
        "taskmanager.documentation.pages",
        "taskmanager.http.binding",
        "taskmanager.http.cors",
        "taskmanager.http.dispatch",
        "taskmanager.notifications.routes",
        "taskmanager.telemetry.logs",
        "taskmanager.projects.members.routes",
        "taskmanager.rate_limits.limiter",
        "taskmanager.server.serving",
        "taskmanager.tasks.bulk.routes",
        "taskmanager.telemetry.tracing",
    ]
)


def _run_command(
    arguments: Sequence[str], environment: Mapping[str, str], log: str, constants: Mapping[str, Any]
) -> None:
    from taskmanager.commands.cli import main  # only in the process that becomes the service

    descriptors = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number, descriptor in enumerate((descriptors[0], descriptors[1], descriptors[1])):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(environment)
    for place, value in constants.items():
        module, _, name = place.rpartition(".")
        assert hasattr(import_module(module), name)
        setattr(import_module(module), name, value)
    sys.argv = ["taskmanager", *arguments]
    main()


class LiveServer:
    """`taskmanager serve`, on a free port of the loopback address; rate limits and webhooks are off unless given.

    Hashes of passwords are cheap unless `costly_hashes`. `constants` of its modules, by module and name, have other
    values than in the source, for tests that would have to wait for them.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        *,
        workers: int = 1,
        costly_hashes: bool = False,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self.port = free_port()
        # Clients of it are made with verify=False: to load certificates takes longer than many requests.
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        unlimited = {name.upper(): "0" for name in RATE_LIMITS}
        defaults = {**unlimited, "PORT": str(self.port), "DRAIN_SECONDS": "0", "WEBHOOKS_ENABLED": "false"}
        self._environment = {**os.environ, **defaults, **environment}
        if url := environment.get("DATABASE_URL"):
            self._environment["DATABASE_URL"] = through_pooler(url)
        self._arguments = ["serve", "--workers", str(workers)]
        # As those of tests/conftest.py, so that neither finds the other's outdated.
        cheap = {} if costly_hashes else {_ARGON2: Argon2(time_cost=1, memory_cost=8, parallelism=1)}
        self._constants = {**cheap, **SHORT_STREAMS, **(constants or {})}
        self._process: BaseProcess | None = None

    def launch(self) -> None:
        """Start, and wait for nothing."""
        self._process = _PROCESSES.Process(
            target=_run_command, args=(self._arguments, self._environment, str(self.log), self._constants)
        )
        self._process.start()

    def start(self, seconds: float = 30) -> None:
        """Start, and wait until it is ready."""
        self.launch()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                    return
            except (OSError, urllib.error.URLError):
                if not self.is_running:
                    break
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server did not get ready:\n{self.log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        """Its process, which with several workers is their parent."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def worker_pids(self) -> list[int]:
        """The processes below it, which with several workers are these."""
        pids = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has just ended
                if int(status.read_text().rpartition(")")[2].split()[1]) == self.pid:
                    pids.append(int(status.parent.name))
        return sorted(pids)

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.is_alive()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float = 20) -> int:
        """Wait for its end and return the exit code, which is the negative number of the signal that ended it.

        Raises:
            TimeoutError: It has not ended.
        """
        assert self._process is not None
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise TimeoutError(f"still running after {seconds} s")
        return self._process.exitcode

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal and return the exit code."""
        self.send_signal(number)
        return self.wait(seconds)

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process is not None:
            self.stop(signal.SIGKILL)

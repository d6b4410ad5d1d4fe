"""The parent process of `taskmanager dev`: PostgreSQL first, the API as a child, PostgreSQL last.

uvicorn raises a signal again once it has finished, so no code after it runs in its process: only a parent can stop the
database afterwards. The child leads a process group of its own, without the terminal's input, so that Ctrl-C reaches
this process alone and the child gets it once, from here. If this process is killed outright, the child gets SIGTERM
from the kernel (on Linux; elsewhere it runs on), the database runs on, and the next start stops and recovers it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType

from taskmanager.embedded.embedded_postgres import EmbeddedPostgres

# One Ctrl-C may arrive twice: from the terminal and from a wrapper such as `uv run` that passes it on.
_SAME_PRESS_SECONDS = 0.5

# Asks the kernel for a SIGTERM when the parent dies (PR_SET_PDEATHSIG is 1), then becomes the command.
_LAUNCHER = """
import ctypes, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def run_with_database(postgres: EmbeddedPostgres, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` with the database's address in its environment and return its exit code; stop the database after.

    SIGINT and SIGTERM are passed to the command once, SIGHUP as SIGTERM; a later SIGINT kills it. Ending by such a
    signal counts as 0, by another as 128 and its number. Must be called in the main thread.

    Raises:
        EmbeddedPostgresError: the database does not start or does not stop.
        OSError: the command cannot be run.
    """
    child = _Child()
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # that is what nohup does
        numbers.remove(signal.SIGHUP)
    previous = {number: signal.signal(number, child.on_signal) for number in numbers}
    try:
        url = postgres.start()
        try:
            return child.run(command, {**environment, **_addresses(url)})
        finally:
            postgres.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _addresses(url: str) -> dict[str, str]:
    # All of them, so that none of another database counts.
    return {"DATABASE_URL": url, "DATABASE_DIRECT_URL": url, "DATABASE_POOLER": "none"}


class _Child:
    """The command, and the one signal that stops it, which may arrive before it runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_signal: signal.Signals | None = None
        self._stopped_at = 0.0

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        if self._stop_signal is not None:
            return 0
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())] if sys.platform == "linux" else []
        process = subprocess.Popen(  # noqa: S603
            [*launcher, *command], stdin=subprocess.DEVNULL, env=dict(environment), process_group=0
        )
        self._process = process
        if self._stop_signal is not None:  # arrived while the child was being made
            process.send_signal(self._stop_signal)
        code = process.wait()
        with suppress(ProcessLookupError):  # a leader that crashed may leave workers behind
            os.killpg(process.pid, signal.SIGTERM)
        if self._stop_signal is not None and code in (-self._stop_signal, 128 + self._stop_signal):
            return 0
        return code if code >= 0 else 128 - code

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stop_signal is None:
            self._stop_signal = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
            self._stopped_at = now
            if self._process is not None:
                self._process.send_signal(self._stop_signal)
        elif number == signal.SIGINT and self._process is not None and now - self._stopped_at > _SAME_PRESS_SECONDS:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

"""The server process of an embedded PostgreSQL: its start, its end and where it listens."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from taskmanager.embedded.cluster import NAME
from taskmanager.embedded.data_folder import PORT, DataFolder, try_lock
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.programs import Programs, find_error

_START_SECONDS = 60.0
_FAST_STOP_SECONDS = 30.0
_IMMEDIATE_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_LOG_BYTES = 10_000_000

# A socket's path holds 103 bytes on macOS, 107 on Linux; commas, colons and quotes mean something to PostgreSQL's
# list of folders and to SQLAlchemy's list of hosts.
_SOCKET_FOLDER = re.compile(r"[A-Za-z0-9_./-]{1,85}")
_SETTINGS = {"max_connections": "100", "jit": "off", "timezone": "UTC"}


class Server:
    """The server of one folder; `options` win over its default settings."""

    def __init__(self, folder: DataFolder, options: Mapping[str, str]) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._own_socket_folder: Path | None = None

    @property
    def url(self) -> str | None:
        """The URL of the running server, whichever process started it; None when it does not answer."""
        try:
            lines = self._folder.process_file.read_text(errors="replace").splitlines()
            if len(lines) < 8 or lines[7].strip() != "ready":
                return None
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{lines[4]}/.s.PGSQL.{PORT}")
            password = self._folder.password_file.read_text()
        except OSError:
            return None
        folder = urllib.parse.quote(lines[4])
        return f"postgresql+asyncpg://{NAME}:{password}@/{NAME}?host={folder}&port={PORT}"

    @property
    def has_ended(self) -> bool:
        """Whether no server that was started here runs."""
        return self._process is None or self._process.poll() is not None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the server that was started here, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def start(self, programs: Programs, binaries: Path) -> str:
        """Start the server on its cluster and return its URL as soon as it answers.

        Raises:
            EmbeddedPostgresError: The data are in use, or PostgreSQL refuses or is not ready in time.
            OSError: The log cannot be written.
        """
        cluster = self._folder.cluster.resolve()
        settings = {
            **_SETTINGS,
            **self._options,
            "listen_addresses": "",
            "unix_socket_directories": str(self._choose_socket_folder(cluster, programs)),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
        }
        command = [str(binaries / "postgres"), "-D", str(cluster / "data")]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = self._folder.open_private(self._folder.log.name)
        try:
            # The server and all its processes inherit the open file and with it the lock, which ends with the last of
            # them. Unlike a process id on file, it shows for certain whether any of them lives.
            if not try_lock(log):
                raise EmbeddedPostgresError(f"another PostgreSQL server is using {self._folder.path}")
            if os.fstat(log).st_size > _LOG_BYTES:
                os.ftruncate(log, 0)
            begin = os.fstat(log).st_size
            self._process = programs.start(command, output=log)
        finally:
            os.close(log)
        return self._wait_until_ready(self._process, begin)

    def stop(self) -> None:
        """Stop the server of this folder, whichever process started it, and clear away what a crashed one left.

        Raises:
            EmbeddedPostgresError: It does not stop, not even without its final checkpoint.
        """
        log = self._folder.open_private(self._folder.log.name)
        try:
            if not (
                self._signal_until_gone(log, signal.SIGINT, _FAST_STOP_SECONDS)
                or self._signal_until_gone(log, signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS)
            ):
                raise EmbeddedPostgresError(f"PostgreSQL (pid {self._find_pid()}) in {self._folder.path} does not stop")
            if self._process is not None:
                self._process.wait()
                self._process = None
            # After a crash another process may bear the old one's id by now, and PostgreSQL would refuse to start.
            self._folder.process_file.unlink(missing_ok=True)
            (self._folder.cluster / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
            if self._own_socket_folder is not None:
                shutil.rmtree(self._own_socket_folder, ignore_errors=True)
                self._own_socket_folder = None
        finally:
            os.close(log)

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log_begin: int) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while (url := self.url) is None:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                with self._folder.log.open(errors="replace") as lines:
                    lines.seek(log_begin)
                    reason = find_error(lines.read())
                what = "does not start" if ended else f"is not ready after {_START_SECONDS:.0f} s"
                raise EmbeddedPostgresError(f"PostgreSQL {what}: {reason} (see {self._folder.log})")
            time.sleep(_POLL_SECONDS)
        return url

    def _choose_socket_folder(self, cluster: Path, programs: Programs) -> Path:
        if _SOCKET_FOLDER.fullmatch(str(cluster)):
            return cluster
        folder = self._own_socket_folder = Path(tempfile.mkdtemp(prefix="taskmanager-", dir="/tmp"))
        programs.give(folder)
        return folder

    def _signal_until_gone(self, log: int, number: signal.Signals, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        signalled = None
        while not try_lock(log):
            pid = self._find_pid()
            if pid not in (None, signalled):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
                signalled = pid
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _find_pid(self) -> int | None:
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        with suppress(OSError, ValueError):
            return int(self._folder.process_file.read_text(errors="replace").partition("\n")[0])
        return None

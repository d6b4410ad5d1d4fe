"""The service as its own process, on a socket."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

RATE_LIMITS = (
    "rate_limit_anonymous_per_minute",
    "rate_limit_user_per_minute",
    "rate_limit_login_per_minute",
    "rate_limit_login_address_per_minute",
)


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LiveServer:
    """`taskmanager serve`, on a free port of the loopback address, without rate limits unless they are given."""

    def __init__(self, environment: Mapping[str, str], log: Path, *, workers: int = 1) -> None:
        self.port = free_port()
        # Clients of it are made with verify=False: to load certificates takes longer than many requests.
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        unlimited = {name.upper(): "0" for name in RATE_LIMITS}
        defaults = {**unlimited, "PORT": str(self.port), "DRAIN_SECONDS": "0"}
        self._environment = {**os.environ, **defaults, **environment}
        self._command = [sys.executable, "-m", "taskmanager", "serve", "--workers", str(workers)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 30) -> None:
        """Start, and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                    return
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        self.stop(signal.SIGKILL)
        raise RuntimeError(f"the server did not get ready:\n{self.log.read_text()[-2000:]}")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

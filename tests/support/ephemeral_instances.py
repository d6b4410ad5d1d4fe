"""`taskmanager dev --ephemeral` as a process, and what there is of it on the machine."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from taskmanager.embedded.temporary_postgres import _parent

# As the service names its temporary folders.
_TEMPORARY = f"{_parent()}/taskmanager-"
# Of what an instance writes to the environment of its processes, or to their command lines.
_MARK = "TASK_MANAGER_TEST_MARK"
_PATIENCE_SECONDS = 120


class EphemeralInstance:
    """An instance that was started in a folder, with everything by which its processes are known."""

    def __init__(self, folder: Path, *options: str, cache: Path | None = None, **environment: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.url_file = folder / "url"
        self.mark = uuid.uuid4().hex
        self._databases = set[str]()
        self._pids = set[int]()
        self._segments_before = set(_shared_memory())
        clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", _MARK: self.mark}
        if cache is not None:
            clean["XDG_CACHE_HOME"] = str(cache)
        command = [sys.executable, "-P", "-m", "taskmanager", "dev", "--ephemeral", "--port", "0", "--no-demo"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--url-file", str(self.url_file), *options],
                env={**clean, **environment},
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    @property
    def url(self) -> str:
        """The address, once it serves."""
        wait_until(lambda: self.url_file.exists() or self.process.poll() is not None)
        assert self.url_file.exists(), self.log.read_text()
        return self.url_file.read_text().strip()

    @property
    def database(self) -> Path | None:
        """The temporary folder, which the watcher has in its command line."""
        self.processes()
        return Path(next(iter(self._databases))) if self._databases else None

    def processes(self) -> dict[int, str]:
        """Return the command lines of all its processes that run, by their ids."""
        found = {}
        for pid, words, surroundings in _all_processes():
            if f"{_MARK}={self.mark}" in surroundings:
                self._databases |= {word for word in words if word.startswith(_TEMPORARY)}
            elif not any(name in text for name in self._databases for text in (*words, *surroundings)):
                continue
            found[pid] = " ".join(words)
        self._pids |= set(found)
        return found

    def find(self, part: str) -> int | None:
        """Return the id of a process whose command line has this in it."""
        return next((pid for pid, line in self.processes().items() if part in line and pid != self.process.pid), None)

    def await_process(self, part: str) -> int:
        """Return the id of such a process as soon as there is one."""
        found: list[int | None] = [None]

        def is_there() -> bool:
            found[0] = self.find(part)
            return found[0] is not None or self.process.poll() is not None

        wait_until(is_there)
        assert found[0] is not None, self.log.read_text()
        return found[0]

    def assert_gone(self) -> None:
        """Wait until all of its processes have ended, then check that they left nothing."""
        self.processes()
        self.process.wait(_PATIENCE_SECONDS)
        wait_until(lambda: not self.processes(), lambda: f"{self.processes()}\n{self.log.read_text()}")
        wait_until(lambda: not any(Path(name).exists() for name in self._databases))
        assert not self.url_file.exists()
        assert not list(self.folder.glob("*.new"))
        made = {maker for segment, maker in _shared_memory().items() if segment not in self._segments_before}
        assert not self._pids & made

    def close(self) -> None:
        """End whatever is left of it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], describe: Callable[[], str] = str) -> None:
    """Return when a condition holds, or fail with a description of how it is instead."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.02)


def _all_processes() -> list[tuple[int, list[str], list[str]]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            surroundings = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            # A server process of PostgreSQL writes over both.
            surroundings.append(str((folder / "cwd").readlink()))
            if words != [""]:  # neither the kernel's nor a zombie
                found.append((int(folder.name), words, surroundings))
    return found


def _shared_memory() -> dict[int, int]:
    """Return which process has made each segment of memory, by the segments' ids."""
    names, *lines = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    identifier, maker = names.index("shmid"), names.index("cpid")
    return {int(line[identifier]): int(line[maker]) for line in lines}

"""CPU time and memory of processes and all their descendants, from /proc (Linux), and their limits."""

import os
import resource
import signal
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PARENT, _FIRST_TIME, _AFTER_LAST_TIME = 1, 11, 15  # fields of /proc/PID/stat after the name; see proc_pid_stat(5)


def _stat_fields(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def process_tree(root: int) -> list[int]:
    """Return the ids of a process and all its descendants, the root first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat_fields(int(folder.name))) is not None:
            children.setdefault(int(fields[_PARENT]), []).append(int(folder.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def cpu_seconds(root: int) -> float:
    """Return the CPU time, user and system, that a process tree has spent, children that ended included."""
    fields = (_stat_fields(pid) for pid in process_tree(root))
    ticks = sum(int(time) for found in fields if found for time in found[_FIRST_TIME:_AFTER_LAST_TIME])
    return ticks / _TICKS_PER_SECOND


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of one process, shared pages included, in MiB."""
    return _megabytes(Path(f"/proc/{pid}/status"), "VmRSS:")


def proportional_megabytes(pid: int) -> float:
    """Return the memory of one process in MiB, of shared pages its share only (PSS, proc_pid_smaps(5))."""
    return _megabytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _megabytes(file: Path, name: str) -> float:
    return next(int(line.split()[1]) / 1024 for line in file.read_text().splitlines() if line.startswith(name))


def allow_many_connections() -> None:
    """Let this process and those it starts open as many sockets as the system permits them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def worker_processes(root: int) -> list[int]:
    """Return the processes of the service that answer requests: its workers, or itself if there are none."""
    return process_tree(root)[1:] or [root]


def end_on_sigterm() -> None:
    """Let SIGTERM end the program like Ctrl-C, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)

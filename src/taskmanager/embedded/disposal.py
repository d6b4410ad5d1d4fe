"""Ends what belongs to a temporary cluster and deletes it, even if some of its processes have been killed."""

import os
import shutil
import signal
import time
from typing import Protocol

from taskmanager.embedded.data_folder import DataFolder, try_lock
from taskmanager.embedded.shared_memory import remove_left_segments

_QUIT_SECONDS = 5.0
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.01


class Processes(Protocol):
    """The server of a cluster, or all programs that work on it."""

    @property
    def has_ended(self) -> bool:
        """Whether none of them runs."""
        ...

    def send_signal(self, number: signal.Signals) -> None:
        """Send them a signal, if they run."""
        ...


def dispose(folder: DataFolder, processes: Processes) -> None:
    """End the processes of a cluster, without a checkpoint, and delete all that they left.

    The cluster must lie inside of its folder. What cannot be deleted is left.
    """
    if not _signal_until_gone(folder, processes, signal.SIGQUIT, _QUIT_SECONDS):
        _signal_until_gone(folder, processes, signal.SIGKILL, _KILL_SECONDS)
    for data in folder.path.glob("postgres*/data"):
        remove_left_segments(data)
    shutil.rmtree(folder.path, ignore_errors=True)


def _signal_until_gone(folder: DataFolder, processes: Processes, number: signal.Signals, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    if not _is_gone(folder, processes):
        processes.send_signal(number)
    while not _is_gone(folder, processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _is_gone(folder: DataFolder, processes: Processes) -> bool:
    # The server's own processes, which end by themselves when they lose it, all hold the lock of the open log.
    if not processes.has_ended:
        return False
    try:
        log = os.open(folder.log, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        return try_lock(log)
    finally:
        os.close(log)

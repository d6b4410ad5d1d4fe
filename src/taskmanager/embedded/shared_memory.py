"""The memory segment that marks a data directory as in use; a server that is killed leaves it to the next one.

It has some bytes, and its key is the number of the directory's inode (PostgreSQL's sysv_shmem.c).
"""

import ctypes
from contextlib import suppress
from pathlib import Path

# On Linux; elsewhere a segment stays until the machine is started again.
_SEGMENTS = Path("/proc/sysvipc/shm")
_IPC_RMID = 0
_KEY_BITS = 0xFFFF_FFFF


def remove_left_segments(data: Path) -> None:
    """Remove the segments of a data directory whose server has ended; nothing happens while a process uses them."""
    with suppress(OSError):
        found = data.stat()
        names, *lines = [line.split() for line in _SEGMENTS.read_text().splitlines()]
        for line in lines:
            segment = dict(zip(names, map(int, line), strict=True))
            is_of_directory = segment["key"] & _KEY_BITS == found.st_ino & _KEY_BITS and segment["uid"] == found.st_uid
            if is_of_directory and segment["nattch"] == 0:
                ctypes.CDLL(None).shmctl(segment["shmid"], _IPC_RMID, None)

"""TCP ports of the loopback address, for programs that tests start."""

import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return when a process listens on a port, within 10 s; its log says why it does not."""
    deadline = time.monotonic() + 10
    while not _is_listening(port):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

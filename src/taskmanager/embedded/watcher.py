"""The process that keeps a temporary PostgreSQL and deletes it: `python -m taskmanager.embedded.watcher`.

It starts the server, holds one end of a pipe and waits. When the other end closes, which is when the process that
began it has ended in whatever way, or when the server has, it deletes everything. It leads a session of its own, so
that what ends its beginner's terminal or process group does not reach it, and all programs of PostgreSQL stay in its
process group: should it be killed, its beginner ends that group and deletes the rest (`temporary_postgres.py`).
"""

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskmanager.embedded.binaries import find_binaries
from taskmanager.embedded.cluster import prepare_cluster
from taskmanager.embedded.data_folder import DataFolder
from taskmanager.embedded.disposal import dispose
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.programs import Programs, choose_account
from taskmanager.embedded.server import Server
from taskmanager.embedded.templates import find_templates

_LOOK_SECONDS = 0.5
# Nothing is to outlive the server, so nothing is written for a crash, and no memory lies outside of the folder.
_OPTIONS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "autovacuum": "off",
    "io_method": "sync",
    "dynamic_shared_memory_type": "mmap",
}


class Watcher:
    """Keeps the server of one folder as long as the pipe `lifeline` is open, from which it takes orders.

    It answers with lines of JSON to the pipe `reports`.
    """

    def __init__(self, path: Path, lifeline: int, reports: int) -> None:
        self._folder = DataFolder(path)
        self._lifeline = lifeline
        self._reports = reports
        self._server = Server(self._folder, _OPTIONS)
        self._templates = find_templates()
        self._start: Callable[[], str] = str
        self._given: list[Path] = []

    def run(self) -> None:
        """Start the server, keep it, and delete everything."""
        try:
            self._prepare()
            self._keep()
        except (EmbeddedPostgresError, OSError) as error:
            self._report(error=str(error))
        finally:
            for path in self._given:
                path.unlink(missing_ok=True)
            dispose(self._folder, self._server)

    def _prepare(self) -> None:
        self._folder.acquire()
        programs = Programs(choose_account(self._folder), leads_sessions=False)
        binaries = find_binaries(programs)
        is_copied = self._templates is not None and self._templates.copy(self._folder.cluster)
        prepare_cluster(self._folder, programs, binaries, is_synced=False)
        self._start = lambda: self._server.start(programs, binaries)
        self._report(url=self._start(), is_migrated=is_copied)

    def _keep(self) -> None:
        orders = b""
        while not self._server.has_ended:
            if not select.select([self._lifeline], [], [], _LOOK_SECONDS)[0]:
                continue
            received = os.read(self._lifeline, 65_536)
            if not received:
                return
            *complete, orders = (orders + received).split(b"\n")
            for order in complete:
                self._obey(**json.loads(order))

    def _obey(self, *, delete: str | None = None, save_template: bool = False) -> None:
        if delete is not None:
            self._given.append(Path(delete))
        if save_template:
            if self._templates is not None and not self._templates.has_this_version:
                self._server.stop()
                self._templates.save(self._folder.cluster)
                self._start()
            self._report(is_saved=True)

    def _report(self, **values: Any) -> None:
        with suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(self._reports, json.dumps(values).encode() + b"\n")


def main() -> None:
    """Watch over the folder and the two pipes that the command line names."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # It ends after its beginner. Were they ignored, PostgreSQL's programs would inherit that.
        signal.signal(number, lambda *_: None)
    path, lifeline, reports = sys.argv[1:]
    Watcher(Path(path), int(lifeline), int(reports)).run()


if __name__ == "__main__":
    main()

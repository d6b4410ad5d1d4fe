"""A PostgreSQL in a temporary folder, which is gone with this process, however it ends.

A second process, the watcher, starts the server and holds the end of a pipe whose other end this process has: see
`watcher.py`. Of the two, the one that is left deletes everything.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskmanager.embedded.data_folder import DataFolder
from taskmanager.embedded.disposal import dispose
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.templates import find_templates

_STOP_SECONDS = 20.0
# Where the server's socket can lie: see `server.py`.
_SOCKET_PATH = re.compile(r"[A-Za-z0-9_./-]{1,50}")


class TemporaryPostgres:
    """The server of a new folder, begun immediately and started meanwhile; `wait` for it before it is used."""

    def __init__(self) -> None:
        # The name is known before the folder is there, so that whatever was made can be deleted.
        self._folder = DataFolder(_parent() / f"taskmanager-{secrets.token_hex(8)}")
        orders, self._lifeline = os.pipe()
        self._reports, reports = os.pipe()
        try:
            command = [sys.executable, "-P", "-m", "taskmanager.embedded.watcher", str(self._folder.path)]
            self._watcher = subprocess.Popen(  # noqa: S603
                [*command, str(orders), str(reports)],
                pass_fds=(orders, reports),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(orders)
            os.close(reports)
        self._given: list[Path] = []
        self._received = b""
        self._is_open = True

    @property
    def reports(self) -> int:
        """A file that can be read when the watcher has ended, and with it the server."""
        return self._reports

    def wait(self) -> tuple[str, bool]:
        """Return the URL of the server when it answers, and whether its database is migrated already.

        Raises:
            EmbeddedPostgresError: The server cannot be started.
        """
        report = self._read_report()
        return report["url"], report["is_migrated"]

    def save_template(self) -> None:
        """Keep the database as it is for those that are started later; nobody may use it at the moment.

        Raises:
            EmbeddedPostgresError: The server does not start again.
        """
        self._order(save_template=True)
        self._read_report()

    def delete_at_end(self, path: Path) -> None:
        """Have a file deleted at the end as well."""
        self._given.append(path.absolute())
        self._order(delete=str(path.absolute()))

    def stop(self) -> None:
        """Stop the server and delete everything; more calls do nothing."""
        if not self._is_open:
            return
        self._is_open = False
        os.close(self._lifeline)
        with suppress(subprocess.TimeoutExpired):
            self._watcher.wait(_STOP_SECONDS)
        if self._watcher.returncode != 0:
            self._dispose()
        os.close(self._reports)

    def _dispose(self) -> None:
        for path in self._given:
            path.unlink(missing_ok=True)
        dispose(self._folder, _Group(self._watcher.pid))
        if (templates := find_templates()) is not None:
            templates.sweep()

    def _order(self, **values: Any) -> None:
        try:
            os.write(self._lifeline, json.dumps(values).encode() + b"\n")
        except BrokenPipeError:
            raise EmbeddedPostgresError("the temporary PostgreSQL has ended") from None

    def _read_report(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            received = os.read(self._reports, 65_536)
            if not received:
                raise EmbeddedPostgresError("the temporary PostgreSQL has ended")
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        report: dict[str, Any] = json.loads(line)
        if "error" in report:
            raise EmbeddedPostgresError(f"the temporary PostgreSQL cannot start: {report['error']}")
        return report


class _Group:
    """The process group of a watcher that has ended: all programs of PostgreSQL that it ran."""

    def __init__(self, group_id: int) -> None:
        self._id = group_id

    @property
    def has_ended(self) -> bool:
        try:
            os.killpg(self._id, 0)
        except ProcessLookupError:
            return True
        return False

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._id, number)


def _parent() -> Path:
    # Root's own temporary folder may be closed to the account of the server.
    own = Path(tempfile.gettempdir())
    return own if os.geteuid() != 0 and _SOCKET_PATH.fullmatch(str(own)) else Path("/tmp")  # noqa: S108

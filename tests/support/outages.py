"""A PostgreSQL of the test's own, which may be stopped and held still."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alembic import command

from taskmanager.database.schema_migrations import alembic_config
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from tests.support.pgbouncer import service_url


class FragilePostgres:
    """A migrated database, in one of the states `up`, `down` and `frozen`.

    The tests reach it at `url`, the service at `service_url`.
    """

    def __init__(self, postgres: EmbeddedPostgres, url: str) -> None:
        self.url = url
        self.service_url = url
        self._postgres = postgres
        self._state = "up"

    def enter(self, state: str) -> None:
        """Bring the server into a state, from whichever it is in."""
        if self._state == "frozen":
            self._signal_all(signal.SIGCONT)
        elif self._state == "down":
            self._postgres.start()
        self._state = state
        if state == "frozen":
            self._signal_all(signal.SIGSTOP)
        elif state == "down":
            self._postgres.stop()

    def _signal_all(self, number: signal.Signals) -> None:
        # The first process first, so that it makes no more.
        folder = (self._postgres.data_dir / "postgres").resolve() / "data"
        first = int((folder / "postmaster.pid").read_text().split()[0])
        os.kill(first, number)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == first:
                with suppress(ProcessLookupError):  # one that was about to end
                    os.kill(int(stat.parent.name), number)


@contextmanager
def fragile_postgres() -> Iterator[FragilePostgres]:
    """Yield a server of one's own."""
    with tempfile.TemporaryDirectory(prefix="outage-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # as root the database runs under another account
        postgres = EmbeddedPostgres(folder, options={"fsync": "off"})
        fragile = FragilePostgres(postgres, postgres.start())
        command.upgrade(alembic_config(fragile.url), "head")
        try:
            with service_url(fragile.url) as fragile.service_url:
                yield fragile
        finally:
            fragile.enter("up")
            postgres.stop()
            postgres.remove()

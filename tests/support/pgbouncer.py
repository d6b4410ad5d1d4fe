"""PgBouncer of this machine before a server of the tests: `apt-get install pgbouncer`, or PGBOUNCER names another.

It refuses to run as root, so started by root it runs as `nobody`, or as the owner of the server's socket. A server that
was given to the tests keeps the role that they make.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import URL, make_url

from taskmanager.database.server_settings import RoleSettings
from tests.support.ports import free_port, wait_for_port
from tests.support.server import execute_on

# The service's own, so that what is set for it changes nothing for other sessions of the tests.
ROLE = "taskmanager_pooled"
_PASSWORD = "of no use elsewhere"
_MODE = "TEST_POOLER"
_SERVER = "TEST_POOLER_SERVER"
_PORT = "TEST_POOLER_PORT"


class PgBouncer:
    """A running PgBouncer."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database_url: str) -> str:
        """Return the URL of a database of the server, by way of this and for the role of the service."""
        url = make_url(database_url).set(
            drivername="postgresql+asyncpg",
            host="127.0.0.1",
            port=self.port,
            username=ROLE,
            password=_PASSWORD,
            query={},
        )
        return url.render_as_string(hide_password=False)

    async def reconnect(self) -> None:
        """Open new server connections from now on."""
        console = await asyncpg.connect(host="127.0.0.1", port=self.port, user=ROLE, database="pgbouncer")
        await console.execute("RECONNECT")
        await console.close()


def find_pgbouncer() -> str | None:
    """Return the program, or None where there is none."""
    return os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


def set_up_role(server_url: str, *, is_set_up: bool = True) -> None:
    """Make the role of the service, a superuser, and set for it what a pooler in transaction mode needs."""
    from tests.conftest import make_settings

    found = {"role": ROLE, "database": "-"}
    statements = RoleSettings(make_settings(database_url=server_url)).statements(found) if is_set_up else []
    execute_on(
        server_url,
        f"DO $$ BEGIN CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{_PASSWORD}'; "
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        *(statement.replace(" IN DATABASE -", "") for statement in statements),
    )


def _as_account(server: URL) -> list[str]:
    if os.geteuid() != 0:
        return []
    # The owner of the server's socket may be the only one that may use it.
    folder = server.query.get("host")
    owner = Path(str(folder)).stat() if folder else None
    user, group = (owner.st_uid, owner.st_gid) if owner and owner.st_uid else (65534, 65534)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


@contextmanager
def pgbouncer(server_url: str, mode: str = "transaction", **options: str) -> Iterator[PgBouncer]:
    """Run PgBouncer before a server, with these options of its own; skip the test where it is not installed."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    server = make_url(server_url)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users.txt").write_text(f'"{ROLE}" "{_PASSWORD}"\n')
        host, server_port = (server.query.get(part) or getattr(server, part) for part in ("host", "port"))
        configuration = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": folder / "users.txt",
            "admin_users": ROLE,
            "pool_mode": mode,
            "server_login_retry": 1,
            "max_client_conn": 2000,
            **options,
        }
        lines = [f"[databases]\n* = host={host or '127.0.0.1'} port={server_port or 5432}\n[pgbouncer]"]
        lines += [f"{option} = {value}" for option, value in configuration.items()]
        (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        with (folder / "log").open("wb") as log:
            command = [*_as_account(server), program, f"{folder}/pgbouncer.ini"]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for_port(process, port, folder / "log")
            yield PgBouncer(port)
        finally:
            process.terminate()
            process.wait(20)


def wanted_mode() -> str | None:
    """Return the mode of the pooler that the service of all tests is to be reached by, if it is one."""
    return os.environ.get(_MODE) or None


def end_without_pooler() -> None:
    """End the run where PgBouncer is wanted and not installed."""
    if wanted_mode() is not None and find_pgbouncer() is None:
        pytest.exit("PgBouncer is not installed, nothing is tested: apt-get install pgbouncer", returncode=0)


@contextmanager
def pooled_run(server_url: str) -> Iterator[None]:
    """Lead the service of all tests through PgBouncer while the block runs, if TEST_POOLER names its mode."""
    mode = wanted_mode()
    if mode is None:
        yield
        return
    set_up_role(server_url)
    with pgbouncer(server_url, mode) as pooler, pytest.MonkeyPatch.context() as patch:
        # In the environment, which the processes that tests start inherit.
        patch.setenv(_SERVER, server_url)
        patch.setenv(_PORT, str(pooler.port))
        yield


@contextmanager
def service_url(server_url: str) -> Iterator[str]:
    """Yield the URL of a server of the test's own for the service: through a PgBouncer of its own in a pooled run."""
    mode = wanted_mode()
    if mode is None:
        yield server_url
        return
    set_up_role(server_url)
    with pgbouncer(server_url, mode) as pooler:
        yield pooler.url(server_url)


def through_pooler(database_url: str) -> str:
    """Return the URL by which the service reaches a database of the tests' server: another in a pooled run."""
    if _PORT not in os.environ:
        return database_url
    try:
        there, here = make_url(os.environ[_SERVER]), make_url(database_url)
    except ValueError:
        return database_url
    if any(getattr(there, part) != getattr(here, part) for part in ("host", "port", "username", "query")):
        return database_url
    return PgBouncer(int(os.environ[_PORT])).url(database_url)


def around_pooler(database_url: str) -> str:
    """Return the URL by which the tests' own sessions reach a database that the service reaches by this one."""
    if _PORT not in os.environ or make_url(database_url).port != int(os.environ[_PORT]):
        return database_url
    return make_url(os.environ[_SERVER]).set(database=make_url(database_url).database).render_as_string(False)

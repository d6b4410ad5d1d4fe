"""Finds a PostgreSQL server for the tests: a given one, a container, or the embedded wheel."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy import URL, make_url

# Nothing here has to survive a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


@dataclass(frozen=True)
class Server:
    """A server that can be started for the tests, and where it comes from.

    `start` yields a URL with the right to create databases.
    """

    origin: str
    start: Callable[[], AbstractContextManager[str]]


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, timeout=20, check=False).returncode == 0


@contextmanager
def _given() -> Iterator[str]:
    url = make_url(os.environ["TEST_DATABASE_URL"])
    yield url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


@contextmanager
def _container() -> Iterator[str]:
    with warnings.catch_warnings():
        # Of the library's own making, at import.
        warnings.simplefilter("ignore", DeprecationWarning)
        from testcontainers.community.postgres import PostgresContainer
    options = " ".join(f"-c {name}={value}" for name, value in FAST.items())
    with PostgresContainer("postgres:18", driver="asyncpg").with_command(f"postgres {options}") as container:
        yield container.get_connection_url()


@contextmanager
def _embedded() -> Iterator[str]:
    from taskmanager.embedded.embedded_postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory(prefix="taskmanager-test-") as folder:
        # As root the server runs under another account, which has to reach the folder.
        Path(folder).chmod(0o711)
        postgres = EmbeddedPostgres(Path(folder), options=FAST)
        try:
            yield postgres.start()
        finally:
            postgres.stop()
            postgres.remove()


def find_server() -> Server:
    """Return the server to start: `TEST_DATABASE_URL`, else a container, else the embedded one.

    `TEST_POSTGRES` set to `container` or `embedded` asks for that one, whatever else is there.
    """
    wanted = os.environ.get("TEST_POSTGRES", "")
    if os.environ.get("TEST_DATABASE_URL") and not wanted:
        return Server("TEST_DATABASE_URL", _given)
    if wanted == "container" or (not wanted and _docker_answers()):
        return Server("testcontainers, image postgres:18", _container)
    return Server("the embedded wheel", _embedded)


def database_on(server_url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def execute_on(server_url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own, from synchronous code."""

    async def run() -> None:
        connection = await connect(make_url(server_url))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


async def connect(url: URL) -> "asyncpg.Connection[asyncpg.Record]":
    """Return a plain driver connection to a database."""
    return await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))

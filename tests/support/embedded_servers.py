"""What the tests of several files in tests/embedded share: embedded servers."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

import taskmanager

FAST = {"fsync": "off"}


SOURCES = Path(taskmanager.__file__).parents[1]


SERVICE_FOLDER = Path("/var/lib/taskmanager-embedded")


# Starts the server of the folder given, says so, and stops it when its input ends.
HOLDER = """
import sys
from pathlib import Path
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.embedded.errors import EmbeddedPostgresError
try:
    with EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}) as server:
        print(server.url, flush=True)
        sys.stdin.read()
except EmbeddedPostgresError as error:
    sys.exit(f"refused: {error}")
"""


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder every account can traverse, as pytest's own are closed to the server's account under root."""
    path = Path(tempfile.mkdtemp(prefix="tm-test-"))
    path.chmod(0o711)
    yield path
    for link in path.rglob("postgres"):
        if link.is_symlink() and link.resolve().parent == SERVICE_FOLDER:
            shutil.rmtree(link.resolve(), ignore_errors=True)
    shutil.rmtree(path)


def query(url: str, sql: str) -> str:
    async def run() -> str:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return str(await connection.fetchval(sql))
        finally:
            await connection.close()

    return asyncio.run(run())


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])

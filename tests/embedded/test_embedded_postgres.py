"""The private PostgreSQL server, on real servers: first start, crashes, leftovers, odd folders, root and not root."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.embedded.errors import EmbeddedPostgresError
from tests.support.embedded_servers import FAST, HOLDER, SOURCES, open_folder, query, server_pid


@pytest.fixture(scope="module")
def used_dir() -> Iterator[Path]:
    """A folder whose cluster exists already and is shared by the tests that need no new one."""
    with open_folder() as path:
        with EmbeddedPostgres(path / "data", FAST):
            pass
        yield path / "data"


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


def answers(url: str) -> bool:
    try:
        return query(url, "SELECT 1") == "1"
    except OSError:
        return False


def is_in_use(data_dir: Path) -> bool:
    """Return whether the command line of any process names something in the folder."""
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            if bytes(data_dir) in command_line.read_bytes():
                return True
    return False


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
    while not list(data_dir.glob("postgres.new-*/data/*")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)  # it does not go on when initdb ends before this test, on a busy machine
    deadline = time.monotonic() + 60
    while not list(data_dir.glob("postgres.new-*/data/PG_VERSION")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not (data_dir / "postgres").exists()
    while is_in_use(data_dir):  # initdb outlives it by its own work
        time.sleep(0.01)
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

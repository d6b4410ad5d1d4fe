"""`taskmanager dev --ephemeral`: it serves on its own, and however any of its processes ends, nothing stays."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.support.command_line import run
from tests.support.ephemeral_instances import EphemeralInstance, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes where Linux shows them")
Start = Callable[..., EphemeralInstance]
# Names of the processes in their command lines.
_WATCHER = "taskmanager.embedded.watcher"
_SERVER = "/bin/postgres -D"
_BACKEND = "postgres: taskmanager taskmanager"


def call(instance: EphemeralInstance, method: str, path: str, token: str = "") -> Any:
    """Make a request and return the JSON of the answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(instance.url + path, method=method, headers=headers), timeout=10) as response:
        content = response.read()
    return json.loads(content) if content else None


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of most instances here: the first one fills it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Start]:
    """Start instances, of which nothing is left after the test."""
    started: list[EphemeralInstance] = []

    def make(*options: str, cache: Path | None = cache, **environment: str) -> EphemeralInstance:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(EphemeralInstance(folder, *options, cache=cache, **environment))
        return started[-1]

    yield make
    for instance in started:
        instance.close()


@pytest.mark.takes_long
def test_instances_begin_empty_from_one_template_each_with_an_epoch_of_its_own(start: Start, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = start(cache=cache)
    assert call(first, "POST", "/testing/users")["user"]["id"] == 1
    template = next((cache / "taskmanager").glob("cluster-*"))
    assert cache.joinpath("taskmanager").stat().st_mode & 0o077 == 0
    made_at = template.stat().st_ino
    second, third = start(cache=cache), start(cache=cache)
    users = [call(instance, "POST", "/testing/users") for instance in (second, third)]
    assert [user["user"]["id"] for user in users] == [1, 1]
    assert template.stat().st_ino == made_at
    token = users[0]["access_token"]
    cursor = call(second, "GET", "/api/v1/changes", token)["cursor"]
    with pytest.raises(OSError, match="410"):
        call(third, "GET", f"/api/v1/changes?since={cursor}", users[1]["access_token"])
    for instance in (first, second, third):
        assert instance.database is not None
        assert instance.database.exists()
        instance.process.send_signal(signal.SIGTERM)
        assert instance.process.wait(30) == 0
        # When the command has ended all is gone, not soon after.
        assert not instance.processes()
        assert not instance.database.exists()
        instance.assert_gone()
    assert sorted(path.name for path in (cache / "taskmanager").iterdir()) == sorted([template.name, "lock"])


def test_it_ends_with_its_standard_input(start: Start) -> None:
    instance = start("--stop-with-stdin")
    assert instance.url
    assert instance.process.stdin is not None
    instance.process.stdin.write(b"ignored\n")
    instance.process.stdin.flush()
    assert call(instance, "GET", "/livez") == {"status": "alive"}
    instance.process.stdin.close()
    assert instance.process.wait(30) == 0
    instance.assert_gone()


def test_it_has_a_demo_unless_told_otherwise_and_short_tokens_if_asked(start: Start) -> None:
    instance = start("--demo", "--access-token-seconds", "7")
    assert "demo-password" in (instance.url and instance.log.read_text())
    form = b"username=demo&password=demo-password"
    with urlopen(Request(f"{instance.url}/api/v1/token", form), timeout=10) as response:
        assert json.load(response)["expires_in"] == 7


def may_read(instance: EphemeralInstance, origin: str) -> bool:
    """Return whether a browser lets a page of an origin read an answer."""
    with urlopen(Request(f"{instance.url}/health", headers={"Origin": origin}), timeout=10) as answer:
        return bool(answer.headers["Access-Control-Allow-Origin"] == origin)


def test_there_are_no_limits_and_no_folder_s_or_environment_s_secrets(start: Start) -> None:
    foreign = {"DATABASE_URL": "mysql://x", "SECRET_KEY": "short", "API_KEY": "x", "PGHOST": "elsewhere.invalid"}
    instance = start(**foreign)
    assert may_read(instance, "http://localhost:5173")
    assert not may_read(instance, "http://elsewhere.example")
    for _ in range(80):  # a client address has 60 requests a minute elsewhere
        call(instance, "POST", "/testing/users")
    limited = start(RATE_LIMIT_ANONYMOUS_PER_MINUTE="1", ALLOW_LOCAL_ORIGINS="false")
    assert not may_read(limited, "http://localhost:5173")
    call(limited, "POST", "/testing/users")
    with pytest.raises(OSError, match="429"):
        call(limited, "POST", "/testing/users")


def kill(instance: EphemeralInstance, pid: int) -> None:
    """Kill a process of an instance, then wait until nothing of it is left."""
    os.kill(pid, signal.SIGKILL)
    instance.assert_gone()


@pytest.mark.parametrize("victim", ["itself", _WATCHER, _SERVER])
def test_nothing_is_left_when_one_is_killed_while_it_serves(start: Start, victim: str) -> None:
    instance = start()
    call(instance, "POST", "/testing/users")
    kill(instance, instance.process.pid if victim == "itself" else instance.await_process(victim))
    if victim != "itself":
        assert instance.process.returncode == 1


def test_a_backend_that_is_killed_is_replaced(start: Start) -> None:
    instance = start()
    call(instance, "POST", "/testing/users")
    os.kill(instance.await_process(_BACKEND), signal.SIGKILL)

    def serves_again() -> bool:
        try:
            return bool(call(instance, "POST", "/testing/users"))
        except OSError:
            return False

    wait_until(serves_again)


@pytest.mark.parametrize("victim", ["itself", _WATCHER])
@pytest.mark.parametrize("stage", ["initdb", "--boot", _SERVER, "copying"])
def test_nothing_is_left_when_one_is_killed_while_the_first_starts(
    start: Start, tmp_path: Path, stage: str, victim: str
) -> None:
    """Without a template it goes through every stage: a new cluster, its migration, and the copy for later ones."""
    cache = tmp_path / "cache"
    instance = start(cache=cache)
    pid = instance.process.pid if victim == "itself" else instance.await_process(victim)
    if stage == "copying":
        wait_until(lambda: bool(list(cache.glob("taskmanager/cluster-*"))))
    else:
        instance.await_process(stage)
    kill(instance, pid)
    assert not [path.name for path in cache.rglob("*.new")]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--url-file", "url"], "--url-file needs --ephemeral"),
        (["--access-token-seconds", "5"], "--access-token-seconds needs --ephemeral"),
        (["--stop-with-stdin"], "--stop-with-stdin needs --ephemeral"),
        (["--port", "0"], "--port 0 needs --ephemeral"),
        (["--ephemeral", "--reload"], "--reload does not go with --ephemeral"),
        (["--ephemeral", "--port", "0", "--url-file", "no/such/url"], "--url-file: cannot write no/such/url"),
        (["--ephemeral", "--port", "0", "--stop-with-stdin"], "--stop-with-stdin needs a pipe at standard input"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, arguments: list[str], reason: str) -> None:
    refused = run("dev", *arguments, environment={"DATA_DIR": str(tmp_path / "data")}, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"taskmanager: {reason}"), refused.stderr


def test_a_port_that_is_taken_is_named(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("dev", "--ephemeral", "--port", str(port), environment={}, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == f"taskmanager: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_folder_that_others_could_write_to_is_no_cache(start: Start, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "taskmanager").mkdir(parents=True)
    (cache / "taskmanager").chmod(0o777)
    instance = start(cache=cache)
    assert instance.url
    assert not list((cache / "taskmanager").iterdir())

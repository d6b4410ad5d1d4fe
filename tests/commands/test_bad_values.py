"""Each setting with each kind of bad value: one line that names the variable, and exit code 2."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le

from taskmanager.settings import METRICS_FOLDER_VARIABLE, Settings
from tests.support.command_line import run
from tests.support.ports import free_port

SECRET = "0123456789abcdef0123456789abcdef"
GOOD = {"SECRET_KEY": SECRET, "DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "DATABASE_WAIT_SECONDS": "0"}
OF_TEXTS = {
    "database_url": ["x", "mysql://h/d", "postgresql://h:99999/d", "postgresql://h/d?x=1", "postgresql://\udcff/d"],
    "secret_key": ["short", "\udcff" * 40],
    "secret_key_previous": ["short", "\udcff" * 40],
    "api_key": ["short", "\udcff" * 40],
    "metrics_token": ["short", "\udcff" * 40],
    "allowed_origins": ["x", "[", "[1]", '{"a": 1}', "https://a.example/x", "*", "\udcff"],
    "trusted_proxies": ["x", "10.0.0.0/33", "10.0.0.1:80", "\udcff"],
    "database_direct_url": [
        "x",
        "mysql://h/d",
        "postgresql://h:99999/d",
        "postgresql://h/d?x=1",
        "postgresql://\udcff/d",
    ],
    "database_pooler": ["session", "x", "\udcff"],
    "webhook_allowed_hosts": ["http://x", "a b", "a:80", "a/b", "\udcff"],
    "webhook_allowed_networks": ["x", "10.0.0.0/33", "10.0.0.1:80", "\udcff"],
    "root_path": ["x", "/a b", "//h", "/..", "\udcff"],
    "host": ["x86_64-conda-linux-gnu", "a..b", "x" * 70, "203.0.113.1", "a\nb", "\udcff"],
    "data_dir": [],  # of `dev` alone, see below
    "debug": [],  # of many tools, so any word is read
}


def _bad_values(name: str, setting: Any) -> list[str]:
    if name in OF_TEXTS:
        return OF_TEXTS[name]
    if setting.annotation is bool:
        return ["maybe", "2", "\udcff"]
    bounds = {type(bound): bound for bound in setting.metadata}
    values = ["x", "1 MB", "1,5", "nan", "inf", "1e400", "\udcff", "-1"]
    if isinstance(least := bounds.get(Ge), Ge):
        values.append(str(int(least.ge) - 1))  # type: ignore[call-overload]
    if isinstance(above := bounds.get(Gt), Gt):
        values.append(str(above.gt))
    most = bounds[Le]
    assert isinstance(most, Le)
    return [*values, str(int(most.le) + 1), "9" * 5000]  # type: ignore[call-overload]


BAD = [(name, value) for name, setting in Settings.model_fields.items() for value in _bad_values(name, setting)]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_serve_names_the_variable_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    variable = name.upper()
    result = run("serve", environment={**GOOD, variable: value}, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("taskmanager: ")
    assert variable in result.stderr
    assert len(result.stderr) < 400
    if "secret" in name or name in {"api_key", "metrics_token"}:
        assert value not in result.stderr


@pytest.mark.parametrize("line", ["PORT=x", "SECRET_KEY=short", "ALLOWED_ORIGINS=x", "DATABASE_URL=postgresql://h:x/d"])
@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_bad_value_of_the_file(tmp_path: Path, command: str, line: str) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={SECRET}\n{line}\n")
    result = run(command, environment={}, cwd=tmp_path)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert line.partition("=")[0] in result.stderr


class TestFolders:
    """Folders that cannot be written to."""

    @pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300])
    def test_for_metrics(self, tmp_path: Path, folder: str) -> None:
        (tmp_path / "file").write_text("")
        environment = {**GOOD, METRICS_FOLDER_VARIABLE: str(tmp_path / folder)}
        for command in ("serve", "dev"):
            result = run(command, environment={**environment, "PORT": str(free_port())}, cwd=tmp_path)
            lines = [line for line in result.stderr.splitlines() if "SECRET_KEY" not in line]
            assert (result.returncode, len(lines)) == (2, 1)
            assert lines[0].startswith(f"taskmanager: {METRICS_FOLDER_VARIABLE}: cannot write to ")

    @pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300])
    def test_for_data(self, tmp_path: Path, folder: str) -> None:
        (tmp_path / "file").write_text("")
        result = run("dev", environment={"DATA_DIR": folder, "PORT": str(free_port())}, cwd=tmp_path)
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
        assert result.stderr.startswith("taskmanager: DATA_DIR: ")


class TestForeignVariables:
    """What the shell has for other tools does not configure `dev`."""

    @pytest.mark.parametrize("host", ["x86_64-conda-linux-gnu", "203.0.113.1"])
    def test_a_host_that_is_none(self, tmp_path: Path, host: str) -> None:
        result = run("dev", environment={"HOST": host, "DATA_DIR": "data", "PORT": str(free_port())}, cwd=tmp_path)
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
        assert result.stderr.rstrip().endswith("HOST must be an address of this machine, or unset")

    @pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEY_PREVIOUS", "API_KEY", "METRICS_TOKEN", "api_key"])
    def test_an_exported_secret(self, tmp_path: Path, name: str) -> None:
        code = """
            import json, os, sys
            from pathlib import Path
            from taskmanager.commands import develop
            develop._forget_foreign_secrets()
            found = develop._development_settings()
            names = ("secret_key", "secret_key_previous", "api_key", "metrics_token")
            print(json.dumps([found and value.get_secret_value() if (value := getattr(found, name)) else None
                              for name in names]))
        """
        environment = {"PATH": os.environ["PATH"], "HOME": "/", "DATA_DIR": "data", name: "foreign" * 10}
        field = name.lower()
        for line, expected in (("", None), (f"{field}={SECRET}\n", SECRET)):
            (tmp_path / ".env").write_text(line)
            lines = [one.removeprefix(" " * 12) for one in code.splitlines()]
            done = subprocess.run(
                [sys.executable, "-c", "\n".join(lines)],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            )
            names = ("secret_key", "secret_key_previous", "api_key", "metrics_token")
            found = dict(zip(names, json.loads(done.stdout), strict=True))
            own = (tmp_path / "data" / "secret_key").read_text() if field == "secret_key" and not line else expected
            assert found[field] == own
            assert done.stderr == (
                f"taskmanager: {name} of the environment is not used; `dev` takes it from .env only\n"
            )


def _catches_interrupt(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) & 1 << (signal.SIGINT - 1))


def _is_seen_in_main(process: "subprocess.Popen[str]") -> bool:
    """Wait until a command's own code runs; on a busy machine that moment may pass unseen."""
    deadline = time.monotonic() + 5
    # The interpreter prints a traceback by itself while it starts, before any code of ours runs.
    for is_caught in (True, False):
        while _catches_interrupt(process.pid) is not is_caught:
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.001)
    return True


def _started(command: str, environment: dict[str, str], folder: Path) -> "subprocess.Popen[str]":
    # A shell starts what it runs in the background with the interrupt ignored.
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "taskmanager", *command.split()],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "command", ["serve", "dev", "migrate", "doctor", "openapi", "key create u --name k --scope admin"]
)
def test_ctrl_c_in_the_first_second_prints_no_traceback(tmp_path: Path, command: str) -> None:
    # Nobody answers at that address, so that a command which has read its settings waits.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/",
        "DATA_DIR": str(tmp_path / "data"),
        "SECRET_KEY": SECRET,
        "DATABASE_URL": "postgresql://u@192.0.2.1/d",
        "PORT": str(free_port()),
    }
    for milliseconds in (0, 20, 100, 300, 600):
        while not _is_seen_in_main(process := _started(command, environment, tmp_path)):
            process.kill()
            process.communicate()
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=30)[0]
        assert "Traceback" not in printed, (milliseconds, printed)
        assert "KeyboardInterrupt" not in printed

"""The unit in docs/operations.md is one that systemd takes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
PROGRAM = "/opt/taskmanager/.venv/bin/taskmanager"


def documented_unit() -> str:
    written = re.search(r"```ini\n(\[Unit\]\n.*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert written is not None
    return written[1]


def test_the_unit_restarts_what_ends_unasked_and_opens_enough_files() -> None:
    settings = dict(line.split("=", 1) for line in documented_unit().splitlines() if "=" in line)
    assert settings["ExecStart"].startswith(f"{PROGRAM} serve ")
    # Right as long as an end that nobody asked for is no exit code 0: see test_workers.py.
    assert settings["Restart"] == "on-failure"
    assert int(settings["LimitNOFILE"]) > 2 * 2_000  # requests in flight, each with its connection, and the database's


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "taskmanager.service"
    # It looks for the program, too.
    unit.write_text(documented_unit().replace(PROGRAM, str(Path(sys.executable).with_name("taskmanager"))))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = [line for line in (result.stdout + result.stderr).splitlines() if "taskmanager" in line]
    assert (result.returncode, told) == (0, [])

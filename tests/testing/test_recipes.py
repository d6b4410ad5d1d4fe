"""The recipes of docs/testing-your-client.md, run as they are written, in projects of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.recipes import ROOT, recipe

_TIMEOUT_SECONDS = 300
_VITEST = Path(__file__).parent / "vitest"


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command to its good end and return what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PG", "DATABASE"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_fixture_of_pytest_in_an_empty_project(tmp_path: Path) -> None:
    (tmp_path / "test_tasks.py").write_text(recipe("pytest"))
    (tmp_path / "test_twice.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.parametrize('n', range(3))\n"
        "def test_it_is_empty(task_manager, n):\n"
        "    task_manager.create_user(username='alice')\n"
    )
    # What the client under test has in its folder and its environment is not the service's.
    (tmp_path / ".env").write_text("DATABASE_URL=nonsense\nSECRET_KEY=short\nPORT=none\n")
    said = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        cwd=tmp_path,
        DATABASE_URL="mysql://elsewhere",
        SECRET_KEY="short",
        API_KEY="short",
        PGHOST="elsewhere.invalid",
    )
    assert "4 passed" in said


def test_options_stand_in_the_configuration_of_pytest(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing-your-client.md").read_text()
    written = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert written is not None
    (tmp_path / "pyproject.toml").write_text(written[1])
    (tmp_path / "test_tokens.py").write_text(
        "import json\n"
        "from urllib.request import Request, urlopen\n\n"
        "def test_they_end_soon(task_manager):\n"
        "    answer = urlopen(Request(task_manager.url + '/testing/users', method='POST'))\n"
        "    assert json.load(answer)['expires_in'] == 2\n"
    )
    assert "1 passed" in run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)


def test_an_instance_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntask_manager_options = --nonsense\n")
    (tmp_path / "test_tasks.py").write_text("def test_it(task_manager):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    assert done.returncode == 1
    assert "No such option: --nonsense" in done.stdout


@pytest.fixture(scope="module")
def vitest() -> Path:
    """Return the folder with vitest, installed once and kept."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js on this machine")
    modules = _VITEST / "node_modules"
    if not (modules / ".bin" / "vitest").exists():
        command = ["npm", "ci", "--silent"]
        done = subprocess.run(
            command, cwd=_VITEST, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"npm cannot install vitest: {done.stderr.strip()[-200:]}")
    return modules


def test_the_set_up_of_vitest(vitest: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(vitest)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(ROOT / "docs" / "examples" / "vitest-global-setup.ts", tmp_path)
    for name in ("vitest.config.ts", "tasks.test.ts"):
        (tmp_path / name).write_text(recipe(name))
    command = Path(sys.executable).with_name("taskmanager")
    said = run(str(vitest / ".bin" / "vitest"), "run", cwd=tmp_path, TASKMANAGER=str(command), NO_COLOR="1")
    assert re.search(r"Tests +1 passed", said)

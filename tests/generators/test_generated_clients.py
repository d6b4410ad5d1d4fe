"""Four generators make a client of the API's description; each is type-checked and does the same on the service.

Run by `make client-test`; it needs Node, and uv for the generator that is written in Python.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.live_server import LiveServer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "clients" / "generators"
PYTHON_GENERATOR = "openapi-python-client==0.29.1"
IN_NODE = ("openapi-typescript", "hey-api", "orval")


def call(*command: str, cwd: Path = FOLDER, **environment: str) -> str:
    """Run a command, which must succeed, and return what it said."""
    result = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **environment}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def bundled() -> None:
    """The clients of the generators in Node, type-checked by TypeScript at its strictest."""
    shutil.rmtree(FOLDER / "build", ignore_errors=True)
    for name in IN_NODE:
        call("npm", "run", "--silent", f"generate:{name}")
    call("npm", "run", "--silent", "types")
    call("npm", "run", "--silent", "bundle")


@pytest.mark.parametrize("name", IN_NODE)
def test_in_node(bundled: None, live_server: LiveServer, name: str) -> None:
    call("node", f"build/flows/{name}.mjs", live_server.url)


def test_in_python(live_server: LiveServer, tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    uv = str(ROOT / uv) if "/" in uv else uv
    document, made = str(ROOT / "docs" / "openapi.json"), tmp_path / "made"
    said = call(uv, "tool", "run", PYTHON_GENERATOR, "generate", "--path", document, "--output-path", str(made))
    assert "WARNING" not in said.upper(), said
    flow = str(FOLDER / "flows" / "openapi_python_client.py")
    run = (uv, "run", "--no-project", "--with", "httpx", "--with", "attrs", "--with", "python-dateutil", "python", flow)
    call(*run, live_server.url, cwd=tmp_path, PYTHONPATH=str(made))

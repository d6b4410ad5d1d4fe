"""The README says what is true: its tour runs, its table of settings is the code's."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from taskmanager.database.database import Database
from taskmanager.database_settings import DatabaseSettings
from taskmanager.settings import Settings
from tests.conftest import SECRET
from tests.support.live_server import RATE_LIMITS, LiveServer

README = Path(__file__).parents[2] / "README.md"


def settings_table() -> str:
    """Return the table of settings as the README must have it."""
    rows = ["| Variable | Default | What |", "|---|---|---|"]
    fields = {**Settings.model_fields, **DatabaseSettings.model_fields}
    for name, field in fields.items():
        default = field.default
        if default is PydanticUndefined:
            text = "required"
        elif default is None or default == ():
            text = "unset"
        elif isinstance(default, tuple):
            text = f"`{','.join(default)}`"
        else:
            text = f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{name.upper()}` | {text} | {field.description} |")
    return "\n".join(rows)


def test_the_table_of_settings_is_the_code_s() -> None:
    written = re.search(r"<!-- settings -->\n(.*?)\n?<!-- /settings -->", README.read_text(), re.DOTALL)
    assert written is not None
    assert written[1] == settings_table()


@pytest.fixture
def limited_server(database_url: str, tmp_path: Path) -> Iterator[LiveServer]:
    """The service with the rate limits that it is shipped with."""
    limits = {name.upper(): str(Settings.model_fields[name].default) for name in RATE_LIMITS}
    server = LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET, **limits}, tmp_path / "log")
    server.start()
    yield server
    server.stop()


def test_the_tour_runs_line_by_line(limited_server: LiveServer, database: Database) -> None:
    block = re.search(r"<!-- tour -->\n```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    script = block[1].replace("http://127.0.0.1:8000", limited_server.url)
    assert script != block[1]
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert '"status":"in_progress"' in lines[3]
    assert '"total":1' in lines[4]
    assert '"total":0' in lines[5]
    assert '"total":1' in lines[7]
    assert "/docs/problems#role-too-low" in lines[8]
    [stale] = [line for line in lines if "/docs/problems#stale-version" in line]
    changed = ["assignee_id", "due_at", "priority", "project_id", "status"]
    assert json.loads(stale)["changed_fields"] == changed
    assert '"body":"Done by Friday."' in lines[-1]

"""`serve` takes as many open files as it may have, and says where they do not suffice."""

import json
import subprocess
import sys

import pytest

_SERVE = """
import json, resource, sys
from taskmanager.server.open_files import raise_open_files
from taskmanager.settings import Settings
from taskmanager.telemetry.logs import configure_logging, log_writer

resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
configure_logging(readable=False)
raise_open_files(Settings(secret_key="x" * 32, _env_file=None, max_streams=1_000, max_requests_in_flight=500))
log_writer.close()
print(json.dumps({"soft": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}))
"""


@pytest.mark.parametrize(("hard", "suffices"), [(1_599, False), (1_600, True)])
def test_the_soft_limit_becomes_the_hard_one(hard: int, suffices: bool) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _SERVE, str(hard)], capture_output=True, text=True, check=True, timeout=60
    )
    *warnings, shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert shown == {"soft": hard}
    if suffices:
        assert warnings == []
    else:
        (warning,) = warnings
        assert (warning["level"], warning["limit"], warning["needed"]) == ("warning", hard, 1_600)

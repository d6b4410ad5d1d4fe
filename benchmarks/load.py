"""The load test: starts PostgreSQL and the service unless LOAD_HOST names one, and lets people work there.

LOAD_USERS (100) people arrive at LOAD_ARRIVALS_PER_SECOND (5) and work until LOAD_SECONDS (60) are over;
LOAD_WORKERS (2) processes serve them. The report is an HTML file in benchmarks/reports.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.database import embedded_postgres
from benchmarks.processes import end_on_sigterm
from benchmarks.servers import REPOSITORY, SERVICE, RunningServer, ServerKind, Size

_REPORTS = Path(__file__).parent / "reports"
# All people come from one address, and no limit is what this test is about.
_NO_LIMITS = {
    "RATE_LIMIT_ANONYMOUS_PER_MINUTE": "0",
    "RATE_LIMIT_USER_PER_MINUTE": "0",
    "RATE_LIMIT_LOGIN_PER_MINUTE": "0",
}


def main() -> int:
    """Run the load test and return 0 if not a single request failed."""
    host = os.environ.get("LOAD_HOST")
    if host:
        return _run_locust(host)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskmanager-load-")))
        postgres = stack.enter_context(embedded_postgres())
        kind = ServerKind(SERVICE, _NO_LIMITS)
        url = postgres.create("load")
        kind.migrate(url)
        server = RunningServer(kind, url, folder)
        stack.callback(server.stop)
        server.start(Size(int(os.environ.get("LOAD_WORKERS", "2"))))
        return _run_locust(server.url)


def _run_locust(host: str) -> int:
    _REPORTS.mkdir(exist_ok=True)
    report = _REPORTS / f"load-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.html"
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", "benchmarks/locustfile.py", "--host", host),
        *("--headless", "--only-summary", "--html", str(report), "--exit-code-on-error", "1", "--stop-timeout", "10"),
        *("--users", os.environ.get("LOAD_USERS", "100")),
        *("--spawn-rate", os.environ.get("LOAD_ARRIVALS_PER_SECOND", "5")),
        *("--run-time", f"{os.environ.get('LOAD_SECONDS', '60')}s"),
    ]
    code = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
    print(f"{'No request failed' if code == 0 else 'FAILED'}; report: {report}")
    return code


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())

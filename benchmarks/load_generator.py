"""One measurement: wrk sends one kind of work to one server while the CPU time of all processes is watched."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.database import Postgres
from benchmarks.processes import cpu_seconds
from benchmarks.rows import WORDS
from benchmarks.servers import RunningServer
from benchmarks.works import WORKS, Request, write_requests

_SCRIPT = Path(__file__).parent / "requests.lua"
_WARM_UP_SECONDS = 5
_SLOW_MS = 500  # a server that is slower than this still works when the load generator has gone
_TIMEOUT_SECONDS = 10  # a slower answer counts as broken


@dataclass(frozen=True)
class Measurement:
    """What wrk and /proc said: good answers a second, times and CPU time per request in milliseconds."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int
    broken: int
    unanswered: int
    server_cpu_ms: float
    postgres_cpu_ms: float

    @property
    def errors(self) -> int:
        """Answers of status 400 and above, and sockets that failed or waited too long."""
        return self.refused + self.broken

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name, rounded to what they are worth."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def send(
    server: RunningServer, work: str | Sequence[Request], *, connections: int, seconds: int, seed: int
) -> dict[str, float]:
    """Send requests of one kind for some seconds and return what the Lua script reports."""
    with tempfile.NamedTemporaryFile(prefix="taskmanager-requests-") as requests:
        write_requests(WORKS[work] if isinstance(work, str) else work, Path(requests.name))
        result = subprocess.run(
            [
                *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
                *("--timeout", f"{_TIMEOUT_SECONDS}s", "--script", str(_SCRIPT), server.url),
            ],
            env={
                **os.environ,
                "BENCH_REQUESTS": requests.name,
                "BENCH_CALLERS": str(server.callers_file),
                "BENCH_WORDS": ",".join(WORDS),
                "BENCH_SENT": str(server.sent),
                "BENCH_SEED": str(seed),
            },
            capture_output=True,
            text=True,
            check=True,
        )
    outcome: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    # Those without an answer were sent too.
    server.sent += int(outcome["requests"]) + connections
    return outcome


def warm_up(server: RunningServer, works: Sequence[str], *, connections: int = 64) -> None:
    """Send all works for some seconds after a start: Node translates and PostgreSQL plans what is asked often.

    Works that write are left out where there are others, since they leave more behind the faster a server is.
    """
    requests = [replace(request, weight=1) for work in works for request in WORKS[work]]
    reads = [request for request in requests if request.method == "GET"]
    send(server, reads or requests, connections=connections, seconds=_WARM_UP_SECONDS, seed=0)


def measure(
    server: RunningServer,
    postgres: Postgres,
    work: str | Sequence[Request],
    *,
    connections: int,
    seconds: int,
    seed: int,
) -> Measurement:
    """Measure one kind of work; a server that gave errors, or no answer, is started anew afterwards."""
    server_before, postgres_before = server.cpu_seconds(), cpu_seconds(postgres.pid)
    outcome = send(server, work, connections=connections, seconds=seconds, seed=seed)
    server_after, postgres_after = server.cpu_seconds(), cpu_seconds(postgres.pid)
    requests, refused = int(outcome["requests"]), int(outcome["refused"])
    measurement = Measurement(
        requests=requests,
        requests_per_second=(requests - refused) / outcome["seconds"],
        p50_ms=outcome["p50_ms"],
        p99_ms=outcome["p99_ms"],
        max_ms=outcome["max_ms"],
        refused=refused,
        broken=int(outcome["broken"]),
        # At least so many connections waited for an answer all the time, which wrk does not report.
        unanswered=max(0, connections - requests),
        server_cpu_ms=1000 * (server_after - server_before) / max(requests, 1),
        postgres_cpu_ms=1000 * (postgres_after - postgres_before) / max(requests, 1),
    )
    if measurement.errors or measurement.unanswered:
        server.restart()
    elif measurement.p99_ms > _SLOW_MS:
        server.wait_until_idle()
    return measurement

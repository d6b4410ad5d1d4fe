"""One measurement: wrk sends one kind of work to one server while the CPU time of all processes is watched."""

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.database import Postgres
from benchmarks.processes import cpu_seconds
from benchmarks.servers import RunningServer

WORKS = ("get", "list", "create", "update", "mix")
_SCRIPT = Path(__file__).parent / "requests.lua"
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
    server_cpu_ms: float
    postgres_cpu_ms: float

    @property
    def errors(self) -> int:
        """Answers of status 400 and above, and sockets that failed or waited too long."""
        return self.refused + self.broken

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name, rounded to what they are worth."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def send(server: RunningServer, work: str, *, connections: int, seconds: int, seed: int) -> dict[str, float]:
    """Send requests of one kind for some seconds and return what the Lua script reports."""
    result = subprocess.run(
        [
            *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
            *("--timeout", f"{_TIMEOUT_SECONDS}s", "--script", str(_SCRIPT), server.url),
        ],
        env={
            **os.environ,
            "BENCH_WORK": work,
            "BENCH_CALLERS": str(server.callers_file),
            "BENCH_SEED": str(seed),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    outcome: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return outcome


def measure(
    server: RunningServer, postgres: Postgres, work: str, *, connections: int, seconds: int, seed: int
) -> Measurement:
    """Measure one kind of work; a server that gave errors, or stood still, is started anew afterwards."""
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
        # At least so many connections waited for an answer all the time, which wrk does not report.
        broken=int(outcome["broken"]) + max(0, connections - requests),
        server_cpu_ms=1000 * (server_after - server_before) / max(requests, 1),
        postgres_cpu_ms=1000 * (postgres_after - postgres_before) / max(requests, 1),
    )
    if measurement.errors:
        server.restart()
    return measurement

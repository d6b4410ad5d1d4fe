"""How long single requests take in one project of very many tasks: figures to look at, without a bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.callers import read_callers, write_callers
from benchmarks.database import Postgres, execute
from benchmarks.load_generator import send, warm_up
from benchmarks.servers import RunningServer, ServerKind, Size

_SECONDS = 1
_USERS, _TASKS_OF_OTHERS = 1_000, 10  # others are there too, since PostgreSQL plans by what is usual
_LONGER_SECONDS = 10  # where nothing is answered in the first


@dataclass(frozen=True)
class Timing:
    """The median of one request at a time in milliseconds; None where none was answered, or one was an error."""

    server: str
    tasks: int
    work: str
    p50_ms: float | None


def time_large_projects(
    postgres: Postgres, kind: ServerKind, name: str, tasks: int, size: Size, works: Sequence[str], folder: Path
) -> list[Timing]:
    """Fill a database where one user has so many tasks in one project, and time each work there over one connection."""
    everything = tasks + _USERS * _TASKS_OF_OTHERS
    owner = f"CASE WHEN n <= {tasks} THEN 1 ELSE 1 + n % {_USERS} END"
    url = kind.prepare_database(postgres, name, users=_USERS, tasks=everything, owner=owner, teams=False)
    server = RunningServer(kind, url, folder)
    write_callers({1: read_callers(kind, url)[1]}, server.callers_file)
    server.start(size)
    try:
        warm_up(server, works, connections=1)
        timings = [Timing(kind.name, tasks, work, _median(server, work)) for work in works]
    finally:
        server.stop()
    execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")
    for timing in timings:
        print(f"{kind.name}: {tasks:,} tasks in one project, {timing.work}: {timing.p50_ms} ms", flush=True)
    return timings


def _median(server: RunningServer, work: str) -> float | None:
    for seconds in (_SECONDS, _LONGER_SECONDS):
        outcome = send(server, work, connections=1, seconds=seconds, seed=0)
        if outcome["refused"] or outcome["broken"]:
            break
        if outcome["requests"]:
            return outcome["p50_ms"]
    server.restart()
    return None

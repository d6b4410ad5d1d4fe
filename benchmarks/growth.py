"""How costs grow with tasks, projects, connections, workers and time: `python -m benchmarks.growth --help`."""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.callers import read_callers, tasks_of_users, write_callers
from benchmarks.database import Postgres, embedded_postgres, execute, fill_service
from benchmarks.growth_results import Results, with_span, write
from benchmarks.load_generator import measure, send
from benchmarks.machine import describe
from benchmarks.options import RESULTS
from benchmarks.processes import allow_many_connections, end_on_sigterm, resident_megabytes, worker_processes
from benchmarks.rows import EVENLY
from benchmarks.servers import SERVICE, RunningServer, ServerError, ServerKind, Size, missing_tools
from benchmarks.timed_client import TimedClient, timed_in_turns

SIZES = (10_000, 100_000, 1_000_000)
LARGEST_SIZE = 10_000_000
PROJECTS = (1, 100, 1_000)
CONNECTIONS = (64, 128, 256, 512, 1_000)
_USERS = 1_000
_PROJECT_TASKS = 20_000  # of each user who is asked for projects, spread evenly over them
_LATE_PAGE = 10_000  # pages of 20
_REQUESTS = 300
_COUNTED_REQUESTS = 30  # an exact count reads every row
_LARGEST_COUNTED = 1_000_000  # of more it may take longer than a request is given
_SECONDS = 4
_ROUNDS = 3
_LIST = "/api/v1/tasks?limit=20&count=none"
# The first user owns half of all tasks, in one project; the others share the rest.
_ONE_OWNS_HALF = "CASE WHEN n % 2 = 0 THEN 1 ELSE 1 + (n / 2) % :users END"
_PROJECT_ROWS = (
    "INSERT INTO projects (id, name) SELECT :first + n, 'Project ' || n FROM generate_series(1, :projects) AS n",
    """
    INSERT INTO project_members (project_id, user_id, role)
    SELECT :first + n, :user, 'owner' FROM generate_series(1, :projects) AS n
    """,
    """
    INSERT INTO tasks (project_id, title, description, created_by, created_at, updated_at)
    SELECT :first + 1 + n % :projects, 'Task ' || md5(CAST(n AS text)), 'Description ' || md5(CAST(-n AS text)), :user,
           CAST('2026-01-01' AS timestamptz) + make_interval(secs => n), now()
    FROM generate_series(1, :tasks) AS n ORDER BY n
    """,
)


class Growth:
    """One run, with what its parts share."""

    def __init__(self, stack: ExitStack, folder: Path, postgres: Postgres, options: argparse.Namespace) -> None:
        self.results = Results()
        self._stack = stack
        self._folder = folder
        self._postgres = postgres
        self._options = options
        self._random = random.Random(options.seed)

    def _database(self, name: str, *, users: int, tasks: int, owner: str = EVENLY, tasks_only: bool = True) -> str:
        url = self._postgres.create(name)
        ServerKind(SERVICE).migrate(url)
        started = time.monotonic()
        fill_service(url, users=users, tasks=tasks, owner=owner, teams=not tasks_only, discussed=not tasks_only)
        print(f"{name}: {tasks:,} tasks written in {time.monotonic() - started:.0f} s", flush=True)
        return url

    def _server(self, label: str, url: str, workers: int) -> RunningServer:
        server = RunningServer(ServerKind(label), url, self._folder)
        self._stack.callback(server.stop)
        server.start(Size(workers))
        return server

    def measure_tasks(self) -> None:
        """Time single requests on databases of different sizes, in turns."""
        servers = {}
        for size in self._options.sizes:
            url = self._database(f"tasks_{size}", users=_USERS, tasks=size, owner=_ONE_OWNS_HALF)
            servers[size] = self._server(f"tasks_{size}", url, 1)
        reads: dict[int, dict[str, Callable[[], float]]] = {}
        pages = {}
        for size, server in servers.items():
            client = TimedClient(server.url, server.kind.token(1))
            pages[size] = min(_LATE_PAGE, len(tasks_of_users(server.kind, server.database_url)[1]) // 20)
            reads[size] = {
                "get": partial(self._get_any, client, list(tasks_of_users(server.kind, server.database_url)[1])),
                "page 1": partial(client.get, _LIST),
                "late page": partial(client.get, f"{_LIST}&cursor={client.cursor_of_page(pages[size])}"),
            }
            if size <= _LARGEST_COUNTED:
                reads[size]["page 1, count=exact"] = partial(client.get, _LIST.replace("none", "exact"))
        medians = {
            what: timed_in_turns(
                {size: found[what] for size, found in reads.items() if what in found},
                _COUNTED_REQUESTS if "exact" in what else _REQUESTS,
            )
            for what in reads[min(reads)]
        }
        smallest = min(reads)
        self.results.add_table(
            "Milliseconds of one request by number of tasks; half of them are the caller's, in one project",
            ["Tasks", "Late page", *(f"{what} (x {smallest:,})" for what in medians), "late page / page 1"],
            [
                [
                    f"{size:,}",
                    f"{pages[size]:,}",
                    *(
                        f"{found[size]:.2f} ({found[size] / found[smallest]:.2f})" if size in found else "-"
                        for found in medians.values()
                    ),
                    f"{medians['late page'][size] / medians['page 1'][size]:.2f}",
                ]
                for size in servers
            ],
        )
        self.results.numbers["tasks"] = {"milliseconds": medians, "late_pages": pages}
        title = "One request by number of tasks"
        self.results.panels[title] = {
            what: list(found.items()) for what, found in medians.items() if "exact" not in what
        }
        self.results.labels[title] = ("tasks", "ms, median")
        for server in servers.values():
            server.stop()

    def _get_any(self, client: TimedClient, ids: Sequence[int]) -> float:
        return client.get(f"/api/v1/tasks/{self._random.choice(ids)}")

    def measure_projects(self) -> None:
        """Time the list of users who are in different numbers of projects."""
        url = self._database("projects", users=len(PROJECTS), tasks=0, owner="1")
        first = 1_000
        for user, projects in enumerate(PROJECTS, start=1):
            values = {"first": first, "projects": projects, "user": user, "tasks": _PROJECT_TASKS}
            execute(url, *(_with_numbers(statement, values) for statement in _PROJECT_ROWS))
            first += projects
        execute(url, "VACUUM ANALYZE")
        server = self._server("projects", url, 1)
        clients = {n: TimedClient(server.url, server.kind.token(user)) for user, n in enumerate(PROJECTS, start=1)}
        medians = timed_in_turns(
            {projects: partial(client.get, _LIST) for projects, client in clients.items()},
            _REQUESTS,
        )
        self.results.add_table(
            f"Milliseconds of page 1 by number of the caller's projects, together {_PROJECT_TASKS:,} tasks",
            ["Projects", "ms", "Ratio to one project"],
            [[f"{n:,}", f"{ms:.2f}", f"{ms / medians[PROJECTS[0]]:.2f}"] for n, ms in medians.items()],
        )
        self.results.numbers["projects"] = medians
        server.stop()

    def measure_load(self) -> None:
        """Measure throughput by connections and workers, and memory by time, on 100,000 tasks of 1,000 users."""
        url = self._database("load", users=_USERS, tasks=100_000, tasks_only=False)
        two = self._server("two_workers", url, 2)
        write_callers(read_callers(two.kind, url), two.callers_file)
        self._measure_connections(two)
        one = self._server("one_worker", url, 1)
        write_callers(read_callers(one.kind, url), one.callers_file)
        self._measure_workers({1: one, 2: two})
        one.stop()
        two.restart()
        self._measure_memory(two)
        two.stop()

    def _measure_connections(self, server: RunningServer) -> None:
        send(server, "mix", connections=64, seconds=2, seed=0)
        found: dict[int, list[Any]] = {connections: [] for connections in CONNECTIONS}
        for number in range(_ROUNDS):
            for connections in CONNECTIONS:
                found[connections].append(
                    measure(server, self._postgres, "mix", connections=connections, seconds=_SECONDS, seed=number)
                )
        rows, points = [], []
        for connections, samples in found.items():
            ratios = [
                sample.requests_per_second / base.requests_per_second
                for sample, base in zip(samples, found[CONNECTIONS[0]], strict=True)
            ]
            rate = statistics.median(sample.requests_per_second for sample in samples)
            p99 = statistics.median(sample.p99_ms for sample in samples)
            errors = sum(sample.errors for sample in samples)
            rows.append([str(connections), f"{rate:,.0f}", f"{p99:.0f}", str(errors), with_span(ratios)])
            points.append((float(connections), rate))
        self.results.add_table(
            "Mix by number of connections, two workers",
            ["Connections", "Requests/s", "p99 ms", "Errors", "Ratio to 64"],
            rows,
        )
        self.results.numbers["connections"] = {
            connections: [sample.as_dict() for sample in samples] for connections, samples in found.items()
        }
        self.results.panels["Mix by connections"] = {"requests/s": points}
        self.results.labels["Mix by connections"] = ("connections", "requests/s, median")

    def _measure_workers(self, servers: Mapping[int, RunningServer]) -> None:
        rates: dict[int, list[float]] = {workers: [] for workers in servers}
        for number in range(_ROUNDS):
            for workers, server in servers.items():
                send(server, "get", connections=64, seconds=1, seed=number)
                found = measure(server, self._postgres, "get", connections=64, seconds=_SECONDS, seed=number)
                rates[workers].append(found.requests_per_second)
        ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
        self.results.add_table(
            "Get by number of workers, 64 connections; PostgreSQL and the load generator share the cores",
            ["Workers", "Requests/s"],
            [[str(workers), f"{statistics.median(found):,.0f}"] for workers, found in rates.items()]
            + [["2 / 1", with_span(ratios)]],
        )
        self.results.numbers["workers"] = rates

    def _measure_memory(self, server: RunningServer) -> None:
        steps, seconds = self._options.memory_steps, self._options.memory_step_seconds
        outcomes: list[Mapping[str, float]] = []
        load = threading.Thread(
            target=lambda: outcomes.append(send(server, "mix", connections=64, seconds=steps * seconds + 2, seed=0))
        )
        workers = worker_processes(server.pid)
        resident = [[resident_megabytes(pid) for pid in workers]]
        load.start()
        for _ in range(steps):
            time.sleep(seconds)
            resident.append([resident_megabytes(pid) for pid in workers])
        load.join()
        title = "Memory of each worker under load"
        minutes = [step * seconds / 60 for step in range(steps + 1)]
        self.results.add_table(
            f"Resident MiB of each worker, mix at 64 connections, {outcomes[0]['requests']:,.0f} requests, "
            f"{outcomes[0]['refused'] + outcomes[0]['broken']:.0f} errors",
            ["Minutes", *(f"Worker {n}" for n in range(1, len(workers) + 1))],
            [[f"{minute:.1f}", *(f"{m:.1f}" for m in row)] for minute, row in zip(minutes, resident, strict=True)],
        )
        self.results.numbers["memory"] = {"seconds_per_step": seconds, "resident_mib": resident, "load": outcomes[0]}
        self.results.panels[title] = {
            f"worker {n + 1}": [(minute, row[n]) for minute, row in zip(minutes, resident, strict=True)]
            for n in range(len(workers))
        }
        self.results.labels[title] = ("minutes", "resident MiB")


def _with_numbers(statement: str, values: Mapping[str, int]) -> str:
    for name, value in values.items():
        statement = statement.replace(f":{name}", str(value))
    return statement


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    add = parser.add_argument
    add("--parts", default="tasks,projects,load", help="comma list of tasks, projects, load; all by default")
    add("--sizes", default=",".join(map(str, SIZES)), help="numbers of tasks, a comma list")
    add("--ten-million", action="store_true", help=f"measure {LARGEST_SIZE:,} tasks too")
    add("--memory-steps", type=int, default=10, help="how often memory is looked at, 10 by default")
    add("--memory-step-seconds", type=int, default=60, help="seconds between two looks, 60 by default")
    add("--seed", type=int, default=1, help="of the choice of tasks")
    add("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    options.sizes = [int(size) for size in options.sizes.split(",")] + [LARGEST_SIZE] * options.ten_million
    if missing := missing_tools([ServerKind(SERVICE)]):
        print(*missing, sep="\n", file=sys.stderr)
        return 2
    allow_many_connections()
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskmanager-benchmark-")))
            postgres = stack.enter_context(embedded_postgres())
            machine = describe(postgres)
            growth = Growth(stack, folder, postgres, options)
            for part in options.parts.split(","):
                getattr(growth, f"measure_{part}")()
    except (ServerError, subprocess.CalledProcessError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    write(growth.results, machine, options.output, time.monotonic() - started)
    return 0


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())

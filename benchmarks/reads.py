"""Measures every read of the API, benchmarked or not, or every write: `python -m benchmarks.reads --help`.

Every few requests Fastify's `get`, or what `--peer-work` names, is measured again, and each ratio is to the last of
these.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from benchmarks.callers import Values, read_callers, write_callers
from benchmarks.comparison import send as send_one
from benchmarks.comparison import spread_users
from benchmarks.database import Postgres, embedded_postgres, execute
from benchmarks.load_generator import Measurement, measure, send, warm_up
from benchmarks.machine import describe
from benchmarks.options import RESULTS, parse_numbers, parse_sizes
from benchmarks.processes import allow_many_connections, end_on_sigterm
from benchmarks.routes import Measured, UncoveredRouteError, requests_of
from benchmarks.servers import SERVICE, RunningServer, ServerError, ServerKind, Size, missing_tools
from benchmarks.spares import add_kept_rows, add_spares, read_all_callers
from benchmarks.verification import VerificationError
from benchmarks.works import WORKS

_PEER = "fastify"
_SIZES = {SERVICE: Size(2), _PEER: Size(1, 10)}
_WARM_UP_SECONDS = 1
_BETWEEN_PEERS_TURNS = 5  # requests that are measured until the peer has its next turn
_CALLERS = 2


@dataclass
class Line:
    """What was found for one request: measurements and ratios by number of connections."""

    route: str
    measured: Measured
    found: dict[int, list[Measurement]] = field(default_factory=dict)
    ratios: dict[int, list[float]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reads", description=(__doc__ or "").split(":")[0])
    add = parser.add_argument
    add("--kind", choices=("reads", "writes"), default="reads", help="what to measure, reads by default")
    add("--only", default="", help="measure only what has this in its route or name, such as /comments")
    add("--peer-work", choices=tuple(WORKS), default="get", help=f"what {_PEER} does beside it, get by default")
    add("--connections", type=parse_numbers, default=(64, 512), help="comma list, 64,512 by default")
    add("--rounds", type=int, default=1, help="how often everything is measured, once by default; 0 only checks all")
    add("--seconds", type=int, default=2, help="seconds of each measurement, 2 by default")
    add("--tasks", type=int, default=100_000, help="tasks in each database, 100000 by default")
    add("--users", type=int, default=1_000, help="users who work on them, at least 150, 1000 by default")
    add("--processes", type=parse_sizes, default={}, metavar="SERVER=N[xPOOL],...", help="instead of 2 and 1x10")
    add("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    measures = options.rounds > 0
    if measures and (missing := missing_tools([ServerKind(SERVICE), ServerKind(_PEER)])):
        print(*missing, sep="\n", file=sys.stderr)
        return 2
    allow_many_connections()
    sizes = _SIZES | options.processes
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskmanager-benchmark-")))
            postgres = stack.enter_context(embedded_postgres())
            machine = describe(postgres)
            service, template_url, callers = _start_service(stack, postgres, folder, options, sizes[SERVICE])
            lines = _lines(service, options)
            _verify(service, callers, lines)
            if not measures:
                return 0
            service.reset(postgres, template_url, sizes[SERVICE])
            peer = _start_peer(stack, postgres, folder, options, sizes[_PEER])
            _measure_all(postgres, service, peer, lines, options)
    except (VerificationError, ServerError, UncoveredRouteError, subprocess.CalledProcessError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    _report(lines, machine, sizes, options)
    return 0


def _start_service(
    stack: ExitStack, postgres: Postgres, folder: Path, options: argparse.Namespace, size: Size
) -> tuple[RunningServer, str, dict[int, Values]]:
    """Return the service, the URL of a database that holds what it began with, and the values of its callers."""
    kind, spare = ServerKind(SERVICE), options.kind == "writes"
    url = kind.prepare_database(postgres, "service", users=options.users, tasks=options.tasks)
    add_kept_rows(url, options.users)
    if spare:
        add_spares(url, options.users)
    server = RunningServer(kind, url, folder)
    stack.callback(server.stop)
    server.start(size)
    callers = read_all_callers(server, options.users, spare=spare)
    write_callers(callers, server.callers_file)
    server.stop()  # a database that is in use cannot be copied
    template_url = postgres.clone(url, "service_template")
    server.start(size)
    return server, template_url, callers


def _start_peer(
    stack: ExitStack, postgres: Postgres, folder: Path, options: argparse.Namespace, size: Size
) -> RunningServer:
    kind = ServerKind(_PEER)
    url = kind.prepare_database(postgres, "peer", users=options.users, tasks=options.tasks)
    server = RunningServer(kind, url, folder)
    stack.callback(server.stop)
    write_callers(read_callers(kind, url), server.callers_file)
    server.start(size)
    return server


def _lines(service: RunningServer, options: argparse.Namespace) -> list[Line]:
    """Return all requests that are chosen; those that delete come last."""
    with urllib.request.urlopen(f"{service.url}/openapi.json", timeout=10) as response:
        document = json.load(response)
    lines = []
    for route, measured in requests_of(document, options.kind):
        if isinstance(measured, str):
            print(f"{route} is left out: it {measured}", flush=True)
        elif options.only in f"{route} {measured.name}":
            lines.append(Line(route, measured))
    return sorted(lines, key=lambda line: line.route.startswith("DELETE"))


def _verify(service: RunningServer, callers: Mapping[int, Values], lines: Sequence[Line]) -> None:
    """Send every request for a few callers, and stop the run if one has not the status that it should have."""
    random = Random(0)
    users = spread_users(callers)[:_CALLERS]
    with httpx.Client(base_url=service.url, timeout=10) as client:
        for number, line in enumerate(lines):
            for place, user in enumerate(users):
                send_one(client, line.measured.request, callers[user], number * _CALLERS + place, random)
    print(f"{len(lines)} requests are answered as they should be", flush=True)


def _measure_all(
    postgres: Postgres, service: RunningServer, peer: RunningServer, lines: Sequence[Line], options: argparse.Namespace
) -> None:
    base: dict[int, float] = {}
    warm_up(peer, [options.peer_work])
    warm_up(service, ["get", "newest", "list_status"])
    for number in range(options.rounds):
        execute(postgres.url, "CHECKPOINT")
        for place, line in enumerate(lines):
            if place % _BETWEEN_PEERS_TURNS == 0:
                for connections in options.connections:
                    found = measure(
                        peer, postgres, options.peer_work, connections=connections, seconds=options.seconds, seed=number
                    )
                    base[connections] = found.requests_per_second
            _measure(postgres, service, line, base, number, options)


def _measure(
    postgres: Postgres,
    service: RunningServer,
    line: Line,
    base: Mapping[int, float],
    number: int,
    options: argparse.Namespace,
) -> None:
    requests = (line.measured.request,)
    send(service, requests, connections=min(options.connections), seconds=_WARM_UP_SECONDS, seed=number + 500)
    for connections in options.connections:
        found = measure(service, postgres, requests, connections=connections, seconds=options.seconds, seed=number)
        ratio = found.requests_per_second / base[connections] if base[connections] else float("nan")
        line.found.setdefault(connections, []).append(found)
        line.ratios.setdefault(connections, []).append(ratio)
        print(
            f"{line.route} {line.measured.name} {connections}: {found.requests_per_second:,.0f}/s, {ratio:.2f} of "
            f"{_PEER}'s {options.peer_work}, "
            f"p99 {found.p99_ms:.0f} ms, errors {found.errors}, unanswered {found.unanswered}",
            flush=True,
        )


def _report(
    lines: Sequence[Line], machine: dict[str, Any], sizes: Mapping[str, Size], options: argparse.Namespace
) -> None:
    heading = (
        f"{machine['cores']} cores ({machine['processor']}), revision {machine['revision']}; {options.rounds} rounds "
        f"of {options.seconds} s, {options.users:,} users, {options.tasks:,} tasks, processes: "
        + ", ".join(f"{name} {size}" for name, size in sizes.items())
        + f". Ratios are to {_PEER}'s {options.peer_work}."
    )
    heads = ["Request", "Kind"]
    for connections in options.connections:
        heads += [f"Requests/s at {connections}", "ratio", "p99 ms", "CPU ms, server + PostgreSQL", "errors"]
    rows = [heads, ["---"] * len(heads), *(_cells(line) for line in lines)]
    written = "\n".join((heading, "", *(f"| {' | '.join(cells)} |" for cells in rows)))
    options.output.mkdir(parents=True, exist_ok=True)
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = options.output / f"{options.kind}-{now}-{machine['revision']}"
    document = {
        "machine": machine,
        "processes": {name: str(size) for name, size in sizes.items()},
        "seconds": options.seconds,
        "requests": [
            {
                "route": line.route,
                "name": line.measured.name,
                "kind": line.measured.kind,
                "ratios": line.ratios,
                "rounds": {n: [each.as_dict() for each in found] for n, found in line.found.items()},
            }
            for line in lines
        ],
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text(written + "\n")
    print(f"\n{written}\n\nWritten to {path}.json and .md")


def _cells(line: Line) -> list[str]:
    cells = [f"{line.route} {line.measured.name}".strip(), line.measured.kind]
    for connections, found in line.found.items():
        unanswered = sum(each.unanswered for each in found)
        cells += [
            f"{statistics.median(each.requests_per_second for each in found):,.0f}",
            f"**{statistics.median(line.ratios[connections]):.2f}**",
            f"{statistics.median(each.p99_ms for each in found):.0f}",
            " + ".join(
                f"{statistics.median(cpu):.3f}"
                for cpu in zip(*((each.server_cpu_ms, each.postgres_cpu_ms) for each in found), strict=True)
            ),
            str(sum(each.errors for each in found)) + (f" (and {unanswered} unanswered)" if unanswered else ""),
        ]
    return cells


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())

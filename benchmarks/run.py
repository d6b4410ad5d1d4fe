"""Measures the service beside its peers: `python -m benchmarks.run --help`."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from benchmarks.database import Postgres, embedded_postgres, execute
from benchmarks.load_generator import WORKS, measure, send
from benchmarks.machine import describe, revision
from benchmarks.processes import allow_many_connections, end_on_sigterm
from benchmarks.servers import PEER_NAMES, REPOSITORY, SERVICE, RunningServer, ServerError, ServerKind, missing_tools
from benchmarks.summary import Sample, summarise, table
from benchmarks.verification import VerificationError

RESULTS = Path(__file__).parent / "results"
_WARM_UP_SECONDS = 1
_TRIAL_SECONDS = 2
_TRIAL_CONNECTIONS = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    kinds = _kinds(options)
    if missing := missing_tools(kinds):
        print(*missing, sep="\n", file=sys.stderr)
        return 2
    allow_many_connections()
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskmanager-benchmark-")))
            postgres = stack.enter_context(embedded_postgres())
            machine = describe(postgres)
            servers = [_prepare(stack, postgres, kind, folder, number, options) for number, kind in enumerate(kinds)]
            processes = {
                server.kind.name: _choose_processes(server, options.processes.get(server.kind.name), options.works)
                for server in servers
            }
            print(f"Processes of each server, fixed from here on: {processes}", flush=True)
            samples = _measure_all(postgres, servers, options)
    except (VerificationError, ServerError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    _report(samples, options, machine, kinds, processes)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    add = parser.add_argument
    everyone = (SERVICE, *PEER_NAMES)
    add("--servers", type=_names(everyone), default=everyone, help=f"comma list of {', '.join(everyone)}")
    add("--works", type=_names(WORKS), default=WORKS, help=f"comma list of {', '.join(WORKS)}")
    add("--connections", type=_numbers, default=(64, 512), help="comma list, 64,512 by default")
    add("--rounds", type=int, default=3, help="how often everything is measured, 3 by default")
    add("--seconds", type=int, default=4, help="seconds of each measurement, 4 by default")
    add("--tasks", type=int, default=100_000, help="tasks in each database, 100000 by default")
    add("--users", type=int, default=1_000, help="users who own them, 1000 by default")
    add("--seed", type=int, default=1, help="of the choice of users, tasks and works")
    add(
        "--processes",
        type=_process_counts,
        default={},
        metavar="SERVER=N,...",
        help="processes of these servers, instead of their better number of 1 and 2",
    )
    add("--baseline", help="the server that ratios refer to: fastify, or the first one without it")
    add("--env", type=_variable, action="append", default=[], metavar="NAME=VALUE", help="setting of taskmanager")
    add(
        *("--variant", "--variants"),
        type=_variant,
        action="append",
        default=[],
        metavar="LABEL:NAME=VALUE,...",
        help="one more server: taskmanager with these settings",
    )
    add(
        "--checkout",
        type=parse_checkout,
        action="append",
        default=[],
        metavar="LABEL:PATH",
        help="one more server: .venv/bin/taskmanager of another checkout",
    )
    add("--output", type=Path, default=RESULTS, help="folder for the results")
    return parser


def _names(known: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    return parse


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def _process_counts(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in map(_variable, text.split(","))}


def _label(text: str) -> tuple[str, str]:
    label, colon, rest = text.partition(":")
    if not (label.isidentifier() and colon) or label in (SERVICE, *PEER_NAMES):
        raise argparse.ArgumentTypeError(f"{text} does not begin with a new label of letters, digits and _ and a colon")
    return label, rest


def _variant(text: str) -> tuple[str, dict[str, str]]:
    label, rest = _label(text)
    return label, dict(_variable(variable) for variable in rest.split(",") if variable)


def parse_checkout(text: str) -> tuple[str, Path]:
    """Return the label and the folder of LABEL:PATH.

    Raises:
        argparse.ArgumentTypeError: The label is malformed or that of a server.
    """
    label, path = _label(text)
    return label, Path(path).absolute()


def _kinds(options: argparse.Namespace) -> list[ServerKind]:
    everywhere = dict(options.env)
    kinds = [ServerKind(name, everywhere if name == SERVICE else {}) for name in options.servers]
    kinds += [ServerKind(label, {**everywhere, **settings}) for label, settings in options.variant]
    kinds += [ServerKind(label, everywhere, checkout) for label, checkout in options.checkout]
    return kinds


def _prepare(
    stack: ExitStack, postgres: Postgres, kind: ServerKind, folder: Path, number: int, options: argparse.Namespace
) -> RunningServer:
    """Fill a database for the server, start it, and stop the whole run if it does not do what is measured."""
    url = kind.prepare_database(postgres, number, users=options.users, tasks=options.tasks)
    server = RunningServer(kind, url, folder)
    stack.callback(server.stop)
    server.write_callers()
    server.start(options.processes.get(kind.name, 1))
    try:
        server.verify()
    except VerificationError as error:
        raise VerificationError(f"{kind.name} fails verification: {error}") from error
    print(f"{kind.name}: verified", flush=True)
    return server


def _choose_processes(server: RunningServer, fixed: int | None, works: Sequence[str]) -> int:
    """Return the number of processes that does more of the works, and leave the server running with it.

    Of several works the geometric mean counts, so that none has more weight for being faster.
    """
    if fixed is not None:
        return fixed
    rates = {}
    for processes in (1, 2):
        if processes > 1:
            server.stop()
            server.start(processes)
        send(server, works[-1], connections=_TRIAL_CONNECTIONS, seconds=_TRIAL_SECONDS, seed=0)
        done = [send(server, work, connections=_TRIAL_CONNECTIONS, seconds=_TRIAL_SECONDS, seed=0) for work in works]
        rates[processes] = geometric_mean(max(outcome["requests"], 1) / outcome["seconds"] for outcome in done)
    print(
        f"{server.kind.name}: mean at {_TRIAL_CONNECTIONS} connections "
        f"{', '.join(f'{n} process(es) {r:,.0f}/s' for n, r in rates.items())}",
        flush=True,
    )
    best = max(rates, key=lambda processes: rates[processes])
    if best == 1:
        server.stop()
        server.start(1)
    return best


def _measure_all(postgres: Postgres, servers: Sequence[RunningServer], options: argparse.Namespace) -> list[Sample]:
    samples = []
    for number in range(1, options.rounds + 1):
        execute(postgres.url, "CHECKPOINT")
        for step, work in enumerate(options.works):
            first = (number + step) % len(servers)
            for server in (*servers[first:], *servers[:first]):
                seed = options.seed * 1000 + number
                send(server, work, connections=options.connections[0], seconds=_WARM_UP_SECONDS, seed=seed + 500)
                for connections in options.connections:
                    found = measure(server, postgres, work, connections=connections, seconds=options.seconds, seed=seed)
                    samples.append(Sample(number, server.kind.name, work, connections, found))
                    print(
                        f"round {number} {work:>6} {connections:>4} {server.kind.name:<20}"
                        f"{found.requests_per_second:>9,.0f}/s  p99 {found.p99_ms:>6.0f} ms  errors {found.errors}",
                        flush=True,
                    )
    return samples


def _report(
    samples: Sequence[Sample],
    options: argparse.Namespace,
    machine: dict[str, Any],
    kinds: Sequence[ServerKind],
    processes: dict[str, int],
) -> None:
    from benchmarks.charts import draw_ratios  # noqa: PLC0415 matplotlib takes a second, and --help does not need it

    names = [kind.name for kind in kinds]
    baseline = options.baseline or ("fastify" if "fastify" in names else names[0])
    figures = summarise(samples, names, baseline)
    written = table(figures, baseline)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{machine['revision']}"
    servers = {
        kind.name: {
            "processes": processes[kind.name],
            "environment": dict(kind.environment),
            "revision": revision(kind.checkout or REPOSITORY) if kind.is_service else None,
        }
        for kind in kinds
    }
    document = {
        "machine": machine,
        "baseline": baseline,
        "tasks": options.tasks,
        "users": options.users,
        "seconds": options.seconds,
        "servers": servers,
        "rounds": [
            {
                "round": sample.round,
                "server": sample.server,
                "work": sample.work,
                "connections": sample.connections,
                **sample.measurement.as_dict(),
            }
            for sample in samples
        ],
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    heading = (
        f"{machine['cores']} cores ({machine['processor']}), Python {machine['python']}, Node {machine['node']}, "
        f"PostgreSQL {machine['postgres']}, revision {machine['revision']}; {options.rounds} rounds of "
        f"{options.seconds} s, {options.tasks:,} tasks, processes: "
        + ", ".join(f"{name} {count}" for name, count in processes.items())
    )
    path.with_suffix(".md").write_text(f"{heading}\n\n{written}\n")
    draw_ratios(figures, baseline, path.with_suffix(".svg"))
    print(f"\n{heading}\n\n{written}\n\nWritten to {path}.json, .md and .svg")


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())

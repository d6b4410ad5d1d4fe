"""Measures the service beside its peers: `python -m benchmarks.run --help`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.callers import Values, read_callers, tasks_of_users, write_callers
from benchmarks.comparison import read_answers, require_same
from benchmarks.database import Postgres, embedded_postgres, execute, fetch
from benchmarks.feature_verification import verify_features
from benchmarks.large_projects import Timing, time_large_projects
from benchmarks.load_generator import measure, send, warm_up
from benchmarks.machine import describe
from benchmarks.options import build_parser
from benchmarks.processes import allow_many_connections, end_on_sigterm
from benchmarks.report import Outcome, report
from benchmarks.servers import SERVICE, RunningServer, ServerError, ServerKind, Size, missing_tools
from benchmarks.sizes import CONNECTIONS, Trial, best, choose_works, try_sizes
from benchmarks.summary import Sample
from benchmarks.verification import Caller, VerificationError, verify

_WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Prepared:
    """A server that was verified, the database that each round begins with, and what is known of its callers."""

    server: RunningServer
    template_url: str
    callers: dict[int, Values]

    @property
    def kind(self) -> ServerKind:
        """What is running."""
        return self.server.kind


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = build_parser().parse_args(arguments)
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
            _compare(servers, options.works)
            sizes, trials = _choose_sizes(servers, postgres, options)
            samples = _measure_all(postgres, servers, sizes, options)
            for each in servers:
                each.server.stop()
            timings = _time_large_projects(postgres, servers, sizes, folder, options)
    except (VerificationError, ServerError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    report(Outcome(samples, timings, trials), options, machine, kinds, sizes)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def _kinds(options: argparse.Namespace) -> list[ServerKind]:
    everywhere = dict(options.env)
    kinds = [ServerKind(name, everywhere if name == SERVICE else {}) for name in options.servers]
    kinds += [ServerKind(label, {**everywhere, **settings}) for label, settings in options.variant]
    kinds += [ServerKind(label, everywhere, checkout) for label, checkout in options.checkout]
    return kinds


def _prepare(
    stack: ExitStack, postgres: Postgres, kind: ServerKind, folder: Path, number: int, options: argparse.Namespace
) -> Prepared:
    """Fill a database for the server, start it on a copy, and stop the run if it does not do what is measured."""
    template_url = kind.prepare_database(postgres, f"template_{number}", users=options.users, tasks=options.tasks)
    server = RunningServer(kind, postgres.clone(template_url, f"benchmark_{number}"), folder)
    stack.callback(server.stop)
    prepared = Prepared(server, template_url, read_callers(kind, template_url))
    write_callers(prepared.callers, server.callers_file)
    server.start(options.processes.get(kind.name, Size()))
    try:
        verify_server(server)
    except VerificationError as error:
        raise VerificationError(f"{kind.name} fails verification: {error}") from error
    print(f"{kind.name}: verified", flush=True)
    server.reset(postgres, template_url, options.processes.get(kind.name, Size()))
    return prepared


def verify_server(server: RunningServer) -> None:
    """Check that a server does what is measured.

    Raises:
        VerificationError: It does not.
    """
    tasks = tasks_of_users(server.kind, server.database_url)
    user_id, stranger_id = 1, 1 + len(tasks) // 2  # neighbours share a project
    caller, stranger = (Caller(server.kind.token(user), tasks[user]) for user in (user_id, stranger_id))
    query = partial(fetch, server.database_url)

    def stored(task_id: int) -> tuple[str, str] | None:
        rows = query("SELECT title, status FROM tasks WHERE id = $1", task_id)
        return (rows[0]["title"], rows[0]["status"]) if rows else None

    verify(server.url, caller, stranger, stored)
    if server.kind.has_features:
        verify_features(server.url, caller, user_id, stranger, query)


def _compare(servers: Sequence[Prepared], works: Sequence[str]) -> None:
    """Check that all servers with the same features answer the same."""
    alike = [each for each in servers if each.kind.has_features]
    if len(alike) < 2:
        return
    ours, *others = alike
    answers = read_answers(ours.server.url, ours.callers, works)
    for other in others:
        theirs = read_answers(other.server.url, other.callers, works)
        require_same(
            answers,
            theirs,
            (ours.kind.name, other.kind.name),
            is_other_revision=other.kind.checkout != ours.kind.checkout,
        )
        print(f"{ours.kind.name} and {other.kind.name} answer the same", flush=True)


def _choose_sizes(
    servers: Sequence[Prepared], postgres: Postgres, options: argparse.Namespace
) -> tuple[dict[str, Size], list[Trial]]:
    """Return each server's size by its name, the given one or the best of its trials, and the trials."""
    sizes: dict[str, Size] = dict(options.processes)
    tried = [each for each in servers if each.kind.name not in sizes]
    trials = []
    for each in tried:
        works = choose_works(options.works, sum(len(server.kind.sizes()) for server in tried))
        found = try_sizes(each.server, postgres, each.template_url, works)
        sizes[each.kind.name] = best(found)
        trials += found
    chosen = {each.kind.name: sizes[each.kind.name] for each in servers}
    for name, size in chosen.items():
        print(f"{name}: processes {size}, fixed from here on", flush=True)
    return chosen, trials


def _measure_all(
    postgres: Postgres, servers: Sequence[Prepared], sizes: dict[str, Size], options: argparse.Namespace
) -> list[Sample]:
    samples = []
    for number in range(1, options.rounds + 1):
        for each in servers:
            each.server.reset(postgres, each.template_url, sizes[each.kind.name])
            warm_up(each.server, [work for work in options.works if each.kind.knows(work)])
        execute(postgres.url, "CHECKPOINT")
        for step, work in enumerate(options.works):
            first = (number + step) % len(servers)
            for server in (each.server for each in (*servers[first:], *servers[:first])):
                if not server.kind.knows(work):
                    continue
                seed = options.seed * 1000 + number
                warm_up_connections = min(CONNECTIONS, max(options.connections))
                send(server, work, connections=warm_up_connections, seconds=_WARM_UP_SECONDS, seed=seed + 500)
                for connections in options.connections:
                    found = measure(server, postgres, work, connections=connections, seconds=options.seconds, seed=seed)
                    samples.append(Sample(number, server.kind.name, work, connections, found))
                    print(
                        f"round {number} {work:>13} {connections:>4} {server.kind.name:<20}"
                        f"{found.requests_per_second:>9,.0f}/s  p50 {found.p50_ms:>6.1f}  p99 {found.p99_ms:>6.0f} ms"
                        f"  errors {found.errors}",
                        flush=True,
                    )
    return samples


def _time_large_projects(
    postgres: Postgres,
    servers: Sequence[Prepared],
    sizes: dict[str, Size],
    folder: Path,
    options: argparse.Namespace,
) -> list[Timing]:
    timings = []
    for number, each in enumerate(servers):
        if each.kind.has_features and each.kind.checkout is None:
            for tasks in options.project_sizes:
                name = f"large_{number}_{tasks}"
                size = sizes[each.kind.name]
                timings += time_large_projects(postgres, each.kind, name, tasks, size, options.works, folder)
    return timings


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())

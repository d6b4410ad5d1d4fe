"""What each index costs those who write: `python -m benchmarks.indexes --help`.

A work is measured with an index and without it, in turns; all tasks have a section and a day on which they are due, so
that no index leaves them out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.callers import read_callers, write_callers
from benchmarks.database import Postgres, embedded_postgres, execute, fetch
from benchmarks.growth_results import with_span
from benchmarks.load_generator import Measurement, measure, warm_up
from benchmarks.machine import describe
from benchmarks.options import RESULTS
from benchmarks.processes import allow_many_connections, end_on_sigterm
from benchmarks.servers import SERVICE, RunningServer, ServerError, ServerKind, Size, missing_tools

# The works that write a row into each index. Memberships change too seldom to be measured (`events_member_idx`).
INDEXES: Final = {
    "events_log_idx": ("update",),
    "events_project_log_idx": ("update",),
    "comments_id_idx": ("comment",),
    "comments_author_idx": ("comment",),
    "tasks_created_by_idx": ("create", "update"),
    "tasks_position_idx": ("create", "update"),
    "tasks_section_idx": ("update",),
    "tasks_due_idx": ("update",),
}
_FILL: Final = (
    "INSERT INTO sections (project_id, name) SELECT id, 'Now' FROM projects",
    """
    UPDATE tasks t
    SET section_id = s.id, due_on = CAST('2026-01-01' AS date) + CAST(t.id % 365 AS integer), due_at = NULL
    FROM sections s WHERE s.project_id = t.project_id
    """,
    "VACUUM ANALYZE tasks",
)
_WORKERS: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.indexes", description=(__doc__ or "").split(":")[0])
    add = parser.add_argument
    add("--only", default="", help="measure only the indexes whose name has this in it")
    add("--connections", type=int, default=64, help="connections that write at once, 64 by default")
    add("--rounds", type=int, default=5, help="how often everything is measured, 5 by default")
    add("--seconds", type=int, default=2, help="seconds of each measurement, 2 by default")
    add("--tasks", type=int, default=100_000, help="tasks in the database, 100000 by default")
    add("--users", type=int, default=1_000, help="users who work on them, 1000 by default")
    add("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    if missing := missing_tools([ServerKind(SERVICE)]):
        print(*missing, sep="\n", file=sys.stderr)
        return 2
    allow_many_connections()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskmanager-benchmark-")))
            postgres = stack.enter_context(embedded_postgres())
            machine = describe(postgres)
            kind = ServerKind(SERVICE)
            url = kind.prepare_database(postgres, "service", users=options.users, tasks=options.tasks)
            execute(url, *_FILL)
            server = RunningServer(kind, url, folder)
            stack.callback(server.stop)
            write_callers(read_callers(kind, url), server.callers_file)
            server.start(Size(_WORKERS))
            warm_up(server, ["update", "comment", "create"])
            found = _measure_all(postgres, server, url, options)
    except (ServerError, subprocess.CalledProcessError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    _report(found, machine, options)
    return 0


Found = dict[tuple[str, str], list[tuple[Measurement, Measurement]]]


def _measure_all(postgres: Postgres, server: RunningServer, url: str, options: argparse.Namespace) -> Found:
    """Return pairs of measurements, with each index and without it."""
    found: Found = {}
    for number in range(options.rounds):
        execute(postgres.url, "CHECKPOINT")
        for index in (name for name in INDEXES if options.only in name):
            [[definition]] = fetch(url, "SELECT pg_get_indexdef(CAST($1 AS regclass))", index)
            for work in INDEXES[index]:
                pair: dict[bool, Measurement] = {}
                # Who is measured first has the larger caches, or the smaller tables: each in turn.
                for has_index in (True, False) if number % 2 == 0 else (False, True):
                    execute(url, f"DROP INDEX IF EXISTS {index}", *([definition] if has_index else []), "ANALYZE tasks")
                    pair[has_index] = measure(
                        server, postgres, work, connections=options.connections, seconds=options.seconds, seed=number
                    )
                execute(url, f"DROP INDEX IF EXISTS {index}", definition)
                found.setdefault((index, work), []).append((pair[True], pair[False]))
                print(
                    f"{index} {work}: {pair[True].requests_per_second:,.0f}/s with it, "
                    f"{pair[False].requests_per_second:,.0f} without, errors {pair[True].errors + pair[False].errors}",
                    flush=True,
                )
    return found


def _report(found: Found, machine: dict[str, Any], options: argparse.Namespace) -> None:
    heading = (
        f"{machine['cores']} cores ({machine['processor']}), revision {machine['revision']}; {options.rounds} rounds "
        f"of {options.seconds} s, {options.connections} connections, {_WORKERS} workers, {options.users:,} users, "
        f"{options.tasks:,} tasks. Ratios are with the index to without it; PostgreSQL's milliseconds of processor "
        "time a request are medians."
    )
    lines = [
        heading,
        "",
        "| Index | Work | Requests/s, median (span) | PostgreSQL, ms, with and without |",
        "|---|---|---|---|",
    ]
    for (index, work), pairs in found.items():
        ratios = [one.requests_per_second / other.requests_per_second for one, other in pairs]
        times = (median(pair[place].postgres_cpu_ms for pair in pairs) for place in (0, 1))
        lines.append(f"| `{index}` | {work} | {with_span(ratios)} | {', '.join(f'{value:.3f}' for value in times)} |")
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"indexes-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{machine['revision']}"
    rounds = {
        f"{index} {work}": [[one.as_dict() for one in pair] for pair in pairs] for (index, work), pairs in found.items()
    }
    path.with_suffix(".json").write_text(json.dumps({"machine": machine, "measured": rounds}, indent=1) + "\n")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print(f"written to {path}.json and .md")


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())

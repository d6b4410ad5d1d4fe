"""How long the service takes to start, and how much memory it takes: `python -m benchmarks.start --help`."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.database import embedded_postgres
from benchmarks.machine import describe, revision
from benchmarks.options import RESULTS, parse_checkout
from benchmarks.processes import end_on_sigterm, process_tree, proportional_megabytes, resident_megabytes
from benchmarks.servers import SERVICE, RunningServer, ServerError, ServerKind, Size

WORKERS = (1, 2, 4)
_USERS = 10
_TASKS = 1_000
_WARMING_REQUESTS = 60
_LIST = "/api/v1/tasks?limit=20"
_IMPORT = "import time; import taskmanager.main; print(time.process_time())"
# Shows how fast the machine is at the moment.
_LOOP = "import time\nn = 0\nfor n in range(5_000_000): n += 1\nprint(time.process_time())"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is started, 5 by default")
    add("--workers", default=",".join(map(str, WORKERS)), help="numbers of workers, a comma list")
    add("--checkout", type=parse_checkout, action="append", default=[], metavar="LABEL:PATH", help="one more, in turns")
    add("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    workers = [int(number) for number in options.workers.split(",")]
    kinds = [ServerKind(SERVICE), *(ServerKind(label, checkout=folder) for label, folder in options.checkout)]
    starts: dict[tuple[str, int], list[dict[str, float]]] = {}
    loops: list[float] = []
    with tempfile.TemporaryDirectory(prefix="taskmanager-benchmark-") as folder, embedded_postgres() as postgres:
        machine = describe(postgres)
        try:
            url = kinds[0].prepare_database(postgres, "start", users=_USERS, tasks=_TASKS)
            for _ in range(options.rounds):
                loops.append(_processor_seconds(kinds[0].python, _LOOP))
                for number in workers:
                    for kind in kinds:
                        server = RunningServer(kind, url, Path(folder))
                        starts.setdefault((kind.name, number), []).append(_measure(server, number))
        except (ServerError, subprocess.CalledProcessError) as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
    _report(starts, loops, {**machine, "checkouts": _revisions(kinds)}, options.output)
    return 0


def _measure(server: RunningServer, workers: int) -> dict[str, float]:
    imported = _processor_seconds(server.kind.python, _IMPORT)
    credential = {"Authorization": f"Bearer {server.kind.token(1)}"}
    try:
        ready = server.start(Size(workers))
        for _ in range(_WARMING_REQUESTS):  # each over a connection of its own, so that every worker gets some
            request = urllib.request.Request(server.url + _LIST, headers=credential)
            with urllib.request.urlopen(request, timeout=10) as response:
                response.read()
        processes = process_tree(server.pid)
        return {
            "ready_seconds": ready,
            "import_seconds": imported,
            "largest_resident_mib": max(map(resident_megabytes, processes)),
            "proportional_mib": sum(map(proportional_megabytes, processes)),
        }
    finally:
        server.stop()


def _processor_seconds(python: Path, code: str) -> float:
    return float(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd="/").stdout)


def _revisions(kinds: Sequence[ServerKind]) -> dict[str, str]:
    return {kind.name: revision(kind.checkout) for kind in kinds if kind.checkout is not None}


def _report(
    starts: dict[tuple[str, int], list[dict[str, float]]], loops: list[float], machine: dict[str, Any], output: Path
) -> None:
    cores, processor, python, revised = (machine[name] for name in ("cores", "processor", "python", "revision"))
    lines = [
        f"{cores} cores ({processor}), Python {python}, revision {revised}",
        "",
        f"A loop of five million additions takes {_with_span(loops, 2)} s. The import is timed with the collector on.",
        *(f"\n{name}: revision {revised}." for name, revised in machine["checkouts"].items()),
        "",
        "| Server | Workers | First answer, s | Import, s of processor time | Largest process, MiB | All (PSS), MiB |",
        "|---|---|---|---|---|---|",
    ]
    for (name, workers), found in starts.items():
        columns = ("ready_seconds", 2), ("import_seconds", 2), ("largest_resident_mib", 0), ("proportional_mib", 0)
        cells = (_with_span([start[column] for start in found], digits) for column, digits in columns)
        lines.append(f"| {name} | {workers} | {' | '.join(cells)} |")
    print("\n".join(lines))
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"start-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{machine['revision']}"
    rounds = [{"server": name, "workers": workers, "starts": found} for (name, workers), found in starts.items()]
    document = {"machine": machine, "loop_seconds": loops, "servers": rounds}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print(f"written to {path}.json and .md")


def _with_span(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())

"""The files of a run: everything as JSON, the tables, the chart."""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.large_projects import Timing
from benchmarks.machine import revision
from benchmarks.servers import REPOSITORY, ServerKind, Size
from benchmarks.summary import Sample, summarise, table, timing_table


def report(
    samples: Sequence[Sample],
    timings: Sequence[Timing],
    options: argparse.Namespace,
    machine: dict[str, Any],
    kinds: Sequence[ServerKind],
    sizes: Mapping[str, Size],
) -> None:
    """Print the tables, and write them, the chart and all rounds to the folder of the options."""
    from benchmarks.charts import draw_ratios  # noqa: PLC0415 matplotlib takes a second, and --help does not need it

    names = [kind.name for kind in kinds]
    baseline = options.baseline or ("fastify" if "fastify" in names else names[0])
    figures = summarise(samples, names, baseline)
    heading = (
        f"{machine['cores']} cores ({machine['processor']}), Python {machine['python']}, Node {machine['node']}, "
        f"PostgreSQL {machine['postgres']}, revision {machine['revision']}; {options.rounds} rounds of "
        f"{options.seconds} s, {options.users:,} users, {options.tasks:,} tasks, processes: "
        + ", ".join(f"{name} {size}" for name, size in sizes.items())
    )
    written = "\n\n".join(
        (heading, table(figures, baseline), *([timing_table(timings, options.works)] if timings else []))
    )
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{machine['revision']}"
    document = {
        "machine": machine,
        "baseline": baseline,
        "tasks": options.tasks,
        "users": options.users,
        "seconds": options.seconds,
        "servers": {kind.name: _server(kind, sizes[kind.name]) for kind in kinds},
        "rounds": [_round(sample) for sample in samples],
        "large_projects": [asdict(timing) for timing in timings],
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text(written + "\n")
    draw_ratios(figures, baseline, path.with_suffix(".svg"))
    print(f"\n{written}\n\nWritten to {path}.json, .md and .svg")


def _server(kind: ServerKind, size: Size) -> dict[str, Any]:
    return {
        **asdict(size),
        "environment": dict(kind.environment),
        "revision": revision(kind.checkout or REPOSITORY) if kind.is_service else None,
    }


def _round(sample: Sample) -> dict[str, Any]:
    measurement = sample.measurement.as_dict()
    return {"round": sample.round, "server": sample.server, "work": sample.work, "connections": sample.connections} | (
        measurement
    )

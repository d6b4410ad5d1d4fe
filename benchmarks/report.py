"""The files of a run: everything as JSON, the tables, the chart."""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.charts import draw_ratios
from benchmarks.large_projects import Timing
from benchmarks.machine import revision
from benchmarks.servers import REPOSITORY, ServerKind, Size
from benchmarks.sizes import Trial, trial_table
from benchmarks.summary import Sample, postgres_table, summarise, table, timing_table


@dataclass(frozen=True)
class Outcome:
    """Everything that a run measured."""

    samples: Sequence[Sample]
    timings: Sequence[Timing]
    trials: Sequence[Trial]


def report(
    outcome: Outcome,
    options: argparse.Namespace,
    machine: dict[str, Any],
    kinds: Sequence[ServerKind],
    sizes: Mapping[str, Size],
) -> None:
    """Print the tables, and write all rounds and the tables to the folder of the options, and then the chart."""
    names = [kind.name for kind in kinds]
    baseline = options.baseline or ("fastify" if "fastify" in names else names[0])
    figures = summarise(outcome.samples, names, baseline)
    heading = (
        f"{machine['cores']} cores ({machine['processor']}), Python {machine['python']}, Node {machine['node']}, "
        f"PostgreSQL {machine['postgres']}, revision {machine['revision']}; {options.rounds} rounds of "
        f"{options.seconds} s, {options.users:,} users, {options.tasks:,} tasks, processes: "
        + ", ".join(f"{name} {size}" for name, size in sizes.items())
    )
    tables = [table(figures, baseline), postgres_table(figures)] if figures else []
    tables += [timing_table(outcome.timings, options.works)] if outcome.timings else []
    tables += [trial_table(outcome.trials)] if outcome.trials else []
    written = "\n\n".join((heading, *tables))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{machine['revision']}"
    document = {
        "machine": machine,
        "baseline": baseline,
        "tasks": options.tasks,
        "users": options.users,
        "seconds": options.seconds,
        "servers": {kind.name: _server(kind, sizes[kind.name]) for kind in kinds},
        "trials": [trial.as_dict() for trial in outcome.trials],
        "rounds": [_round(sample) for sample in outcome.samples],
        "large_projects": [asdict(timing) for timing in outcome.timings],
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text(written + "\n")
    print(f"\n{written}\n\nWritten to {path}.json and .md", flush=True)
    if figures and draw_ratios(figures, baseline, path.with_suffix(".svg")):
        print(f"Drawn in {path}.svg")


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

"""From the rounds to figures: medians, ratios taken within a round, and the table that shows them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.large_projects import Timing
from benchmarks.load_generator import Measurement


@dataclass(frozen=True)
class Sample:
    """One measurement of one round."""

    round: int
    server: str
    work: str
    connections: int
    measurement: Measurement


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds; the ratio to the baseline is of the same round, with its span."""

    server: str
    work: str
    connections: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    postgres_cpu_ms: float
    errors: int
    unanswered: int
    ratio: float
    lowest_ratio: float
    highest_ratio: float


def summarise(samples: Sequence[Sample], servers: Sequence[str], baseline: str) -> list[Figures]:
    """Return the figures of each kind of work, number of connections and server, the servers in the given order."""
    base = {
        (sample.round, sample.work, sample.connections): sample.measurement.requests_per_second
        for sample in samples
        if sample.server == baseline
    }
    cells: dict[tuple[str, int, str], list[Sample]] = {}
    for sample in samples:
        cells.setdefault((sample.work, sample.connections, sample.server), []).append(sample)
    works = list(dict.fromkeys(sample.work for sample in samples))
    ordered = sorted(cells, key=lambda cell: (works.index(cell[0]), cell[1], servers.index(cell[2])))
    return [_figures(cells[cell], base) for cell in ordered]


def _figures(samples: Sequence[Sample], base: dict[tuple[int, str, int], float]) -> Figures:
    measurements = [sample.measurement for sample in samples]
    ratios = [
        sample.measurement.requests_per_second / base[sample.round, sample.work, sample.connections]
        for sample in samples
        if base.get((sample.round, sample.work, sample.connections))
    ] or [float("nan")]
    return Figures(
        server=samples[0].server,
        work=samples[0].work,
        connections=samples[0].connections,
        requests_per_second=statistics.median(found.requests_per_second for found in measurements),
        p50_ms=statistics.median(found.p50_ms for found in measurements),
        p99_ms=statistics.median(found.p99_ms for found in measurements),
        server_cpu_ms=statistics.median(found.server_cpu_ms for found in measurements),
        postgres_cpu_ms=statistics.median(found.postgres_cpu_ms for found in measurements),
        errors=sum(found.errors for found in measurements),
        unanswered=sum(found.unanswered for found in measurements),
        ratio=statistics.median(ratios),
        lowest_ratio=min(ratios),
        highest_ratio=max(ratios),
    )


def table(figures: Sequence[Figures], baseline: str) -> str:
    """Return the figures as a Markdown table."""
    heads = [
        "Work",
        "Connections",
        "Server",
        "Requests/s",
        "p50 ms",
        "p99 ms",
        "CPU ms/request, server + PostgreSQL",
        "Errors",
    ]
    lines = [f"| {' | '.join(heads)} | Ratio to {baseline} (span) |", "|---|---|---|---|---|---|---|---|---|"]
    for found in figures:
        cells = [
            found.work,
            str(found.connections),
            found.server,
            f"{found.requests_per_second:,.0f}",
            *(
                (
                    f"{found.p50_ms:.1f}",
                    f"{found.p99_ms:.0f}",
                    f"{found.server_cpu_ms:.3f} + {found.postgres_cpu_ms:.3f}",
                )
                if found.requests_per_second
                else ("-", "-", "stood still")
            ),
            str(found.errors) + (f" (and {found.unanswered} unanswered)" if found.unanswered else ""),
            f"**{found.ratio:.2f}** ({found.lowest_ratio:.2f}-{found.highest_ratio:.2f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def postgres_table(figures: Sequence[Figures]) -> str:
    """Return PostgreSQL's processor time of a request, for each work and server, as a Markdown table."""
    columns = list(dict.fromkeys((found.connections, found.server) for found in figures))
    times = {(found.work, found.connections, found.server): found for found in figures}
    heads = ["PostgreSQL's CPU ms/request", *(f"{server}, {connections}" for connections, server in columns)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for work in dict.fromkeys(found.work for found in figures):
        cells = (times.get((work, *column)) for column in columns)
        lines.append(
            f"| {work} | "
            + " | ".join(f"{cell.postgres_cpu_ms:.3f}" if cell and cell.requests_per_second else "-" for cell in cells)
            + " |"
        )
    return "\n".join(lines)


def timing_table(timings: Sequence[Timing], works: Sequence[str]) -> str:
    """Return the medians of single requests in large projects as a Markdown table."""
    columns = list(dict.fromkeys((timing.server, timing.tasks) for timing in timings))
    found = {(timing.work, timing.server, timing.tasks): timing.p50_ms for timing in timings}
    heads = ["p50 ms, one connection", *(f"{server}, {tasks:,} tasks in one project" for server, tasks in columns)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for work in works:
        medians = (found.get((work, *column)) for column in columns)
        lines.append(f"| {work} | {' | '.join('-' if ms is None else f'{ms:.1f}' for ms in medians)} |")
    return "\n".join(lines)

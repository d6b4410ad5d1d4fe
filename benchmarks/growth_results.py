"""What a run of `benchmarks.growth` found: tables, charts and numbers."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.charts import draw_lines


@dataclass
class Results:
    """Everything that was found: tables for people, lines for charts, numbers for programs."""

    tables: list[str] = field(default_factory=list)
    panels: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)

    def add_table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a Markdown table and print it."""
        lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]
        self.tables.append("\n".join((f"**{title}**", "", *lines)))
        print(f"\n{self.tables[-1]}\n", flush=True)


def with_span(ratios: Sequence[float]) -> str:
    """Return the median of ratios in bold, with the lowest and the highest."""
    return f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})"


def write(results: Results, machine: dict[str, Any], output: Path, seconds: float) -> None:
    """Write everything into a folder, as tables, numbers and a chart."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"growth-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{machine['revision']}"
    document = {"machine": machine, "seconds": round(seconds), **results.numbers}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text("\n\n".join(results.tables) + "\n")
    print(f"{seconds / 60:.1f} minutes; written to {path}.json and .md", flush=True)
    if results.panels and draw_lines(results.panels, results.labels, path.with_suffix(".svg")):
        print(f"drawn in {path}.svg")

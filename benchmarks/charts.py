"""Charts of results, as SVG files, where matplotlib is installed; without it a line says so."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.summary import Figures

_COLOURS = ("#0b6e4f", "#1f77b4", "#7f7f7f", "#d08c00", "#9467bd", "#c0504d", "#17becf", "#8c564b")


def draw_ratios(figures: Sequence[Figures], baseline: str, path: Path) -> bool:
    """Draw each server's ratio to the baseline for each kind of work, with its span, a panel for each load.

    Return whether there is a chart.
    """
    plt = _pyplot()
    if plt is None:
        return False
    levels = list(dict.fromkeys(found.connections for found in figures))
    works = list(dict.fromkeys(found.work for found in figures))
    servers = list(dict.fromkeys(found.server for found in figures))
    chart, panels = plt.subplots(
        1, len(levels), figsize=(5.5 * len(levels), 4), sharey=True, squeeze=False, layout="constrained"
    )
    width = 0.8 / len(servers)
    for panel, connections in zip(panels[0], levels, strict=True):
        for number, server in enumerate(servers):
            found = {f.work: f for f in figures if f.server == server and f.connections == connections}
            places = [works.index(work) + (number - (len(servers) - 1) / 2) * width for work in found]
            ratios = [f.ratio for f in found.values()]
            spans = [
                [f.ratio - f.lowest_ratio for f in found.values()],
                [f.highest_ratio - f.ratio for f in found.values()],
            ]
            colour = _COLOURS[number % len(_COLOURS)]
            panel.bar(places, ratios, width, yerr=spans, label=server, color=colour, error_kw={"linewidth": 1})
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set_xticks(range(len(works)), works)
        panel.set_title(f"{connections} connections")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel(f"requests/s, ratio to {baseline}")
    chart.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    _save(plt, chart, path)
    return True


def draw_lines(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], labels: Mapping[str, tuple[str, str]], path: Path
) -> bool:
    """Draw one panel for each title: lines by name through their points; `labels` gives each panel's axes.

    Return whether there is a chart.
    """
    plt = _pyplot()
    if plt is None:
        return False
    chart, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4), squeeze=False, layout="constrained")
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for number, (name, points) in enumerate(lines.items()):
            x, y = zip(*points, strict=True)
            axis.plot(x, y, marker="o", label=name, color=_COLOURS[number % len(_COLOURS)])
        axis.set_title(title)
        axis.set_xlabel(labels[title][0])
        axis.set_ylabel(labels[title][1])
        axis.set_ylim(bottom=0)
        if max(x for points in lines.values() for x, _ in points) >= 10_000:
            axis.set_xscale("log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize="small")
    _save(plt, chart, path)
    return True


def _pyplot() -> Any:
    """Return matplotlib's module for charts, which takes a second to import, or None after a warning."""
    try:
        import matplotlib as mpl  # noqa: PLC0415

        mpl.use("svg")
        from matplotlib import pyplot  # noqa: PLC0415
    except ImportError as error:
        print(f"benchmarks: no chart is drawn: {error}", file=sys.stderr)
        return None
    return pyplot


def _save(plt: Any, chart: Any, path: Path) -> None:
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmark"}):
        chart.savefig(path, metadata={"Date": None})
    plt.close(chart)

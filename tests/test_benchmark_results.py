"""The figures of the benchmarks: ratios, tables, charts, and what a run keeps."""

import json
import math
import sys
from pathlib import Path

import pytest

from benchmarks.charts import draw_ratios
from benchmarks.large_projects import Timing
from benchmarks.load_generator import Measurement
from benchmarks.machine import command_without_folders
from benchmarks.options import build_parser
from benchmarks.report import Outcome, report
from benchmarks.servers import ServerKind, Size
from benchmarks.sizes import Trial, best, choose_works
from benchmarks.summary import Sample, postgres_table, summarise, table
from benchmarks.works import WORKS


def _sample(number: int, server: str, rate: float, refused: int = 0) -> Sample:
    found = Measurement(
        requests=100,
        requests_per_second=rate,
        p50_ms=1,
        p99_ms=number,
        max_ms=3,
        refused=refused,
        broken=1,
        unanswered=0,
        server_cpu_ms=0.5,
        postgres_cpu_ms=0.25,
    )
    return Sample(number, server, "mix", 64, found)


def test_ratios_are_of_the_same_round() -> None:
    samples = [
        *(_sample(1, "fastify", 100), _sample(1, "taskmanager", 150)),
        *(_sample(2, "taskmanager", 20, refused=2), _sample(2, "fastify", 10)),
        *(_sample(3, "fastify", 1000), _sample(3, "taskmanager", 900)),
    ]
    ours, base = summarise(samples, ["taskmanager", "fastify"], "fastify")
    assert (ours.lowest_ratio, ours.ratio, ours.highest_ratio) == (0.9, 1.5, 2.0)
    assert (ours.requests_per_second, ours.p99_ms, ours.errors) == (150, 2, 5)
    assert (base.lowest_ratio, base.ratio, base.highest_ratio) == (1, 1, 1)
    assert "| mix | 64 | taskmanager | 150 | 1.0 | 2 | 0.500 + 0.250 | 5 | **1.50** (0.90-2.00) |" in table(
        [ours], "fastify"
    )
    assert math.isnan(summarise(samples, ["taskmanager", "fastify"], "another")[0].ratio)


def test_postgresqls_time_of_every_server_stands_beside_each_other() -> None:
    figures = summarise(
        [_sample(1, "fastify", 100), _sample(1, "taskmanager", 150)], ["taskmanager", "fastify"], "fastify"
    )
    assert postgres_table(figures).splitlines() == [
        "| PostgreSQL's CPU ms/request | taskmanager, 64 | fastify, 64 |",
        "|---|---|---|",
        "| mix | 0.250 | 0.250 |",
    ]


def test_a_run_without_matplotlib_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    options = build_parser().parse_args(["--output", str(tmp_path), "--rounds", "1"])
    machine = dict.fromkeys(("cores", "processor", "python", "node", "postgres", "revision"), "some")
    kinds = [ServerKind("taskmanager"), ServerKind("fastify")]
    sizes = {"taskmanager": Size(2), "fastify": Size(1, 10)}
    outcome = Outcome(
        [_sample(1, "fastify", 100), _sample(1, "taskmanager", 150)],
        [Timing("taskmanager", 1000, "get", 0.5)],
        [Trial("fastify", Size(1, 10), {"get": 100, "mix": 400})],
    )
    report(outcome, options, machine, kinds, sizes)

    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("benchmarks: no chart is drawn: ")
    written = {path.suffix: path.read_text() for path in tmp_path.iterdir()}
    assert written.keys() == {".json", ".md"}
    assert "| fastify | 1 with 10 connections each | 200 |" in written[".md"]
    assert "**1.50**" in written[".md"]
    document = json.loads(written[".json"])
    assert document["trials"] == [
        {
            "server": "fastify",
            "processes": 1,
            "pool": 10,
            "connections": 64,
            "mean": 200,
            "requests_per_second": {"get": 100, "mix": 400},
        }
    ]
    assert [timing["p50_ms"] for timing in document["large_projects"]] == [0.5]
    assert len(document["rounds"]) == 2


def test_a_run_without_rounds_keeps_its_other_results(tmp_path: Path) -> None:
    options = build_parser().parse_args(["--output", str(tmp_path), "--rounds", "0"])
    machine = dict.fromkeys(("cores", "processor", "python", "node", "postgres", "revision"), "some")
    outcome = Outcome([], [Timing("taskmanager", 1000, "get", 0.5)], [])
    report(outcome, options, machine, [ServerKind("taskmanager")], {"taskmanager": Size(2)})
    (tables,) = tmp_path.glob("*.md")
    assert "| get | 0.5 |" in tables.read_text()


def test_a_chart_is_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures = summarise([_sample(1, "fastify", 100)], ["fastify"], "fastify")
    assert draw_ratios(figures, "fastify", tmp_path / "chart.svg")
    assert "64 connections" in (tmp_path / "chart.svg").read_text()


def test_trials_take_a_bounded_time_and_the_best_mean_counts() -> None:
    works = list(WORKS)
    for trials in (1, 8, 20, 1000):
        chosen = choose_works(works, trials)
        assert 1 <= len(chosen) == len(set(chosen))
        assert chosen == [work for work in works if work in chosen]
        assert trials > 16 or (8 + len(chosen)) * trials <= 180
    assert choose_works(works, 1) == works

    uneven, even = (
        Trial("fastify", Size(1, 5), {"get": 900, "bulk": 1}),
        Trial("fastify", Size(2, 5), {"get": 80, "bulk": 50}),
    )
    assert best([uneven, even]) == Size(2, 5)


def test_a_recorded_command_names_no_folder_of_the_machine() -> None:
    given = [
        "-m",
        "benchmarks.run",
        "--output",
        "/some/where",
        "--checkout",
        "before:/some/where/older",
        "--rounds",
        "3",
    ]
    assert command_without_folders(given) == "-m benchmarks.run --checkout before:older --rounds 3"

"""The benchmarks' own parts: the checks before timing, the people of the load test, the figures."""

import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from benchmarks.charts import draw_ratios
from benchmarks.comparison import read_answers, require_same
from benchmarks.database import fetch
from benchmarks.feature_verification import verify_features
from benchmarks.large_projects import Timing
from benchmarks.load_generator import Measurement
from benchmarks.options import build_parser
from benchmarks.person import Answer, Person, Team
from benchmarks.processes import proportional_megabytes, resident_megabytes
from benchmarks.report import Outcome, report
from benchmarks.routes import Measured, UncoveredRouteError, requests_of
from benchmarks.servers import ServerKind, Size
from benchmarks.sizes import Trial, best, choose_works
from benchmarks.summary import Sample, postgres_table, summarise, table
from benchmarks.verification import Caller, VerificationError, verify
from benchmarks.works import WORKS
from taskmanager.database.database import Database
from tests.conftest import Person as Account
from tests.support.live_server import LiveServer
from tests.support.rows import execute, fetch_all


async def _caller(database: Database, account: Account) -> Caller:
    await execute(
        database,
        "INSERT INTO tasks (project_id, title, created_at, created_by)"
        " SELECT :project, 'Task ' || n, now() - n % 7 * interval '1 h', :owner FROM generate_series(1, 25) AS n",
        project=account.inbox_id,
        owner=account.id,
    )
    newest = await fetch_all(
        database,
        "SELECT id FROM tasks WHERE project_id = :project ORDER BY created_at DESC, id DESC",
        project=account.inbox_id,
    )
    return Caller(account.token, [row["id"] for row in newest])


async def test_the_service_does_what_is_measured(
    live_server: LiveServer, database: Database, database_url: str, alice: Account, bob: Account
) -> None:
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)

    def stored(task_id: int) -> tuple[str, str] | None:
        rows = fetch(url, "SELECT title, status FROM tasks WHERE id = $1", task_id)
        return (rows[0]["title"], rows[0]["status"]) if rows else None

    caller, stranger = await _caller(database, alice), await _caller(database, bob)
    await asyncio.to_thread(verify, live_server.url, caller, stranger, stored)

    for wrong, what in (
        (Caller(alice.token, caller.task_ids[::-1]), "newest"),  # in another order
        (Caller(bob.token, caller.task_ids), "newest"),  # somebody else's
        (Caller(alice.token + "x", caller.task_ids), "401"),
    ):
        with pytest.raises(VerificationError, match=what):
            await asyncio.to_thread(verify, live_server.url, wrong, stranger, stored)
    with pytest.raises(VerificationError, match="newest"):  # what verification itself created is the newest now
        await asyncio.to_thread(verify, live_server.url, caller, stranger, stored)
    now = await _caller(database, alice)
    with pytest.raises(VerificationError, match="not in the database"):
        await asyncio.to_thread(verify, live_server.url, now, stranger, lambda _: None)


async def test_the_service_has_the_features_that_are_measured(
    live_server: LiveServer, database: Database, database_url: str, alice: Account, bob: Account
) -> None:
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    caller, stranger = await _caller(database, alice), await _caller(database, bob)
    query = partial(fetch, url)
    await asyncio.to_thread(verify_features, live_server.url, caller, alice.id, stranger, query)

    def miscount(statement: str, *values: Any) -> list[Any]:
        return query(statement.replace("count(*)", "count(*) + 1"), *values)

    now = await _caller(database, alice)
    with pytest.raises(VerificationError, match="has not"):
        await asyncio.to_thread(verify_features, live_server.url, now, alice.id, stranger, miscount)


async def test_the_load_generator_sends_what_verification_does(
    live_server: LiveServer, database: Database, alice: Account
) -> None:
    caller = await _caller(database, alice)
    await execute(
        database,
        "INSERT INTO comments (project_id, task_id, author_id, body) VALUES (:project, :task, :owner, 'A comment')",
        project=alice.inbox_id,
        task=caller.task_ids[2],
        owner=alice.id,
    )
    names = ("task", "known_task", "discussed_task")
    values = {
        **{name: [str(task_id)] for name, task_id in zip(names, caller.task_ids[:3], strict=True)},
        "token": [alice.token],
        "run": ["run"],
        "status": ["pending"],
    }
    answers = await asyncio.to_thread(read_answers, live_server.url, {alice.id: values}, tuple(WORKS))
    assert [answer.status for answer in answers["get_304"]] == [304]
    assert len(answers["newest"][0].ids) == 20
    assert len(answers["mix"]) == len(WORKS["mix"])
    assert answers.keys() == WORKS.keys()

    require_same(answers, answers, ("one", "other"))
    fewer = replace(answers["comments"][0], ids=[])
    with pytest.raises(VerificationError, match="comments: the answers differ"):
        require_same(answers, {**answers, "comments": [fewer]}, ("one", "other"))
    with pytest.raises(VerificationError, match=r"404 .*not 200"):
        await asyncio.to_thread(read_answers, live_server.url, {alice.id: values | {"task": ["999999999"]}}, ("get",))


def test_every_route_of_the_api_is_measured_or_left_out_for_a_reason() -> None:
    document = json.loads((Path(__file__).parents[1] / "docs" / "openapi.json").read_text())
    reads, writes = (requests_of(document, kind) for kind in ("reads", "writes"))
    assert all(isinstance(what, Measured) and what.request.method == "GET" for _, what in reads)
    paths = [what.request.path for _, what in reads if isinstance(what, Measured)]
    for parameter in document["paths"]["/api/v1/tasks"]["get"]["parameters"]:
        assert [path for path in paths if re.search(rf"[?&]{parameter['name']}=", path)], parameter["name"]
    left_out = {route for route, what in writes if isinstance(what, str)}
    assert {"POST /api/v1/users", "POST /api/v1/token"} < left_out
    assert len(left_out) == 5

    del document["paths"]["/api/v1/projects"]["get"]
    with pytest.raises(UncoveredRouteError, match="GET /api/v1/projects'"):
        requests_of(document, "reads")
    document["paths"]["/api/v1/new"] = {"get": {}, "post": {}}
    for kind in ("reads", "writes"):
        with pytest.raises(UncoveredRouteError, match="/api/v1/new"):
            requests_of(document, kind)


def test_filtered_lists_are_most_of_a_session() -> None:
    filtered = [r.weight for r in WORKS["mix"] if re.search(r"[?&](status|overdue|search)=", r.path)]
    assert sum(filtered) > sum(r.weight for r in WORKS["mix"]) / 2


class PlainSender:
    """Sends a person's requests one after the other, and fails the test on any that is not accepted."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=10, verify=False)
        self.names: list[str] = []

    def __call__(
        self,
        method: str,
        path: str,
        *,
        name: str,
        accept: Collection[int],
        headers: Mapping[str, str],
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request."""
        response = self._client.request(method, path, headers=headers, json=json, data=form)
        assert response.status_code in accept, (method, path, response.text)
        self.names.append(f"{method} {name} {response.status_code}")
        body = response.json() if response.content else None
        return Answer(response.status_code, body, {key.lower(): value for key, value in response.headers.items()})

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


async def test_people_of_the_load_test_work_without_an_error(live_server: LiveServer, database: Database) -> None:
    send = PlainSender(live_server.url)
    teams: list[Team] = []

    def overtake() -> None:
        if slow.conflicts == 0:
            tasks = fast._request("GET", f"/projects/{teams[0].project_id}/tasks", accept=(200,)).body["tasks"]
            for task in tasks:
                fast._request("PATCH", f"/tasks/{task['id']}", json={"title": "Overtaken"}, accept=(200,))

    slow, fast = Person(send, teams, pause=overtake), Person(send, teams)

    def work() -> None:
        for person in (slow, fast):
            person.arrive()
        for person in (slow, fast):
            person.page()
            person.search()
            person.read()
            person.edit()
            person.create_and_retry()
            person.comment()
            person.read_notifications()

    try:
        await asyncio.to_thread(work)
    finally:
        send.close()
    assert (slow.conflicts, fast.conflicts, len(teams)) == (1, 0, 1)
    assert "GET /tasks/[id] changed? 304" in send.names
    owners = await fetch_all(database, "SELECT created_by, count(*) AS tasks FROM tasks GROUP BY 1 ORDER BY 2")
    assert [row["tasks"] for row in owners] == [2, 2]  # a request that was sent again made no second task


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


def test_of_shared_memory_a_process_has_its_share_only() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0)
    try:
        assert 0 < proportional_megabytes(child) < resident_megabytes(child) / 1.5
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def test_whoever_is_told_to_stop_stops_what_it_started() -> None:
    program = """
from contextlib import ExitStack
from signal import pause
from benchmarks.processes import end_on_sigterm
end_on_sigterm()
with ExitStack() as stack:
    stack.callback(print, "stopped")
    print("started", flush=True)
    pause()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"stopped\n"

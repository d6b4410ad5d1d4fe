"""The benchmarks' own parts: the checks before timing, the people of the load test, the processes."""

import asyncio
import json
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

from benchmarks.comparison import read_answers, require_same
from benchmarks.database import fetch
from benchmarks.feature_verification import verify_features
from benchmarks.person import Answer, Person, Team
from benchmarks.processes import proportional_megabytes, resident_megabytes
from benchmarks.routes import Measured, UncoveredRouteError, requests_of
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
    assert len(left_out) == 11

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

"""Why a stream is refused, and why it ends."""

import asyncio
import json
import time
from typing import Any

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.following.epochs import start_epoch
from taskmanager.main import create_app
from taskmanager.settings import Settings
from taskmanager.stream import streams as streams_module
from taskmanager.stream.streams import Stream
from tests.conftest import Person
from tests.support.credentials import new_key
from tests.support.rows import execute
from tests.support.streams import InProcess, address, broker_of, listening


async def refused(
    app: FastAPI, person: Person | None, *, accept: str = "", headers: dict[str, str] | None = None, **query: Any
) -> dict[str, Any]:
    """Return the problem of a stream that is refused."""
    given = {} if person is None else {"Authorization": f"Bearer {person.token}"}
    stream = await InProcess(
        app, address(**query), {**given, **({"Accept": accept} if accept else {}), **(headers or {})}
    ).begun()
    await stream.close()
    assert stream.headers["content-type"] == "application/problem+json", stream.frames
    problem: dict[str, Any] = json.loads(stream.body)
    assert problem["status"] == stream.status
    return problem


def kind(problem: dict[str, Any]) -> tuple[int, str]:
    """Return status and kind."""
    return problem["status"], problem["code"]


async def test_refusals(app: FastAPI, alice: Person, bob: Person) -> None:
    of_bob = await bob.new_project("Bob's")
    assert kind(await refused(app, None)) == (401, "unauthenticated")
    assert kind(await refused(app, alice, project_id=of_bob)) == (404, "not-found")
    assert kind(await refused(app, alice, project_id=[alice.inbox_id, of_bob])) == (404, "not-found")
    assert kind(await refused(app, alice, entity="nonsense")) == (422, "invalid")
    assert kind(await refused(app, alice, nonsense=1)) == (422, "invalid")
    assert kind(await refused(app, alice, last_event_id="nonsense")) == (400, "invalid-cursor")
    assert kind(await refused(app, alice, headers={"Last-Event-ID": "nonsense"})) == (400, "invalid-cursor")
    for accept in ("application/json", "text/html, application/json;q=0.5"):
        assert kind(await refused(app, alice, accept=accept)) == (406, "not-acceptable")
    for accept in ("text/event-stream", "application/json, text/*;q=0.1", "*/*"):
        async with listening(app, alice, headers={"Accept": accept}):
            pass
    # A place in what is being loaded is none in the log.
    page = (await alice.get("/changes", params={"limit": 1})).json()
    assert kind(await refused(app, alice, last_event_id=page["cursor"])) == (400, "invalid-cursor")


@pytest.mark.parametrize("scope", ["tasks:read", "projects:read"])
async def test_a_key_needs_both_scopes(app: FastAPI, alice: Person, scope: str) -> None:
    key = await new_key(alice, scope)
    problem = await refused(app, None, headers=key.in_header)
    assert kind(problem) == (403, "scope-missing")
    assert problem["scope"] == {"tasks:read": "projects:read", "projects:read": "tasks:read"}[scope]


async def test_cursors_that_lead_nowhere(app: FastAPI, alice: Person, database: Database) -> None:
    async with listening(app, alice) as stream:
        pass
    epoch = await app.state.epochs.look()
    position = epoch.read(stream.last_id)
    ahead = epoch.write(position._replace(xid=position.xid + 1_000_000))
    problem = await refused(app, alice, last_event_id=ahead)
    assert (kind(problem), problem["reason"]) == ((410, "cursor-expired"), "ahead")
    await execute(database, "UPDATE event_log SET floor_era = era, floor_xid = CAST('1000000000' AS xid8)")
    try:
        assert (await refused(app, alice, last_event_id=stream.last_id))["reason"] == "retention"
    finally:
        await execute(database, "UPDATE event_log SET floor_era = 0, floor_xid = CAST('0' AS xid8)")
    await start_epoch(app.state.writes)
    assert (await refused(app, alice, last_event_id=stream.last_id))["reason"] == "epoch"


async def test_one_more_than_a_user_may_have(
    app: FastAPI, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.stream_feed, "limit_per_user", 2)
    async with listening(app, alice), listening(app, alice):
        problem = await refused(app, alice)
        assert kind(problem) == (429, "rate-limited")
        async with listening(app, bob):
            pass
    async with listening(app, alice):
        pass


async def test_one_more_than_a_process_may_have(
    app: FastAPI, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.followers, "limit", 1)
    async with listening(app, alice):
        assert kind(await refused(app, bob)) == (503, "overloaded")
    async with listening(app, bob):
        pass


async def test_where_answers_are_passed_on_when_complete(
    app: FastAPI, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.stream_feed, "is_supported", False)
    assert kind(await refused(app, alice)) == (501, "streams-unsupported")


async def test_a_stop_ends_all_streams(alice: Person, settings: Settings) -> None:
    other = create_app(settings)
    async with other.router.lifespan_context(other):
        other.state.stream_feed.longest_seconds = 60.0
        async with listening(other, alice) as stream:
            await alice.new_task(title="Dig")
            started = time.monotonic()
            for tell in other.state.drain.on_start:
                tell()
            bye = await stream.named("bye")
            assert (bye.data, bye.id) == ({"reason": "drain"}, "")
            await asyncio.wait_for(stream.is_over.wait(), 5)
            assert time.monotonic() - started < 1
        assert kind(await refused(other, alice)) == (503, "not-ready")
        assert other.state.tailer.audience.endings == {"drain": 1}


async def test_a_stream_that_is_old_ends(app: FastAPI, alice: Person) -> None:
    async with listening(app, alice) as stream:
        for one in broker_of(app).streams:
            one.ends_at = time.monotonic()
        await app.state.stream_upkeep.tick()
        assert (await stream.named("bye")).data == {"reason": "max_age"}
        await asyncio.wait_for(stream.is_over.wait(), 5)


@pytest.mark.parametrize("way", ["revoked login", "disabled account", "deleted key", "ended key"])
async def test_a_credential_that_has_ended_ends_its_streams(
    app: FastAPI, alice: Person, bob: Person, database: Database, way: str
) -> None:
    key = await new_key(alice, "tasks:read", "projects:read")
    headers = key.in_header if "key" in way else {"Authorization": f"Bearer {alice.token}"}
    async with listening(app, None, headers=headers) as stream, listening(app, bob) as other:
        everyone = list(broker_of(app).streams)
        await app.state.stream_upkeep.check_credentials(everyone)
        assert not [one for one in everyone if one.ending]
        match way:
            case "revoked login":
                await execute(database, "UPDATE sessions SET revoked_at = now() WHERE user_id = :id", id=alice.id)
            case "disabled account":
                await execute(database, "UPDATE users SET disabled = true WHERE id = :id", id=alice.id)
            case "deleted key":
                await execute(database, "DELETE FROM api_keys")
            case _:
                await execute(database, "UPDATE api_keys SET expires_at = now() - interval '1 second'")
        for _ in range(10):
            await app.state.stream_upkeep.tick()
        assert (await stream.named("bye")).data == {"reason": "revoked"}
        assert not other.is_over.is_set()


async def test_who_reads_too_slowly_has_to_come_back(app: FastAPI, alice: Person, bob: Person) -> None:
    garden = await alice.new_project("Garden")
    await alice.post(f"/projects/{garden}/members", {"username": "bob", "role": "viewer"})
    async with listening(app, bob) as slow, listening(app, alice) as other:
        slow.reads.clear()
        many = [{"title": f"Task {n}", "project_id": garden} for n in range(100)]
        for _ in range(4):
            await alice.post("/tasks/bulk", {"tasks": many})
        for _ in range(400):
            await other.next_event()
        slow.reads.set()
        assert (await slow.named("bye")).data == {"reason": "slow"}
        heard = len(slow.events)
        assert heard < 400
        async with listening(app, bob, last_event_id=slow.last_id) as resumed:
            assert heard + len(resumed.events) == 400


async def test_a_write_that_takes_too_long_is_given_up(
    app: FastAPI, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmanager.stream.upkeep._MOST_WRITE_SECONDS", 0.0)
    async with listening(app, alice) as stream:
        stream.reads.clear()
        await alice.new_task()
        async with asyncio.timeout(10):
            while broker_of(app).streams:  # the product tells nobody
                await app.state.stream_upkeep.tick()
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("begins", ["by hand", "as after a promotion"])
async def test_another_epoch_while_streams_are_open(
    app: FastAPI, alice: Person, bob: Person, database: Database, begins: str
) -> None:
    garden = await alice.new_project("Garden")
    async with listening(app, alice) as stream, listening(app, alice, project_id=garden) as filtered:
        if begins == "by hand":
            await start_epoch(app.state.writes)
        else:
            await execute(database, "UPDATE event_log SET timeline = timeline + 1")
        for one in (stream, filtered):
            reset = await one.named("reset")
            assert (reset.data, reset.id) == ({"reason": "epoch"}, "")
            place = await one.until(lambda frame: bool(frame.id))
            await one.named("ready")
        await alice.new_task(garden, title="New")
        for one in (stream, filtered):
            assert await one.titles(1) == ["New"]
        async with listening(app, alice, last_event_id=place.id) as resumed:
            assert await resumed.all_titles(1) == ["New"]


async def test_a_stream_is_no_request_in_flight(app: FastAPI, alice: Person) -> None:
    timed = 'taskmanager_http_request_duration_seconds_count{method="GET",route="/api/v1/events"}'

    async def shown() -> str:
        return str((await app.state.metrics.render()).decode())

    before = [line for line in (await shown()).splitlines() if line.startswith(timed)]
    async with listening(app, alice), listening(app, alice):
        assert app.state.metrics.in_flight == 0
        assert app.state.shared_connections.in_use == 0
        assert len(app.state.followers) == 2
    assert len(app.state.followers) == 0
    after = await shown()
    assert "taskmanager_event_streams 0.0" in after
    assert 'taskmanager_event_stream_ends_total{reason="gone"}' in after
    # Streams that were refused are requests like others.
    assert [line for line in after.splitlines() if line.startswith(timed)] == before


async def test_the_queue_is_bounded(alice: Person) -> None:
    def new() -> Stream:
        from taskmanager.accounts.callers import Caller
        from taskmanager.stream.rights import Filters

        return Stream(Caller(1), Filters(1), 0.0, 0)

    by_number = new()
    for _ in range(streams_module.MOST_QUEUED_EVENTS):
        by_number.push(b"x")
    assert by_number.ending is None
    by_number.push(b"x")
    assert by_number.ending == "slow"
    by_size = new()
    by_size.push(b"x" * (streams_module.MOST_QUEUED_BYTES + 1))  # one is always sent
    assert by_size.ending is None
    by_size.push(b"x")
    assert by_size.ending == "slow"

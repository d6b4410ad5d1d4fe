"""What a stream says: events with the row, filters, places, and where it goes on."""

import asyncio

import pytest
from fastapi import FastAPI

from taskmanager.stream import feed, ring, statements
from tests.conftest import Person
from tests.support.streams import InProcess, address, broker_of, listening


async def test_an_event_has_its_change_and_the_row_as_get_answers_it(app: FastAPI, alice: Person) -> None:
    async with listening(app, alice) as stream:
        task = await alice.new_task(title="Dig")
        event = await stream.next_event()
        assert stream.frames[-1].event == "task.created"
        assert event["cursor"] == stream.last_id
        assert (event["entity"], event["id"], event["version"], event["actor_id"]) == ("task", task["id"], 1, alice.id)
        assert event["task"] == (await alice.get(f"/tasks/{task['id']}")).json()
        await alice.patch(f"/tasks/{task['id']}", {"priority": 5})
        event = await stream.next_event()
        assert event["changes"] == {"priority": {"old": 1, "new": 5}}
        assert (event["action"], event["task"]["priority"]) == ("updated", 5)
        await alice.delete(f"/tasks/{task['id']}")
        event = await stream.next_event()
        assert (event["action"], event["task"]) == ("deleted", None)


async def test_rows_of_every_kind_are_those_of_get(app: FastAPI, alice: Person, bob: Person) -> None:
    async with listening(app, alice) as stream:
        garden = await alice.new_project("Garden")
        event = await stream.next_event()
        project = (await alice.get(f"/projects/{garden}")).json()
        project.pop("role")  # it depends on who asks
        assert event["project"] == project
        await alice.post(f"/projects/{garden}/members", {"username": "bob", "role": "viewer"})
        event = await stream.next_event()
        assert event["member"] == (await alice.get(f"/projects/{garden}/members/{bob.id}")).json()
        task = await alice.new_task(garden)
        await stream.next_event()
        comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "Wet"})).json()
        assert (await stream.next_event())["comment"] == comment


async def test_the_head_and_the_first_frames(app: FastAPI, alice: Person) -> None:
    async with listening(app, alice) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["cache-control"] == "no-store"
        assert "content-length" not in stream.headers
        retry, place, ready = stream.frames
        assert 1_000 <= retry.retry <= 5_000
        assert (ready.event, ready.id) == ("ready", "")
        assert place.id
        assert place.event == ""


async def test_head_answers_headers_alone(app: FastAPI, alice: Person) -> None:
    stream = await InProcess(app, address(), {"Authorization": f"Bearer {alice.token}"}, "HEAD").begun()
    await asyncio.wait_for(stream.is_over.wait(), 5)
    assert (stream.status, stream.body) == (200, b"")
    assert stream.headers["content-type"].startswith("text/event-stream")
    await stream.close()


async def test_filters(app: FastAPI, alice: Person) -> None:
    async with listening(app, alice) as everything:
        garden, kitchen = await alice.new_project("Garden"), await alice.new_project("Kitchen")
        # While the server has an older transaction, their creation would come behind `ready`.
        await everything.until(lambda frame: frame.is_event and frame.data["project_id"] == kitchen)
    async with (
        listening(app, alice, project_id=garden) as of_garden,
        listening(app, alice, entity=["comment", "project"]) as of_comments,
    ):
        await alice.new_task(kitchen, title="Cook")
        task = await alice.new_task(garden, title="Dig")
        await alice.post(f"/tasks/{task['id']}/comments", {"body": "Wet"})
        assert await of_garden.titles(1) == ["Dig"]
        assert (await of_garden.next_event())["entity"] == "comment"
        assert (await of_comments.next_event())["entity"] == "comment"
        assert [event["entity"] for event in of_comments.events] == ["comment"]


@pytest.mark.parametrize("way", ["header", "query"])
@pytest.mark.parametrize("kept", ["ring", "database"])
async def test_a_client_goes_on_where_it_was(
    app: FastAPI, alice: Person, monkeypatch: pytest.MonkeyPatch, way: str, kept: str
) -> None:
    monkeypatch.setattr(feed, "_MISSED_AT_ONCE", 3)
    async with listening(app, alice) as other:
        async with listening(app, alice) as stream:
            await alice.new_task(title="Heard")
            await stream.titles(1)
        for n in range(10):
            await alice.new_task(title=f"Missed {n}")
        await other.titles(11)
        if kept == "database":
            broker_of(app).ring.begin(broker_of(app).position)
        again = {"headers": {"Last-Event-ID": stream.last_id}} if way == "header" else {"last_event_id": stream.last_id}
        async with listening(app, alice, **again) as resumed:
            await alice.new_task(title="New")
            await resumed.until(lambda frame: frame.data.get("changes", {}).get("title", {}).get("new") == "New")
            titles = [event["changes"]["title"]["new"] for event in resumed.events]
            assert titles == [*(f"Missed {n}" for n in range(10)), "New"]
            # What was missed comes before `ready`.
            names = [frame.event for frame in resumed.frames]
            assert names.index("ready") == 12
            assert [event["cursor"] for event in resumed.events] == [event["cursor"] for event in other.events[1:]]


async def test_a_lone_client_goes_on_from_the_database(app: FastAPI, alice: Person) -> None:
    async with listening(app, alice) as stream:
        await alice.new_task(title="Heard")
        await stream.titles(1)
    assert not broker_of(app).ring
    await alice.new_task(title="Missed")
    async with listening(app, alice, last_event_id=stream.last_id) as resumed:
        assert await resumed.all_titles(1) == ["Missed"]
        await alice.new_task(title="New")
        assert await resumed.all_titles(2) == ["Missed", "New"]


async def test_who_has_missed_too_much_loads_everything_anew(
    app: FastAPI, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmanager.stream.repository.MOST_MISSED", 5)
    assert statements.MOST_MISSED == ring.MOST_EVENTS
    async with listening(app, alice) as other:
        async with listening(app, alice) as stream:
            pass
        for _ in range(6):
            await alice.new_task()
        await other.titles(6)  # while the server has an older transaction, they come late
    async with listening(app, alice, last_event_id=stream.last_id) as resumed:
        assert [frame.event for frame in resumed.frames] == ["", "reset", "", "ready"]
        assert resumed.frames[1].data == {"reason": "too_many"}
        assert resumed.frames[1].id == ""
        await alice.new_task(title="New")
        assert await resumed.titles(1) == ["New"]
        assert len(resumed.events) == 1


async def test_quiet_streams_are_moved_on(app: FastAPI, alice: Person, bob: Person) -> None:
    broker = broker_of(app)
    async with listening(app, alice) as quiet, listening(app, bob) as busy:
        await bob.new_task(title="Loud")
        await busy.titles(1)
        streams = list(broker.streams)
        before = quiet.last_id
        await broker.move_on(streams)
        place = await quiet.until(lambda frame: bool(frame.id))
        assert (place.event, place.data) == ("", {})
        assert place.id != before
        # It is the position of what others did, and nothing is missed behind it.
        assert place.id == busy.last_id
        assert len([frame for frame in busy.frames if not frame.event and frame.id]) == 1  # that of `ready`
        await broker.move_on(streams)
        await busy.until(lambda frame: bool(frame.id) and not frame.event)
    await alice.new_task(title="Missed")
    async with listening(app, alice, last_event_id=place.id) as resumed:
        assert await resumed.all_titles(1) == ["Missed"]


async def test_each_tick_moves_a_part_of_them(app: FastAPI, alice: Person) -> None:
    upkeep = app.state.stream_upkeep
    async with listening(app, alice) as one, listening(app, alice) as other:
        for _ in range(15):
            await upkeep.tick()
        for stream in (one, other):
            await stream.until(lambda frame: bool(frame.id))

"""Nobody hears of a project before they are a member or after they are not, whatever the order of commits."""

import asyncio
import os

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.memberships import add
from tests.support.random_work import LateCommits, RandomWork
from tests.support.rows import fetch_all
from tests.support.sessions import open_session
from tests.support.streams import Frame, InProcess, address, broker_of, listening

STEPS = int(os.environ.get("STREAM_STEPS", "300"))
_LAST = "The last one"
_LOG = """
SELECT era, CAST(CAST(xid AS text) AS bigint) AS xid, id, project_id, entity, entity_id, action, actor_id
FROM events ORDER BY era, xid, id
"""


def kinds(stream: InProcess) -> list[str]:
    """Return the names of all events so far."""
    return [frame.event for frame in stream.frames if frame.is_event]


async def test_nothing_comes_after_a_removal(app: FastAPI, alice: Person, bob: Person) -> None:
    garden = await alice.new_project("Garden")
    await add(alice, garden, bob, "viewer")
    async with listening(app, alice) as of_alice, listening(app, bob) as of_bob:
        task = await alice.new_task(garden, title="Dig")
        await of_bob.titles(1)
        await alice.delete(f"/projects/{garden}/members/{bob.id}")
        removal = await of_bob.next_event()
        assert (removal["entity"], removal["action"], removal["id"], removal["member"]) == (
            "member",
            "removed",
            bob.id,
            None,
        )
        await alice.patch(f"/tasks/{task['id']}", {"title": "Secret"})
        await bob.new_task(title="Own")
        assert await of_bob.titles(1) == ["Own"]
        assert await of_alice.until(lambda frame: b"Secret" in str(frame.data).encode())
        assert "Secret" not in str(of_bob.frames)


async def test_who_is_added_hears_from_then_on(app: FastAPI, alice: Person, bob: Person) -> None:
    garden = await alice.new_project("Garden")
    async with listening(app, bob) as stream:
        await alice.new_task(garden, title="Before")
        await add(alice, garden, bob, "viewer")
        await alice.new_task(garden, title="After")
        await stream.until(lambda frame: frame.event == "task.created")
        assert kinds(stream) == ["member.added", "task.created"]
        assert stream.events[-1]["task"]["title"] == "After"
        await bob.delete(f"/projects/{garden}/members/{bob.id}")
        assert (await stream.next_event())["action"] == "removed"


async def test_a_deleted_project_is_lost_by_its_members(app: FastAPI, alice: Person, bob: Person) -> None:
    garden = await alice.new_project("Garden")
    await add(alice, garden, bob)
    async with listening(app, alice) as of_alice, listening(app, bob) as of_bob:
        await alice.delete(f"/projects/{garden}")
        for person, stream in ((alice, of_alice), (bob, of_bob)):
            event = await stream.until(lambda frame: frame.event == "member.removed")
            while event.data["id"] != person.id:
                event = await stream.until(lambda frame: frame.event == "member.removed")
        await alice.new_task(title="Own")
        await of_alice.titles(1)
        assert "project.deleted" not in kinds(of_alice)


async def test_a_row_is_shown_in_its_project_alone(app: FastAPI, alice: Person, bob: Person) -> None:
    garden, secret = await alice.new_project("Garden"), await alice.new_project("Secret")
    await add(alice, garden, bob, "viewer")
    task = await alice.new_task(garden, title="Dig")
    async with listening(app, alice) as of_alice, listening(app, bob) as of_bob:
        await alice.patch(f"/tasks/{task['id']}", {"project_id": secret, "title": "Hidden"})
        left = await of_bob.until(lambda frame: frame.event == "task.moved_out")
        assert left.data["task"] is None
        arrived = await of_alice.until(lambda frame: frame.event == "task.moved_in")
        assert arrived.data["task"]["title"] == "Hidden"
        assert "task.moved_in" not in kinds(of_bob)


async def test_entity_filters_do_not_hide_the_loss_of_a_project(app: FastAPI, alice: Person, bob: Person) -> None:
    garden = await alice.new_project("Garden")
    await add(alice, garden, bob)
    async with listening(app, bob, entity="comment") as stream:
        await alice.new_task(garden)
        await alice.delete(f"/projects/{garden}/members/{bob.id}")
        await stream.next_event()
        assert kinds(stream) == ["member.removed"]


async def test_a_row_is_not_younger_than_the_removal_of_its_reader(
    app: FastAPI, alice: Person, bob: Person, database_url: str
) -> None:
    garden = await alice.new_project("Garden")
    await add(alice, garden, bob, "viewer")
    task = await alice.new_task(garden, title="Known")
    url = database_url.replace("postgresql+asyncpg", "postgresql")
    first, second = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with listening(app, alice) as of_alice, listening(app, bob) as of_bob:
            await first.execute("BEGIN; SELECT pg_current_xact_id()")
            await alice.patch(f"/tasks/{task['id']}", {"priority": 4})
            await second.execute("BEGIN; SELECT pg_current_xact_id()")
            await alice.delete(f"/projects/{garden}/members/{bob.id}")
            await alice.patch(f"/tasks/{task['id']}", {"title": "Secret"})
            # Now the first change is below the horizon, and the removal above it; the row has both changes.
            await first.execute("COMMIT")
            event = await of_alice.next_event()
            assert (event["changes"], event["task"]["title"]) == ({"priority": {"old": 1, "new": 4}}, "Secret")
            await second.execute("COMMIT")
            await of_bob.named("member.removed")
            assert "Secret" not in str(of_bob.frames)
    finally:
        await first.close()
        await second.close()


class Hearing:
    """What one person hears, with interruptions."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.last_id = ""
        self.heard: list[str] = []


def _is_last(frame: Frame) -> bool:
    return frame.is_event and frame.data["changes"].get("title", {}).get("new") == _LAST


async def _listen(app: FastAPI, of: Hearing, stop: asyncio.Event, seconds: float) -> None:
    """Listen for a while and note what came; a lone frame that was not read yet is not noted."""
    query = {"last_event_id": of.last_id} if of.last_id else {}
    stream = await InProcess(app, address(**query), {"Authorization": f"Bearer {of.person.token}"}).begun()
    if stream.status == 401:  # the account is gone
        await stream.close()
        return
    assert stream.status == 200, stream.body
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
    if stop.is_set():
        await stream.named("ready")
        await asyncio.sleep(0)
    await stream.close()
    assert not [frame for frame in stream.frames if frame.event == "reset"]
    of.last_id = stream.last_id
    of.heard += [event["cursor"] for event in stream.events]


@pytest.mark.parametrize("seed", [1, 2])
async def test_each_hears_what_they_may_and_all_of_it(
    app: FastAPI, database: Database, database_url: str, sign_up: SignUp, seed: int
) -> None:
    people = [await sign_up(name) for name in ("alice", "bob", "carol", "dave")]
    everybody = [Hearing(person) for person in people]
    work = RandomWork(list(people), sign_up, seed)
    late = LateCommits(database_url)
    stop = asyncio.Event()
    # Of its own, since whoever changes the members of a project waits for those that write into it.
    late_project = await people[0].new_project("Late")
    for person in people[1:]:
        await add(people[0], late_project, person, "viewer")
    (start,) = await fetch_all(database, "SELECT COALESCE(max(id), 0) AS id FROM events")

    async def listen_on(of: Hearing) -> None:
        while not stop.is_set():
            await _listen(app, of, stop, 0.05 + 0.4 * work._random.random())

    # Their first streams begin before anything happens.
    for of in everybody:
        async with listening(app, of.person) as stream:
            pass
        of.last_id = stream.last_id
    listeners = [asyncio.create_task(listen_on(of)) for of in everybody]
    try:
        for _ in range(STEPS):
            await work.do()
            if work.chance(0.03):
                await late.begin(late_project)
            if work.chance(0.05):
                await late.commit()
    finally:
        await late.commit_all()
        stop.set()
        await asyncio.gather(*listeners)
    for of in everybody:
        await of.person.new_task(title=_LAST)
    log = [row for row in await fetch_all(database, _LOG) if row["id"] > start["id"]]
    epoch = await app.state.epochs.current()
    for of in everybody:
        # What was left when all stopped.
        async with listening(app, of.person, last_event_id=of.last_id) as stream:
            # What the process has not read yet comes behind `ready`.
            if not any(map(_is_last, stream.frames)):
                await stream.until(_is_last)
            of.heard += [event["cursor"] for event in stream.events]
        user_id = of.person.id
        heard = [tuple(epoch.read(cursor)) for cursor in of.heard]
        assert heard == sorted(set(heard)), "in order, once"
        rights, may, must = {of.person.inbox_id, late_project}, set(), dict[int, set[tuple[int, int, int]]]()
        own = set()
        for row in log:
            position, project_id = (row["era"], row["xid"], row["id"]), row["project_id"]
            is_own = row["entity"] == "member" and row["entity_id"] == user_id
            if is_own and row["action"] in {"added", "removed"}:
                own.add(position)
                (rights.add if row["action"] == "added" else rights.discard)(project_id)
                must.pop(project_id, None)
            if row["entity"] == "project" and row["action"] == "created" and row["actor_id"] == user_id:
                rights.add(project_id)
            if project_id in rights or position in own:
                may.add(position)
                must.setdefault(project_id, set()).add(position)
        assert set(heard) <= may
        assert own <= set(heard)
        for project_id in rights:
            assert must.get(project_id, set()) <= set(heard)
    assert len(broker_of(app).streams) == 0
    async with open_session(database) as session:
        assert (await session.execute(text("SELECT count(*) FROM stream_tickets"))).scalar_one() == 0

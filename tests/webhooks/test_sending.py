"""What is sent, in which order, and what becomes of what is not accepted."""

import asyncio

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.rows import execute, fetch_all
from tests.support.sessions import open_transaction
from tests.support.webhook_receivers import Received, Receiver, Write, answer, receiving, until
from tests.support.webhooks import new_hook, pass_time, sending, until_idle, wait_for_attempts


async def test_what_happens_is_sent_in_order(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    garden = await alice.new_project("Garden")
    await alice.new_task(garden, title="Before")
    hook = await new_hook(alice, garden, receiver.url)
    async with sending(app):
        task = await alice.new_task(garden, title="Mow")
        await alice.patch(f"/tasks/{task['id']}", {"status": "completed"})
        comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "Done"})).json()
        await alice.new_task(title="Elsewhere")
        await alice.delete(f"/tasks/{task['id']}")
        await until(lambda: len(receiver.received) == 4)
        await until(hook.is_at_rest)
    assert receiver.types == ["task.created", "task.updated", "comment.created", "task.deleted"]
    assert len(set(receiver.ids)) == 4
    for request in receiver.received:
        data = request.document["data"]
        assert (data["project_id"], data["actor_id"], data["truncated"]) == (garden, alice.id, False)
        assert request.head == "POST /hook?from=tests HTTP/1.1"
        assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert request.headers["content-type"] == "application/json"
    deleted = receiver.received[3].document["data"]
    assert (deleted["id"], deleted["task"]) == (task["id"], None)
    assert receiver.received[2].document["data"]["id"] == comment["id"]
    changes = await alice.get("/changes", params={"since": deleted["cursor"]})
    assert changes.json()["changes"] == []
    found = await hook.read()
    assert (found["state"], found["failing_since"], found["parked"]) == ("active", None, 0)
    assert found["last_success_at"] is not None


async def test_only_what_was_asked_for(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url, "comment.*", "task.deleted")
    for _ in range(3):
        task = await alice.new_task(garden)
        await alice.post(f"/tasks/{task['id']}/comments", {"body": "Hm"})
    await alice.delete(f"/tasks/{task['id']}")
    await alice.new_task(garden)
    async with sending(app):
        await until(hook.is_at_rest)
    assert receiver.types == ["comment.created"] * 3 + ["task.deleted"]
    assert await hook.states() == ["delivered"] * 4


async def test_it_is_retried_in_place_with_the_same_id_and_body(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url)
    task = await alice.new_task(garden, title="Mow")
    await alice.new_task(garden, title="Next")
    receiver.status = 500
    async with sending(app) as sender:
        await wait_for_attempts(database, hook, 1)
        await alice.patch(f"/tasks/{task['id']}", {"title": "Mow the lawn"})
        for attempts, seconds in ((2, 5), (3, 30)):
            await pass_time(database, sender, seconds=seconds - 2)
            await pass_time(database, sender, seconds=2)
            await wait_for_attempts(database, hook, attempts)
        first = (await hook.deliveries())[0]
        assert (first["state"], first["attempts"], first["status"]) == ("pending", 3, 500)
        assert first["error"] == "the answer was 500"
        receiver.status = 200
        await pass_time(database, sender, seconds=120)
        await until(hook.is_at_rest)
    assert len(set(receiver.ids[:4])) == 1
    assert len({request.body for request in receiver.received[:4]}) == 1
    assert receiver.received[0].document["data"]["task"]["title"] == "Mow"
    assert receiver.types[4:] == ["task.created", "task.updated"]


async def test_poison_is_passed_and_tried_again_later(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url, "task.created")
    for title in ("One", "Poison", "Three", "Four"):
        await alice.new_task(garden, title=title)

    def title_of(request: Received) -> str:
        return str(request.document["data"]["task"]["title"])

    async def respond(request: Received, write: Write) -> None:
        await write(answer(400 if title_of(request) == "Poison" else 200))

    receiver.respond = respond
    async with sending(app) as sender:
        for attempts in (2, 3, 4):
            await wait_for_attempts(database, hook, attempts)
            assert [title_of(request) for request in receiver.received] == ["One"] + ["Poison"] * (attempts - 1)
            await pass_time(database, sender, minutes=2)
        await wait_for_attempts(database, hook, 7)
        assert [title_of(request) for request in receiver.received[5:]] == ["Three", "Four"]
        found = await hook.read()
        assert (found["state"], found["parked"], found["failing_since"]) == ("active", 1, None)
        await pass_time(database, sender, minutes=5)
        await wait_for_attempts(database, hook, 8)
        # After days it ends, and the webhook goes on.
        for attempts in range(9, 40):
            if (await hook.states())[1] == "failed":
                break
            await alice.new_task(garden, title="Other")
            await pass_time(database, sender, hours=24)
            await wait_for_attempts(database, hook, attempts)
    assert await hook.states() == ["delivered", "failed", *["delivered"] * (len(await hook.states()) - 2)]
    assert (await hook.read())["state"] == "active"


async def test_three_parked_in_a_row_fail_and_one_success_frees_all(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url, "task.created")
    for n in range(6):
        await alice.new_task(garden, title=str(n))
    receiver.status = 500
    async with sending(app) as sender:
        await wait_for_attempts(database, hook, 1)
        while (await hook.read())["state"] == "active":
            assert len(receiver.received) < 30
            await pass_time(database, sender, seconds=121)
            await until_idle(database)
        found = await hook.read()
        assert (found["state"], found["parked"]) == ("failing", 3)
        assert found["failing_since"] is not None
        tried = len(receiver.received)
        for n in range(1, 4):
            await pass_time(database, sender, hours=12)
            await until(lambda: len(receiver.received) == tried + n)  # noqa: B023
            await until_idle(database)
        assert {request.id for request in receiver.received[tried:]} == {receiver.received[0].id}
        receiver.status = 200
        await pass_time(database, sender, hours=24)
        await until(hook.is_at_rest)
    titles = [request.document["data"]["task"]["title"] for request in receiver.received[-6:]]
    assert titles == [str(n) for n in range(6)]
    assert (await hook.read())["state"] == "active"


async def test_a_receiver_that_is_down_for_six_days_misses_nothing(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url)
    receiver.status = 503
    created = 0
    async with sending(app) as sender:
        while (await hook.read())["state"] != "disabled":
            assert created < 60
            await alice.new_task(garden, title=str(created))
            created += 1
            await pass_time(database, sender, hours=4)
            await until_idle(database)
        found = await hook.read()
        assert (found["enabled"], found["disabled_reason"]) == (False, "failures")
        tried = len(receiver.received)
        await pass_time(database, sender, days=1)
        await alice.new_task(garden, title=str(created))
        created += 1
        await until_idle(database)
        assert len(receiver.received) == tried
        receiver.status = 200
        await alice.patch(hook.path, {"enabled": True})
        await until(hook.is_at_rest)
    titles = [request.document["data"]["task"]["title"] for request in receiver.received[tried:]]
    assert titles == [str(n) for n in range(created)]


async def test_gone_disables_and_nothing_is_lost(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url)
    receiver.status = 410
    async with sending(app):
        await alice.new_task(garden)
        await until(lambda: receiver.received)

        async def is_disabled() -> bool:
            return bool((await hook.read())["disabled_reason"] == "gone")

        await until(is_disabled)
        receiver.status = 200
        await alice.patch(hook.path, {"enabled": True})
        await until(hook.is_at_rest)
    assert receiver.ids[0] == receiver.ids[1]


async def test_a_redirect_is_a_failure(alice: Person, app: FastAPI, database: Database, receiver: Receiver) -> None:
    garden = await alice.new_project("Garden")
    async with receiving() as elsewhere:

        async def respond(_: Received, write: Write) -> None:
            await write(answer(307, f"Location: {elsewhere.url}"))

        receiver.respond = respond
        hook = await new_hook(alice, garden, receiver.url)
        await alice.new_task(garden)
        async with sending(app):
            await wait_for_attempts(database, hook, 1)
        assert elsewhere.connections == 0
    assert [(one["state"], one["status"]) for one in await hook.deliveries()] == [("pending", 307)]


@pytest.mark.parametrize(
    ("status", "value", "seconds"), [(503, "3600", 3600), (429, "100000000", 86400), (500, "3600", 5)]
)
async def test_retry_after_is_honoured(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver, status: int, value: str, seconds: int
) -> None:
    garden = await alice.new_project("Garden")

    async def respond(_: Received, write: Write) -> None:
        await write(answer(status, f"Retry-After: {value}"))

    receiver.respond = respond
    hook = await new_hook(alice, garden, receiver.url)
    await alice.new_task(garden)
    async with sending(app):
        await wait_for_attempts(database, hook, 1)
    rows = await fetch_all(
        database, "SELECT EXTRACT(epoch FROM next_attempt_at - last_attempt_at) AS wait FROM webhook_deliveries"
    )
    assert [int(row["wait"]) for row in rows] == [seconds]


async def test_one_at_a_time_and_four_of_a_host(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    hooks = [await new_hook(alice, await alice.new_project(), receiver.url) for _ in range(6)]
    gate = asyncio.Event()
    seen: list[int] = []

    async def respond(request: Received, write: Write) -> None:
        seen.append(request.document["data"]["project_id"])
        await gate.wait()
        await write(answer(200))

    receiver.respond = respond
    for hook in hooks:
        for _ in range(2):
            await alice.new_task(hook.project_id)
    async with sending(app) as sender:
        await until(lambda: receiver.at_once == 4)
        sender.wake()
        await asyncio.sleep(0.2)
        assert receiver.at_once == 4
        assert len(set(seen)) == 4
        gate.set()
        for hook in hooks:
            await until(hook.is_at_rest)
    assert receiver.most_at_once == 4
    assert len(receiver.received) == 12


async def test_a_deleted_project_ends_its_webhooks_with_its_end(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url)
    await alice.new_task(garden)
    await alice.delete(f"/projects/{garden}")
    async with sending(app):
        await until(lambda: receiver.types[-1:] == ["project.deleted"])
        await wait_for_attempts(database, hook, 3)
    assert receiver.types == ["task.created", "member.removed", "project.deleted"]
    assert all(value is None for request in receiver.received for value in [request.document["data"].get("task")])


async def test_what_is_above_the_horizon_waits(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project("Garden")
    hook = await new_hook(alice, garden, receiver.url, "task.created")
    async with sending(app):
        async with open_transaction(database) as session:
            await session.execute(
                text(
                    "INSERT INTO events (project_id, entity, entity_id, version, action) "
                    "VALUES (:project, 'task', 1, 1, 'created')"
                ),
                {"project": garden},
            )
            await alice.new_task(garden, title="Overtakes")
            await asyncio.sleep(0.3)
            assert receiver.received == []
        await until(hook.is_at_rest)
    assert [request.document["data"]["id"] == 1 for request in receiver.received] == [True, False]
    await execute(database, "DELETE FROM events")

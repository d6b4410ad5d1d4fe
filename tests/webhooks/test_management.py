"""Webhooks as their owners manage them."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.following.positions import START, Position
from taskmanager.webhooks.retention import DROP_BODIES
from tests.conftest import Person
from tests.support.jobs import run_job
from tests.support.rows import execute, fetch_one
from tests.support.webhook_receivers import Receiver, until
from tests.support.webhooks import Hook, new_hook, pass_time, sending, until_idle, wait_for_attempts

URL = "https://8.8.8.8/hook"


async def test_its_life(alice: Person) -> None:
    garden = await alice.new_project()
    answer = await alice.post(
        f"/projects/{garden}/webhooks",
        {"name": " Chat ", "url": URL, "events": ["task.*", "comment.created", "task.*"]},
    )
    made = answer.json()
    assert answer.headers["Location"] == f"/api/v1/projects/{garden}/webhooks/{made['id']}"
    assert made.pop("secret").startswith("whsec_")
    assert (made["name"], made["events"], made["state"]) == ("Chat", ["comment.created", "task.*"], "active")
    path = f"/projects/{garden}/webhooks"
    assert (await alice.get(path)).json() == {"webhooks": [made], "next_cursor": None}
    assert (await alice.get(f"{path}/{made['id']}")).json() == made
    changed = (await alice.patch(f"{path}/{made['id']}", {"name": "Mail", "enabled": False, "events": []})).json()
    assert (changed["name"], changed["events"]) == ("Mail", [])
    assert (changed["state"], changed["disabled_reason"]) == ("disabled", "owner")
    assert (await alice.patch(f"{path}/{made['id']}", {"enabled": True})).json()["state"] == "active"
    await alice.delete(f"{path}/{made['id']}")
    await alice.get(f"{path}/{made['id']}", 404)
    await alice.delete(f"{path}/{made['id']}", 404)


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"url": "http://8.8.8.8/"}, "url"),
        ({"url": "https://8.8.8.8/" + "x" * 2_048}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": None}, "url"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"events": ["label.created"]}, "events"),
        ({"events": ["*"]}, "events"),
        ({"events": ["task.*.x"]}, "events"),
        ({"events": ["task.created"] * 51}, "events"),
        ({"events": None}, "events"),
        ({"enabled": "yes"}, "enabled"),
        ({"secret": "whsec_x"}, "secret"),
    ],
)
async def test_bad_values(alice: Person, body: dict[str, Any], loc: str) -> None:
    garden = await alice.new_project()
    hook = await new_hook(alice, garden, URL)
    for answer in (
        await alice.post(f"/projects/{garden}/webhooks", {"name": "A", "url": URL, **body}, 422),
        await alice.patch(hook.path, body, 422),
    ):
        assert answer.json()["errors"][0]["loc"][:2] == ["body", loc]


async def test_twenty_at_most_however_many_ask(alice: Person) -> None:
    garden = await alice.new_project()
    answers = await asyncio.gather(
        *(alice.post(f"/projects/{garden}/webhooks", {"name": str(n), "url": URL}, None) for n in range(30))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 10
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"limit-reached"}
    first = (await alice.get(f"/projects/{garden}/webhooks?limit=7")).json()
    rest = (await alice.get(f"/projects/{garden}/webhooks", params={"cursor": first["next_cursor"]})).json()
    assert len({hook["id"] for hook in first["webhooks"] + rest["webhooks"]}) == 20


async def test_an_archived_project_keeps_them_as_they_are(alice: Person, receiver: Receiver, app: FastAPI) -> None:
    garden = await alice.new_project()
    hook = await new_hook(alice, garden, receiver.url)
    await alice.patch(f"/projects/{garden}", {"archived": True})
    async with sending(app):
        await until(lambda: receiver.received)
        await until(hook.is_at_rest)
    (delivery,) = await hook.deliveries()
    for method, path, body in (
        ("POST", f"/projects/{garden}/webhooks", {"name": "A", "url": URL}),
        ("PATCH", hook.path, {"name": "B"}),
        ("DELETE", hook.path, None),
        ("POST", f"{hook.path}/rotate-secret", None),
        ("POST", f"{hook.path}/test", None),
        ("POST", f"{hook.path}/replay", {"since": receiver.received[0].document["data"]["cursor"]}),
        ("POST", f"{hook.path}/deliveries/{delivery['id']}/redeliver", None),
    ):
        answer = await alice.request(method, path, 409, json=body)
        assert answer.json()["code"] == "project-archived", path


async def test_a_test_is_sent_once(alice: Person, app: FastAPI, database: Database, receiver: Receiver) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url, "comment.created")
    receiver.status = 500
    asked = (await alice.post(f"{hook.path}/test", expect=202)).json()
    assert asked["type"] == "webhook.test"
    async with sending(app) as sender:
        await wait_for_attempts(database, hook, 1)
        await pass_time(database, sender, days=2)
        await until_idle(database)
        assert len(receiver.received) == 1
        receiver.status = 200
        await alice.post(f"{hook.path}/test", expect=202)
        await wait_for_attempts(database, hook, 2)
    assert receiver.types == ["webhook.test"] * 2
    assert receiver.received[0].document["data"] == {"project_id": hook.project_id, "webhook_id": hook.id}
    assert await hook.states() == ["failed", "delivered"]
    assert (await hook.read())["failing_since"] is None


async def test_many_tests_wait(alice: Person) -> None:
    hook = await new_hook(alice, await alice.new_project(), URL)
    for _ in range(10):
        await alice.post(f"{hook.path}/test", expect=202)
    assert (await alice.post(f"{hook.path}/test", expect=429)).headers["Retry-After"] == "10"


async def test_a_message_is_shown_with_its_body_and_the_answer(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    await alice.new_task(hook.project_id, title="Ü")
    receiver.status = 404
    async with sending(app):
        await wait_for_attempts(database, hook, 1)
    (listed,) = await hook.deliveries()
    found = (await alice.get(f"{hook.path}/deliveries/{listed['id']}")).json()
    assert found["body"].encode() == receiver.received[0].body
    assert (found["answer"], found["status"], found["message_id"]) == ("", 404, receiver.received[0].id)
    assert {name: found[name] for name in listed} == listed
    for path in (f"{hook.path}/deliveries/999999", f"{hook.path[:-1]}999999/deliveries/{listed['id']}"):
        await alice.get(path, 404)


async def redeliver(hook: Hook, delivery: dict[str, Any], expect: int = 202) -> dict[str, Any]:
    path = f"{hook.path}/deliveries/{delivery['id']}/redeliver"
    found: dict[str, Any] = (await hook.owner.post(path, expect=expect)).json()
    return found


async def test_a_message_is_sent_again_with_its_id_and_body(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    task = await alice.new_task(hook.project_id, title="As it was")
    async with sending(app) as sender:
        await until(hook.is_at_rest)
        await alice.patch(f"/tasks/{task['id']}", {"title": "As it is"})
        await until(hook.is_at_rest)
        delivery = (await hook.deliveries())[0]
        assert (await redeliver(hook, delivery))["state"] == "parked"
        await until(lambda: len(receiver.received) == 3)
        await until(hook.is_at_rest)
        assert receiver.received[2].body == receiver.received[0].body
        assert receiver.ids[2] == receiver.ids[0]
        # The body is kept for a week.
        await pass_time(database, sender, days=8)
        await run_job(DROP_BODIES, app)
        gone = await redeliver(hook, delivery, 410)
    assert gone["code"] == "message-gone"
    assert (await alice.get(f"{hook.path}/deliveries/{delivery['id']}")).json()["body"] is None


async def test_what_fails_again_is_tried_as_any_other(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    await alice.new_task(hook.project_id)
    async with sending(app) as sender:
        await until(hook.is_at_rest)
        receiver.status = 500
        await redeliver(hook, (await hook.deliveries())[0])
        await wait_for_attempts(database, hook, 1)
        await until(lambda: len(receiver.received) == 2)
        await until_idle(database)
        assert await hook.states() == ["parked"]
        receiver.status = 200
        await pass_time(database, sender, minutes=5)
        await until(hook.is_at_rest)
    assert len(set(receiver.ids)) == 1
    assert len(receiver.received) == 3


@pytest.mark.parametrize("way", ["disabled", "paused"])
async def test_nothing_is_asked_of_one_that_is_not_sent_to(alice: Person, database: Database, way: str) -> None:
    hook = await new_hook(alice, await alice.new_project(), URL)
    delivery = (await alice.post(f"{hook.path}/test", expect=202)).json()
    if way == "disabled":
        await alice.patch(hook.path, {"enabled": False})
    else:
        await execute(database, "UPDATE webhooks SET system_id = system_id + 1")
    assert (await hook.read())["state"] == way
    await alice.new_task(hook.project_id)
    cursor = (await alice.get("/changes")).json()["cursor"]
    while (page := (await alice.get("/changes", params={"since": cursor})).json())["has_more"]:
        cursor = page["cursor"]
    for path, body in (
        ("test", None),
        ("replay", {"since": page["cursor"]}),
        (f"deliveries/{delivery['id']}/redeliver", None),
    ):
        answer = await alice.post(f"{hook.path}/{path}", body, 409)
        assert (answer.json()["code"], answer.json()["state"]) == ("webhook-inactive", way)


async def test_a_replay_sends_everything_since_in_order(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    for n in range(4):
        await alice.new_task(hook.project_id, title=str(n))
    async with sending(app):
        await until(hook.is_at_rest)
        cursor = receiver.received[0].document["data"]["cursor"]
        await alice.post(f"{hook.path}/replay", {"since": cursor}, 202)
        await alice.new_task(hook.project_id, title="New")
        await until(lambda: len(receiver.received) == 8)
        await until(hook.is_at_rest)
    assert receiver.ids[4:7] == receiver.ids[1:4]
    assert [one.body for one in receiver.received[4:7]] == [one.body for one in receiver.received[1:4]]
    assert receiver.received[7].document["data"]["task"]["title"] == "New"
    assert await hook.states() == ["delivered"] * 5


async def test_a_replay_takes_the_message_that_is_next_with_it(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    for n in range(3):
        await alice.new_task(hook.project_id, title=str(n))
    async with sending(app) as sender:
        await until(hook.is_at_rest)
        receiver.status = 500
        await alice.new_task(hook.project_id, title="3")
        await wait_for_attempts(database, hook, 4)
        receiver.status = 200
        cursor = receiver.received[0].document["data"]["cursor"]
        await alice.post(f"{hook.path}/replay", {"since": cursor}, 202)
        sender.wake()
        await until(hook.is_at_rest)
    titles = [request.document["data"]["task"]["title"] for request in receiver.received]
    assert titles == ["0", "1", "2", "3", "1", "2", "3"]


async def test_cursors_of_a_replay(alice: Person, database: Database, app: FastAPI) -> None:
    hook = await new_hook(alice, await alice.new_project(), URL)
    epoch = await app.state.epochs.current()
    await alice.new_task(hook.project_id)
    loading = (await alice.get("/changes", params={"limit": 1})).json()["cursor"]
    log = await fetch_one(database, "SELECT era FROM event_log")
    good = epoch.write(START)
    for cursor, status in (
        (good[:-1] + ("A" if good[-1] != "A" else "B"), 400),
        ("x", 400),
        (loading, 400),
        (epoch.write(Position(log["era"], 2**60, 1)), 410),
        (epoch._replace(id=UUID(int=1)).write(START), 410),
        (good, 202),
    ):
        answer = await alice.post(f"{hook.path}/replay", {"since": cursor}, None)
        assert answer.status_code == status, (cursor, answer.text)
    await execute(database, "UPDATE event_log SET floor_xid = '3'")
    assert (await alice.post(f"{hook.path}/replay", {"since": good}, 410)).json()["reason"] == "retention"
    await execute(database, "UPDATE event_log SET floor_xid = '0'")


async def test_others_may_not_look(alice: Person, bob: Person) -> None:
    hook = await new_hook(alice, await alice.new_project(), URL)
    for role, status in (("viewer", 403), ("editor", 403), ("owner", 200)):
        await bob.get(hook.path, 404)
        await alice.post(f"/projects/{hook.project_id}/members", {"username": "bob", "role": role})
        for path in (hook.path, f"{hook.path}/deliveries", f"/projects/{hook.project_id}/webhooks"):
            await bob.get(path, status)
        await alice.delete(f"/projects/{hook.project_id}/members/{bob.id}")

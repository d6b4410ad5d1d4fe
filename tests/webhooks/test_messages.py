"""What a message says."""

from fastapi import FastAPI

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.webhook_receivers import Receiver, until
from tests.support.webhooks import new_hook, sending


async def test_a_row_is_that_of_its_get(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    garden = await alice.new_project("Garden")
    await new_hook(alice, garden, receiver.url)
    task = await alice.new_task(garden, title="Mow", tags=["é"])
    comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "Ünïcode"})).json()
    project = (await alice.patch(f"/projects/{garden}", {"description": "Green"})).json()
    async with sending(app):
        await until(lambda: len(receiver.received) == 3)
    rows = [request.document["data"] for request in receiver.received]
    assert rows[0]["task"] == (await alice.get(f"/tasks/{task['id']}")).json()
    assert rows[1]["comment"] == comment
    assert rows[2]["project"] == project
    assert rows[2]["changes"] == {"description": {"old": None, "new": "Green"}}


async def test_a_moved_task_is_shown_where_it_is_only(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    garden, house = await alice.new_project("Garden"), await alice.new_project("House")
    task = await alice.new_task(garden, title="Paint")
    await new_hook(alice, garden, receiver.url)
    await alice.patch(f"/tasks/{task['id']}", {"project_id": house})
    async with sending(app):
        await until(lambda: receiver.received)
    data = receiver.received[0].document["data"]
    assert (receiver.types, data["task"]) == (["task.moved_out"], None)


async def test_a_large_message_comes_without_its_texts(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project("Garden")
    task = await alice.new_task(garden)
    comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "😀" * 10_000})).json()
    await new_hook(alice, garden, receiver.url)
    await alice.patch(f"/tasks/{task['id']}/comments/{comment['id']}", {"body": "🌍" * 10_000})
    async with sending(app):
        await until(lambda: receiver.received)
    data = receiver.received[0].document["data"]
    assert len(receiver.received[0].body) <= 65_536
    assert (data["truncated"], data["changes"], data["comment"]["body"]) == (True, {}, "🌍" * 10_000)

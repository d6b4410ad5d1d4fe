"""The position of a webhook: it passes over nothing, whatever owners and the retention of events do to it."""

from typing import Any

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.following.positions import Position
from taskmanager.following.retention import DELETE_EVENTS, MOVE_FLOOR
from taskmanager.webhooks.guard import ResolverBusyError
from taskmanager.webhooks.retention import KEEP_ABOVE_FLOOR
from taskmanager.webhooks.sender import WebhookSender
from tests.conftest import Person
from tests.support.jobs import run_job
from tests.support.rows import execute, fetch_all
from tests.support.webhook_receivers import Receiver, until
from tests.support.webhooks import Hook, new_hook, new_sender, pass_time, sending, until_idle, wait_for_attempts


def titles(receiver: Receiver) -> list[str]:
    """Return the titles of the tasks that were sent."""
    return [request.document["data"]["task"]["title"] for request in receiver.received]


async def hook_with_tasks(owner: Person, receiver: Receiver, count: int) -> Hook:
    """Make a webhook of a new project, and so many tasks in it: "0", "1" and so on."""
    hook = await new_hook(owner, await owner.new_project(), receiver.url)
    for n in range(count):
        await owner.new_task(hook.project_id, title=str(n))
    return hook


async def cursor_of(app: FastAPI, database: Database, hook: Hook, number: int) -> str:
    """Return the cursor of the event of a task that was made, counted from the first one."""
    rows = await fetch_all(
        database,
        """
        SELECT era, CAST(CAST(xid AS text) AS bigint) AS xid, id FROM events
        WHERE project_id = :project_id AND entity = 'task' ORDER BY era, xid, id
        """,
        project_id=hook.project_id,
    )
    epoch = await app.state.epochs.current()
    return str(epoch.write(Position(**rows[number])))


async def test_a_replay_ahead_of_what_was_sent_passes_nothing_over(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await hook_with_tasks(alice, receiver, 5)
    await alice.post(f"{hook.path}/replay", {"since": await cursor_of(app, database, hook, 3)}, 202)
    async with sending(app):
        await until(hook.is_at_rest)
    assert titles(receiver) == ["0", "1", "2", "3", "4"]


async def test_a_replay_ahead_leaves_the_message_that_is_next_in_its_place(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    receiver.status = 500
    hook = await hook_with_tasks(alice, receiver, 3)
    async with sending(app) as sender:
        await wait_for_attempts(database, hook, 1)
        receiver.status = 200
        await alice.post(f"{hook.path}/replay", {"since": await cursor_of(app, database, hook, 1)}, 202)
        await pass_time(database, sender, seconds=6)
        await until(hook.is_at_rest)
    assert titles(receiver) == ["0", "0", "1", "2"]


async def test_of_two_replays_the_one_that_goes_back_further_counts(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await hook_with_tasks(alice, receiver, 4)
    async with sending(app):
        await until(hook.is_at_rest)
    for number in (1, 0, 2):
        await alice.post(f"{hook.path}/replay", {"since": await cursor_of(app, database, hook, number)}, 202)
    async with sending(app):
        await until(hook.is_at_rest)
        await until(lambda: len(receiver.received) == 7)
    assert titles(receiver) == ["0", "1", "2", "3", "1", "2", "3"]


async def test_a_message_that_waited_does_not_take_the_webhook_back_below_the_floor(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    receiver.status = 410
    await alice.new_task(hook.project_id, title="Waits")
    async with sending(app):
        await wait_for_attempts(database, hook, 1)
        await until_idle(database)
    assert (await hook.read())["disabled_reason"] == "gone"
    await pass_time(database, days=31)
    await alice.new_task(title="So that the log has an end")
    for job in (MOVE_FLOOR, DELETE_EVENTS):
        await run_job(job, app, event_retention_days=30)
    receiver.status = 200
    await alice.patch(hook.path, {"enabled": True})
    async with sending(app):
        await until(lambda: len(receiver.received) == 2)
        await until_idle(database)
        await run_job(KEEP_ABOVE_FLOOR, app, event_retention_days=30)
        await alice.new_task(hook.project_id, title="New")
        await until(lambda: len(receiver.received) == 3)
        await until(hook.is_at_rest)
    assert (await hook.read())["state"] == "active"
    assert titles(receiver) == ["Waits", "Waits", "New"]


async def test_a_look_up_that_cannot_be_made_is_no_attempt(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    tries = 0
    sender: WebhookSender = new_sender(app)
    send = sender._send

    async def send_later(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise ResolverBusyError
        return await send(*arguments)

    sender._send = send_later
    await alice.new_task(hook.project_id, title="Late")
    async with sending(app, sender):
        await until(hook.is_at_rest)
    assert tries == 3
    assert [delivery["attempts"] for delivery in await hook.deliveries()] == [1]
    await execute(database, "DELETE FROM webhooks")

"""What becomes of old messages, of webhooks that are far behind, and of those of deleted projects."""

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.following.retention import DELETE_EVENTS, MOVE_FLOOR
from taskmanager.webhooks import retention
from taskmanager.webhooks.retention import DROP_BODIES, END_OF_DELETED, KEEP_ABOVE_FLOOR, PURGE, PURGE_MANY
from tests.conftest import Person
from tests.support.event_log import count_rows
from tests.support.jobs import run_job
from tests.support.rows import execute, fetch_one
from tests.support.webhook_receivers import Receiver, until
from tests.support.webhooks import new_hook, pass_time, sending, until_idle

URL = "https://8.8.8.8/hook"
_MESSAGES = """
    INSERT INTO webhook_deliveries (project_id, webhook_id, message_id, type, body, state, finished_at, created_at)
    SELECT project_id, id, 'msg_' || n, 'task.created', '{}', :state,
           CASE WHEN :state = 'delivered' THEN now() - n * interval '1 s' END, now() - n * interval '1 s'
    FROM webhooks CROSS JOIN generate_series(1, :count) AS n
"""


async def test_bodies_go_after_a_week_and_messages_after_a_month(
    alice: Person, app: FastAPI, database: Database
) -> None:
    hook = await new_hook(alice, await alice.new_project(), URL)
    await execute(database, _MESSAGES, state="delivered", count=3)
    await execute(database, _MESSAGES, state="parked", count=2)
    for days, bodies, messages in ((6, 5, 5), (2, 2, 5), (20, 2, 5), (3, 2, 2), (100, 2, 2)):
        await pass_time(database, days=days)
        await run_job(DROP_BODIES, app)
        await run_job(PURGE, app)
        found = await fetch_one(database, "SELECT count(*) AS messages, count(body) AS bodies FROM webhook_deliveries")
        assert (found["bodies"], found["messages"]) == (bodies, messages), days
    assert await hook.states() == ["parked"] * 2


async def test_the_newest_ten_thousand_are_kept(alice: Person, app: FastAPI, database: Database) -> None:
    for _ in range(2):
        await new_hook(alice, await alice.new_project(), URL)
    await execute(database, _MESSAGES, state="delivered", count=retention.MOST_DELIVERIES + 250)
    await run_job(PURGE_MANY, app, limit=100)
    assert await count_rows(database, "webhook_deliveries") == 2 * retention.MOST_DELIVERIES
    oldest = await fetch_one(
        database, "SELECT max(now() - created_at) < interval '1 day' AS it FROM webhook_deliveries"
    )
    assert oldest["it"]


async def sweep(app: FastAPI, *jobs: object) -> None:
    for job in jobs or (KEEP_ABOVE_FLOOR, MOVE_FLOOR, KEEP_ABOVE_FLOOR, DELETE_EVENTS):
        await run_job(job, app, event_retention_days=30)  # type: ignore[arg-type]


async def test_one_that_is_below_the_floor_is_disabled_and_says_so(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    behind = await new_hook(alice, await alice.new_project(), receiver.url)
    idle = await new_hook(alice, await alice.new_project(), receiver.url)
    await alice.new_task(behind.project_id, title="Lost")
    await pass_time(database, days=31)
    await alice.new_task(title="So that the log has an end")
    await sweep(app)
    found = await behind.read()
    assert (found["state"], found["disabled_reason"]) == ("disabled", "retention")
    assert (await idle.read())["state"] == "active"
    async with sending(app):
        await alice.patch(behind.path, {"enabled": True})
        await alice.new_task(behind.project_id, title="New")
        await alice.new_task(idle.project_id, title="Idle")
        await until(behind.is_at_rest)
        await until(idle.is_at_rest)
    assert {request.document["data"]["task"]["title"] for request in receiver.received} == {"New", "Idle"}


async def test_what_is_below_the_floor_is_not_sent_in_silence(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    # The floor has been moved and the events are gone before anybody looked at the webhook.
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    await alice.new_task(hook.project_id, title="Lost")
    await pass_time(database, days=31)
    await sweep(app, MOVE_FLOOR, DELETE_EVENTS)
    await alice.new_task(hook.project_id, title="After the gap")
    async with sending(app):
        await until_idle(database)
        assert receiver.received == []
    await sweep(app, KEEP_ABOVE_FLOOR)
    assert (await hook.read())["disabled_reason"] == "retention"


async def test_those_of_deleted_projects_end(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    sent = await new_hook(alice, await alice.new_project(), receiver.url)
    unheard = await new_hook(alice, await alice.new_project(), "https://192.0.2.1.example.invalid/")
    disabled = await new_hook(alice, await alice.new_project(), receiver.url, enabled=False)
    stays = await new_hook(alice, await alice.new_project(), receiver.url)
    for hook in (sent, unheard, disabled):
        await alice.delete(f"/projects/{hook.project_id}")
    await run_job(END_OF_DELETED, app)
    assert await count_rows(database, "webhooks") == 4
    async with sending(app) as sender:
        await until(lambda: receiver.types[-1:] == ["project.deleted"])
        await until_idle(database)
        await run_job(END_OF_DELETED, app)
        assert await count_rows(database, "webhooks") == 3
        await pass_time(database, sender, days=1)
        await until_idle(database)
    await run_job(END_OF_DELETED, app)
    left = await fetch_one(database, "SELECT array_agg(id) AS ids FROM webhooks")
    assert left["ids"] == [stays.id]
    assert await count_rows(database, "webhook_deliveries") == 0

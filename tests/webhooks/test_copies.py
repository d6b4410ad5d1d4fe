"""A database that was restored or copied sends nothing until an operator says so; a promoted standby goes on."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level
from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import SECRET, Person, client_for, make_settings
from tests.support.command_line import run
from tests.support.databases import migrated, temporary_database
from tests.support.rows import Snapshot, execute, fetch_one
from tests.support.webhook_receivers import Receiver, until
from tests.support.webhooks import new_hook, sending, until_idle

ALLOWED: dict[str, Any] = {
    "webhooks_enabled": True,
    "webhook_allowed_hosts": "127.0.0.1",
    "webhook_allowed_networks": "127.0.0.1",
}


def command(url: str, folder: Path, *arguments: str) -> str:
    result = run(*arguments, environment={"DATABASE_URL": url, "SECRET_KEY": SECRET}, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.server_itself("makes a database of its own")
async def test_a_copy_sends_nothing(
    alice: Person, app: FastAPI, database: Database, database_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    garden = await alice.new_project()
    hook = await new_hook(alice, garden, receiver.url)
    receiver.status = 500
    await alice.new_task(garden, title="Sent once by the original")
    await alice.new_task(garden, title="Never sent by the copy")
    async with sending(app):
        await until(lambda: receiver.received)
        await until_idle(database)
    receiver.status = 200
    rows = await Snapshot.take(database)
    async with temporary_database(database_url, migrated(database_url)) as url:
        copy = create_app(make_settings(database_url=url, **ALLOWED))
        copy.state.maintenance.stop()
        bearer = {"Authorization": f"Bearer {alice.token}"}
        async with copy.router.lifespan_context(copy):
            await rows.restore(copy.state.database)
            # Identities go on where they were.
            await execute(copy.state.database, "SELECT setval(CAST(seqrelid AS regclass), 1000000) FROM pg_sequence")
            async with client_for(copy, headers=bearer) as client:
                task = await client.post("/api/v1/tasks", json={"title": "In the copy", "project_id": garden})
                assert task.status_code == 201
                assert (await client.get(f"/api/v1{hook.path}")).json()["state"] == "paused"
                await until_idle(copy.state.database)
                assert len(receiver.received) == 1
                findings = await examine_database(copy.state.settings, 1)
                assert [f.level for f in findings if "1 webhooks are paused" in f.message] == [Level.WARNING]
                assert command(url, tmp_path, "webhooks", "resume").startswith("1 webhooks resumed")
                copy.state.webhook_sender.wake()
                assert (await client.get(f"/api/v1{hook.path}")).json()["state"] == "active"
                await client.post("/api/v1/tasks", json={"title": "After it", "project_id": garden})
                await until(lambda: len(receiver.received) == 2)
                await until_idle(copy.state.database)
                listed = (await client.get(f"/api/v1{hook.path}/deliveries")).json()["deliveries"]
                assert [one["state"] for one in listed] == ["delivered", "failed"]
    assert receiver.received[1].document["data"]["task"]["title"] == "After it"
    assert len(receiver.received) == 2


async def test_a_word_of_the_operator_pauses_them(
    alice: Person, app: FastAPI, database: Database, database_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    garden = await alice.new_project()
    hook = await new_hook(alice, garden, receiver.url)
    assert "1 webhooks are paused" in command(database_url, tmp_path, "log", "new-epoch")
    async with sending(app) as sender:
        await alice.new_task(garden, title="Meanwhile")
        await until_idle(database)
        assert ((await hook.read())["state"], receiver.received) == ("paused", [])
        command(database_url, tmp_path, "webhooks", "resume")
        await alice.new_task(garden, title="Since then")
        sender.wake()
        await until(hook.is_at_rest)
    assert [request.document["data"]["task"]["title"] for request in receiver.received] == ["Since then"]


async def test_a_promotion_goes_on_with_good_cursors(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    garden = await alice.new_project()
    hook = await new_hook(alice, garden, receiver.url)
    async with sending(app):
        await alice.new_task(garden, title="Before")
        await until(hook.is_at_rest)
        await execute(database, "UPDATE event_log SET timeline = timeline + 1")
        await app.state.epochs.look()
        before = await fetch_one(database, "SELECT era FROM event_log")
        await alice.new_task(garden, title="After")
        await until(hook.is_at_rest)
    assert [request.document["data"]["task"]["title"] for request in receiver.received] == ["Before", "After"]
    assert f"_{before['era']}_" in receiver.ids[1]
    cursor = receiver.received[1].document["data"]["cursor"]
    assert (await alice.get("/changes", params={"since": cursor})).json()["changes"] == []

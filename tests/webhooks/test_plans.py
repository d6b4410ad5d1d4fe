"""What a look for due webhooks, and each step of one, reads: nothing of the messages that are finished."""

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.webhooks.claim_statements import CLAIM
from taskmanager.webhooks.claims import LEASE_SECONDS
from taskmanager.webhooks.retention import _END_OF_DELETED
from tests.conftest import Person
from tests.support.explained import analyze, buffers, explain
from tests.support.rows import execute
from tests.support.webhooks import Hook, new_hook, new_sender

_HOOKS = 1_000
_MESSAGES = """
INSERT INTO webhook_deliveries
    (project_id, webhook_id, message_id, type, era, xid, event_id, state, finished_at, next_attempt_at)
SELECT project_id, id, 'msg', 'task.created', {values}
FROM webhooks CROSS JOIN generate_series(1, :count) AS n WHERE id = :webhook_id
"""
_FINISHED = _MESSAGES.format(values="0, '1', n, 'delivered', now(), NULL")
_WAITING = _MESSAGES.format(values="0, '2', -n, 'parked', NULL, now() + interval '1 hour'")
_MORE_HOOKS = """
INSERT INTO webhooks (project_id, name, url, host, key_fingerprint, system_id, database_id, era, xid, event_id)
SELECT project_id, name, url, 'host ' || n, key_fingerprint, system_id, database_id, era, xid, event_id
FROM webhooks CROSS JOIN generate_series(1, :count) AS n WHERE id = :webhook_id
"""
_PROJECT_EVENTS = """
INSERT INTO events (project_id, entity, entity_id, version, action)
SELECT 1000000 + n, 'project', 1000000 + n, 1, 'created' FROM generate_series(1, :count) AS n
"""
_LOOK = {"limit": 32, "most_of_host": 4, "busy": "{}", "lease_seconds": LEASE_SECONDS}


@pytest.fixture
async def one_of_many(alice: Person, database: Database) -> Hook:
    """A webhook of a project that has a thousand others."""
    hook = await new_hook(alice, await alice.new_project(), "https://8.8.8.8/")
    await execute(database, _MORE_HOOKS, count=_HOOKS, webhook_id=hook.id)
    return hook


@pytest.mark.server_itself("plans of statements that the driver prepares")
async def test_finished_messages_are_not_read(
    alice: Person, app: FastAPI, database: Database, database_url: str
) -> None:
    hook = await new_hook(alice, await alice.new_project(), "https://8.8.8.8/")
    await execute(database, _FINISHED, count=5_000, webhook_id=hook.id)
    for _ in range(2):  # as long as nothing is known of the table, and then
        look = await explain(app, CLAIM, **_LOOK)
        assert buffers(look) < 100, buffers(look)
        next_one = await explain(
            app, new_sender(app)._claims._look, project_id=hook.project_id, webhook_id=hook.id, token=0
        )
        assert buffers(next_one) < 100, buffers(next_one)
        await analyze(database_url)


@pytest.mark.server_itself("plans of statements that the driver prepares")
async def test_what_waits_for_one_receiver_does_not_slow_the_others(
    app: FastAPI, database: Database, database_url: str, one_of_many: Hook
) -> None:
    await execute(database, _FINISHED, count=5_000, webhook_id=one_of_many.id)
    await analyze(database_url)  # PostgreSQL thinks that none waits
    before = buffers(await explain(app, CLAIM, **_LOOK))
    await execute(database, _WAITING, count=500, webhook_id=one_of_many.id)
    after = buffers(await explain(app, CLAIM, **_LOOK))
    assert after - before < 5_000, (before, after)


@pytest.mark.server_itself("plans of statements that the driver prepares")
@pytest.mark.usefixtures("one_of_many")
async def test_the_log_is_not_read_for_projects_that_are_there(
    app: FastAPI, database: Database, database_url: str
) -> None:
    await execute(database, _PROJECT_EVENTS, count=5_000)
    await analyze(database_url)
    end = await explain(app, _END_OF_DELETED, limit=200)
    assert buffers(end) < 100, buffers(end)

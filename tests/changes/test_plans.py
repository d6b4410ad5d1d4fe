"""What a page of changes reads: the page, however long the log and however many the projects."""

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.changes.repository import Filters
from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.explained import analyze, buffers, explain, scans
from tests.support.sessions import open_transaction

_LOG = text("""
INSERT INTO events (project_id, entity, entity_id, version, action)
SELECT project_id, 'task', n, 1, 'updated'
FROM generate_series(1, :count) AS n, unnest(CAST(:projects AS bigint[])) AS project_id
""")
_PROJECTS = text("""
WITH p AS (INSERT INTO projects (name) SELECT 'Project ' || n FROM generate_series(1, :count) AS n RETURNING id)
INSERT INTO project_members (project_id, user_id, role) SELECT id, :user_id, 'owner' FROM p RETURNING project_id
""")


@pytest.fixture
async def long_log(alice: Person, bob: Person, database: Database, database_url: str) -> list[int]:
    """300 projects of Alice's with 20 events each, and 60,000 events of Bob's."""
    async with open_transaction(database) as session:
        ids = list((await session.execute(_PROJECTS, {"count": 300, "user_id": alice.id})).scalars())
        await session.execute(_LOG, {"count": 20, "projects": ids})
        await session.execute(_LOG, {"count": 60_000, "projects": [bob.inbox_id]})
    await analyze(database_url)
    return ids


@pytest.mark.server_itself("plans of statements that the driver prepares")
async def test_a_page_of_the_log_reads_no_more_than_it_may(
    alice: Person, bob: Person, app: FastAPI, long_log: list[int]
) -> None:
    reader = app.state.changes_feed._reader
    start = {"era": 0, "xid": "0", "event_id": 0, "limit": 200}
    for person, most in ((alice, 8_000), (bob, 4_000)):
        plan = await explain(app, reader._log, **start, **Filters(person.id).parameters)
        assert buffers(plan) < most, buffers(plan)
        assert scans(plan["Plan"]) <= {"event_log"}
    end = await explain(app, reader._log, **{**start, "era": 2_000_000}, **Filters(bob.id).parameters)
    assert buffers(end) < 100, buffers(end)


@pytest.mark.server_itself("plans of statements that the driver prepares")
async def test_a_page_of_all_reads_its_rows_alone(alice: Person, app: FastAPI, long_log: list[int]) -> None:
    reader = app.state.changes_feed._reader
    place = {"rank": 0, "after_id": 0, "last_project_id": 2**53 - 1, "limit": 200}
    early = await explain(app, reader._everything, from_project_id=0, **place, **Filters(alice.id).parameters)
    late = await explain(
        app, reader._everything, from_project_id=long_log[-20], **place, **Filters(alice.id).parameters
    )
    assert scans(early["Plan"]) <= {"event_log"}
    assert buffers(early) < 4_000, buffers(early)
    assert buffers(late) < buffers(early)

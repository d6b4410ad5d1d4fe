"""Notifications are deleted some time after they were read."""

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.notifications.repository import PURGE_READ
from tests.conftest import Person
from tests.support.inboxes import inbox
from tests.support.jobs import run_job
from tests.support.rows import execute


async def test_those_read_long_ago_go(
    alice: Person, bob: Person, project_id: int, database: Database, app: FastAPI
) -> None:
    for title in ("unread", "read", "read long ago", "read as long ago"):
        await alice.new_task(project_id, title=title, assignee_id=bob.id)
    age = """
        UPDATE notifications n
        SET created_at = now() - interval '1 year', read_at = now() - make_interval(days => :days)
        FROM tasks t WHERE t.id = n.task_id AND t.title LIKE :title
    """
    await execute(database, age, days=89, title="read")
    await execute(database, age, days=91, title="read %")
    assert (await run_job(PURGE_READ, app, notification_retention_days=0)).rows == 0
    tally = await run_job(PURGE_READ, app, limit=1)
    assert (tally.rows, tally.passes) == (2, 1)
    assert {notification["task_title"] for notification in await inbox(bob)} == {"unread", "read"}

"""The demonstration data of `taskmanager dev`."""

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.embedded.demo import PASSWORD, USERNAME, seed_demo
from tests.conftest import client_for
from tests.support.credentials import API, log_in
from tests.support.rows import digests


async def test_fills_an_empty_database_and_no_other(app: FastAPI, database: Database) -> None:
    assert await seed_demo(app.state.writes, app.state.password_hasher)
    client = client_for(app)
    headers = (await log_in(client, USERNAME, PASSWORD)).headers
    tasks = (await client.get(f"{API}/tasks", headers=headers)).json()["tasks"]
    assert len(tasks) == 6
    (commented,) = [task["id"] for task in tasks if task["title"] == "Write the copy"]
    comments = (await client.get(f"{API}/tasks/{commented}/comments", headers=headers)).json()["comments"]
    assert [comment["body"] for comment in comments] == ["The first draft is in the shared folder."]
    before = await digests(database)
    assert not await seed_demo(app.state.writes, app.state.password_hasher)
    assert await digests(database) == before

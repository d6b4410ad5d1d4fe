"""The demonstration data of `taskmanager dev`."""

from collections import Counter

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
    assert {task["assignee_id"] for task in tasks} == {tasks[0]["created_by"]}
    (website_id,) = {task["project_id"] for task in tasks if task["section_id"]}
    path = f"{API}/projects/{website_id}/sections"
    sections = {
        section["id"]: section["name"] for section in (await client.get(path, headers=headers)).json()["sections"]
    }
    assert list(sections.values()) == ["Ideas", "Doing", "Review", "Launched"]
    columns = Counter(sections.get(task["section_id"]) for task in tasks)
    assert columns == {"Ideas": 4, "Doing": 3, "Review": 2, "Launched": 3, None: 3}
    (commented,) = [task["id"] for task in tasks if task["title"] == "Write the copy"]
    comments = (await client.get(f"{API}/tasks/{commented}/comments", headers=headers)).json()["comments"]
    assert [comment["body"] for comment in comments] == [
        "The first draft is in the shared folder.",
        "Shorter sentences on the start page, please.",
    ]
    before = await digests(database)
    assert not await seed_demo(app.state.writes, app.state.password_hasher)
    assert await digests(database) == before

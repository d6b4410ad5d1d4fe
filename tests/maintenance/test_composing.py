"""Texts that older versions stored are brought into Unicode's form C, without version, event and time."""

from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import make_url

from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level
from taskmanager.database.composed_text import TextTable
from taskmanager.database.database import Base, Database
from taskmanager.maintenance.composing import compose_job
from tests.conftest import Person, make_settings
from tests.support.jobs import run_job
from tests.support.rows import digests, execute, fetch_all, fetch_one
from tests.support.server import connect

TABLES: dict[str, TextTable] = {
    table.name: table.info["texts"] for table in Base.metadata.sorted_tables if "texts" in table.info
}
OLD, NEW = "Cafe\u0301", "Caf\u00e9"
# One character, of which form C makes two.
GROWS = "\u0958"


async def run_all(app: FastAPI, **options: Any) -> int:
    """Run all jobs to their end, and return how many rows they changed."""
    return sum([(await run_job(compose_job(table), app, **options)).rows for table in TABLES.values()])


async def test_every_text_that_is_stored_has_its_job(app: FastAPI) -> None:
    texts = {(table.name, column) for table in TABLES.values() for column in [*table.texts, *table.lists]}
    assert texts == {
        ("users", "email"),
        ("api_keys", "name"),
        *(("projects", column) for column in ("name", "description")),
        *(("tasks", column) for column in ("title", "description", "tags")),
        ("comments", "body"),
    }
    jobs = {tally.job.name for tally in app.state.maintenance.tallies}
    assert {f"compose texts of {name.replace('_', ' ')}" for name in TABLES} <= jobs


async def test_texts_are_rewritten_and_nothing_else(app: FastAPI, alice: Person, database: Database) -> None:
    project = await alice.new_project()
    task = await alice.new_task(project, title="A task", tags=["x"])
    await alice.new_task(project, title="\u00e4 composed one", tags=["\u00e4"])
    comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "x"})).json()
    await alice.post("/users/me/api-keys", {"name": "A key", "scopes": ["tasks:read"]})
    set_task = "title = :old, description = :old || E'\\n' || :old, tags = ARRAY[lower(:old), 'a', :lower]"
    for statement, values in (
        (f"UPDATE tasks SET {set_task} WHERE title = 'A task'", {"old": OLD, "lower": NEW.lower()}),
        ("UPDATE comments SET body = :old", {"old": OLD + NEW}),
        ("UPDATE projects SET name = :old, description = :old WHERE inbox_of IS NULL", {"old": OLD}),
        ("UPDATE api_keys SET name = :old", {"old": OLD + NEW}),
        ("UPDATE users SET email = :old", {"old": f"{OLD.lower()}@example.com"}),
    ):
        await execute(database, statement, **values)
    before = await fetch_one(database, "SELECT version, updated_at FROM tasks WHERE id = :id", id=task["id"])
    events = (await digests(database))["events"]
    assert await run_all(app) == 5
    now = (await alice.get(f"/tasks/{task['id']}")).json()
    assert (now["title"], now["description"], now["tags"]) == (NEW, f"{NEW}\n{NEW}", ["a", NEW.lower()])
    assert await fetch_one(database, "SELECT version, updated_at FROM tasks WHERE id = :id", id=task["id"]) == before
    assert (await digests(database))["events"] == events
    assert (await alice.get(f"/tasks/{task['id']}/comments/{comment['id']}")).json()["body"] == NEW + NEW
    assert (await alice.get(f"/projects/{project}")).json()["name"] == NEW
    assert (await alice.get("/users/me/api-keys")).json()["api_keys"][0]["name"] == NEW + NEW
    assert (await alice.get("/users/me")).json()["email"] == f"{NEW.lower()}@example.com"
    assert [one["id"] for one in (await alice.get("/tasks", params={"search": OLD})).json()["tasks"]] == [task["id"]]
    # None is left; what an old version stores later is found too.
    assert await run_all(app) == 0
    await execute(database, "UPDATE comments SET body = :old", old=OLD)
    assert await run_all(app) == 1


async def test_it_goes_on_in_batches(app: FastAPI, alice: Person, database: Database) -> None:
    await execute(
        database,
        "INSERT INTO tasks (project_id, title) SELECT :inbox_id, :old || n FROM generate_series(1, 25) AS n",
        inbox_id=alice.inbox_id,
        old=OLD,
    )
    assert await run_all(app, limit=10) == 25
    titles = {row["title"] for row in await fetch_all(database, "SELECT title FROM tasks")}
    assert titles == {f"{NEW}{n}" for n in range(1, 26)}


async def test_what_would_get_too_long_or_collide_stays_and_doctor_lists_it(
    app: FastAPI, alice: Person, bob: Person, database: Database, database_url: str
) -> None:
    long = await alice.new_task(title="long")
    tagged = await alice.new_task(title="tagged")
    await alice.new_task(title="waits")
    await execute(
        database, "UPDATE tasks SET title = :long, description = :old WHERE title = 'long'", long=GROWS * 101, old=OLD
    )
    await execute(database, "UPDATE tasks SET tags = ARRAY[:long] WHERE title = 'tagged'", long=GROWS * 26)
    await execute(database, "UPDATE users SET email = :email WHERE username = 'alice'", email="caf\u00e9@example.com")
    await execute(database, "UPDATE users SET email = :email WHERE username = 'bob'", email="cafe\u0301@example.com")
    await run_all(app)
    await execute(database, "UPDATE tasks SET title = :old WHERE title = 'waits'", old=OLD)
    row = await fetch_one(database, "SELECT title, description FROM tasks WHERE id = :id", id=long["id"])
    assert (row["title"], row["description"]) == (GROWS * 101, NEW)
    assert (await alice.get(f"/tasks/{tagged['id']}")).json()["tags"] == [GROWS * 26]
    assert (await bob.get("/users/me")).json()["email"] == "cafe\u0301@example.com"
    found = [(one.level, one.message) for one in await examine_database(make_settings(database_url=database_url), 1)]
    (tasks,) = [message for level, message in found if level is Level.WARNING and " of tasks hold text" in message]
    assert tasks.startswith("2 rows of tasks")
    keys = sorted(f"{alice.inbox_id}/{task['id']}" for task in (long, tagged))
    assert tasks.endswith(f"change it in {', '.join(keys)}")
    (users,) = [message for level, message in found if level is Level.WARNING and " of users hold text" in message]
    assert users.endswith(f"change it in {bob.id}")
    assert any("1 rows of tasks wait for the background" in message for _, message in found)


@pytest.mark.parametrize("name", TABLES)
async def test_to_look_for_more_reads_an_index_that_is_empty(database: Database, database_url: str, name: str) -> None:
    connection = await connect(make_url(database_url))
    await connection.execute("SET enable_seqscan = off")
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {TABLES[name].rewrite.lone}", 10))
    await connection.close()
    assert f"{name}_not_composed_idx" in plan, plan

"""Another name reaches those who follow the projects of the person."""

import asyncio

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.mirrors import Mirror
from tests.support.rows import execute, fetch_all, fetch_one
from tests.support.sessions import open_transaction


@pytest.mark.parametrize("change", [{"display_name": "Bob the Builder"}, {"username": "robert"}])
async def test_a_copy_of_a_project_has_the_new_name(
    alice: Person, bob: Person, garden: int, change: dict[str, str]
) -> None:
    mirror = Mirror(alice)
    await mirror.catch_up()
    await bob.patch("/users/me", change)
    page = await mirror.turn_page()
    member = (await alice.get(f"/projects/{garden}/members/{bob.id}")).json()
    assert page["changes"] == [
        {
            "entity": "member",
            "id": bob.id,
            "project_id": garden,
            "version": member["version"],
            "deleted": False,
            "member": member,
        }
    ]
    assert change.items() <= member.items()


async def test_each_project_logs_it_once_in_one_statement(
    alice: Person, bob: Person, garden: int, database: Database, query_recorder: list[str]
) -> None:
    query_recorder.clear()
    await bob.patch("/users/me", {"display_name": "Bob"})
    assert len(query_recorder) == 1
    for change in ({"display_name": "Bob"}, {"email": "b@example.com"}, {"time_zone": "Europe/Berlin"}, {}):
        await bob.patch("/users/me", change)  # no other name
    events = [event for event in await events_of(database, "member", bob.id) if event["action"] == "updated"]
    assert [(event["project_id"], event["actor_id"], event["changes"]) for event in events] == [
        (bob.inbox_id, bob.id, {}),
        (garden, bob.id, {}),
    ]
    await bob.patch("/users/me", {"display_name": None})
    events = [event for event in await events_of(database, "member", bob.id) if event["action"] == "updated"]
    assert len(events) == 4


async def test_at_most_1000_projects_log_it(bob: Person, database: Database) -> None:
    await execute(
        database,
        """
        WITH p AS (INSERT INTO projects (name) SELECT 'P ' || n FROM generate_series(1, 1200) AS n RETURNING id)
        INSERT INTO project_members (project_id, user_id, role) SELECT id, :user_id, 'viewer' FROM p
        """,
        user_id=bob.id,
    )
    await bob.patch("/users/me", {"display_name": "Bob"})
    row = await fetch_one(database, "SELECT count(*) AS n FROM events WHERE entity = 'member' AND action = 'updated'")
    assert row["n"] == 1_000


async def test_a_name_that_was_refused_is_not_logged(bob: Person, garden: int, database: Database) -> None:
    await bob.patch("/users/me", {"display_name": "Bob", "time_zone": "Nowhere"}, 422)
    await bob.patch("/users/me", {"display_name": "Bob", "username": "alice"}, 409)
    assert [event["action"] for event in await events_of(database, "member", bob.id)] == ["added"]
    assert (await bob.get("/users/me")).json()["display_name"] is None


async def test_memberships_are_locked_in_the_order_of_projects_as_by_the_deletion_of_an_account(
    alice: Person, bob: Person, database: Database
) -> None:
    projects = [await alice.new_project() for _ in range(4)]
    for project_id in reversed(projects):
        await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
    async with open_transaction(database) as session:
        lock = text("SELECT 1 FROM project_members WHERE user_id = :user_id AND project_id = :project_id FOR UPDATE")
        await session.execute(lock, {"user_id": bob.id, "project_id": projects[0]})
        renaming = asyncio.create_task(bob.patch("/users/me", {"display_name": "Bob"}))
        await until_blocked(database)
        # It waits for the first, and has none of the others.
        free = text("SELECT project_id FROM project_members WHERE user_id = :user_id FOR UPDATE SKIP LOCKED")
        found = {row.project_id for row in await session.execute(free, {"user_id": bob.id})}
        assert found == set(projects)
    await renaming
    members = await fetch_all(database, "SELECT version FROM project_members WHERE user_id = :id", id=bob.id)
    assert [row["version"] for row in members] == [2] * 5

"""What people are called, and where their days begin."""

from typing import Any

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.people.retention import PURGE_NAMES
from tests.conftest import PASSWORD, Person
from tests.support.jobs import run_job
from tests.support.rows import execute, fetch_one


async def test_a_display_name_is_trimmed_kept_and_cleared(alice: Person) -> None:
    me = (await alice.patch("/users/me", {"display_name": "  Alice Liddell "})).json()
    assert me["display_name"] == "Alice Liddell"
    assert (await alice.patch("/users/me", {"email": "a@example.com"})).json()["display_name"] == "Alice Liddell"
    assert (await alice.get("/users/me")).json() == {**me, "email": "a@example.com"}
    assert (await alice.patch("/users/me", {"display_name": None})).json()["display_name"] is None


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "two\nlines", "x" * 101, 7])
async def test_a_display_name_is_one_visible_line_of_100_characters(alice: Person, name: Any) -> None:
    answer = await alice.patch("/users/me", {"display_name": name}, expect=422)
    assert [error["loc"] for error in answer.json()["errors"]] == [["body", "display_name"]]
    await alice.patch("/users/me", {"display_name": "x" * 100})


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "Asia/Calcutta", "UTC"]
)
async def test_a_time_zone_is_a_name_of_the_ianas(alice: Person, zone: str) -> None:
    assert (await alice.get("/users/me")).json()["time_zone"] == "UTC"
    assert (await alice.patch("/users/me", {"time_zone": zone})).json()["time_zone"] == zone
    assert (await alice.patch("/users/me", {"display_name": "A"})).json()["time_zone"] == zone


# PostgreSQL would take most of them as a time zone, but not as a name of one.
@pytest.mark.parametrize(
    "zone",
    ["Europe/Atlantis", "europe/berlin", "+02:00", "CEST", "FOO-3BAR", "<+03>-3", "../zone", "", None, 1, "x" * 101],
)
async def test_another_time_zone_is_refused_and_changes_nothing(alice: Person, zone: Any) -> None:
    answer = await alice.patch("/users/me", {"time_zone": zone, "display_name": "Other"}, expect=422)
    assert [error["loc"] for error in answer.json()["errors"]] == [["body", "time_zone"]]
    me = (await alice.get("/users/me")).json()
    assert (me["time_zone"], me["display_name"]) == ("UTC", None)


async def test_nothing_of_it_is_left_of_a_deleted_account(alice: Person, database: Database) -> None:
    await alice.patch("/users/me", {"display_name": "Alice Liddell", "time_zone": "Europe/Berlin"})
    await alice.post("/users/me/delete", {"password": PASSWORD}, expect=204)
    row = await fetch_one(database, "SELECT display_name, time_zone FROM users WHERE id = :id", id=alice.id)
    assert row == {"display_name": None, "time_zone": "UTC"}


async def test_a_name_that_a_former_version_left_is_not_shown_and_purged(
    alice: Person, bob: Person, app: FastAPI, database: Database
) -> None:
    project_id = await alice.new_project()
    await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
    task = await bob.new_task(project_id)
    await bob.post(f"/tasks/{task['id']}/comments", {"body": "Mine"})
    await bob.patch("/users/me", {"display_name": "Bob the Builder"})
    await bob.post("/users/me/delete", {"password": PASSWORD}, expect=204)
    await execute(database, "UPDATE users SET display_name = 'Bob the Builder' WHERE id = :id", id=bob.id)
    nobody = {"id": bob.id, "username": None, "display_name": None}
    assert (await alice.get(f"/users/{bob.id}")).json() == nobody
    assert (await run_job(PURGE_NAMES, app)).rows == 1
    row = await fetch_one(database, "SELECT display_name FROM users WHERE id = :id", id=bob.id)
    assert row == {"display_name": None}

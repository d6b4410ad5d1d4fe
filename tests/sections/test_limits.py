"""How many sections there are at most, and what the deletion of one does to its tasks, also when several act."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.event_log import events_of
from tests.support.locks import until_blocked
from tests.support.mirrors import Mirror, read_everything
from tests.support.moves import share
from tests.support.orders import new_section, new_tasks
from tests.support.rows import execute, fetch_all
from tests.support.sessions import open_transaction


@pytest.fixture
async def project_id(alice: Person) -> int:
    """A project of Alice's."""
    return await alice.new_project()


async def test_a_project_has_fifty_sections_however_many_ask_for_one(
    alice: Person, sign_up: SignUp, project_id: int
) -> None:
    people = [alice, *[await sign_up(f"maker{n}") for n in range(3)]]
    for person in people[1:]:
        await share(alice, project_id, person)
    making = [people[n % 4].post(f"/projects/{project_id}/sections", {"name": f"Section {n}"}, None) for n in range(60)]
    answers = await asyncio.gather(*making)
    assert Counter(answer.status_code for answer in answers) == {201: 50, 409: 10}
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    assert (refused["code"], refused["limit"]) == ("limit-reached", 50)
    sections = (await alice.get(f"/projects/{project_id}/sections")).json()["sections"]
    assert len(sections) == 50
    await alice.delete(f"/projects/{project_id}/sections/{sections[0]['id']}")
    await alice.post(f"/projects/{project_id}/sections", {"name": "In its place"})


async def test_many_who_order_sections_never_fail(alice: Person, project_id: int) -> None:
    ids = [await new_section(alice, project_id, f"Section {n}") for n in range(8)]
    moving = [
        alice.post(f"/projects/{project_id}/sections/{one}/move", {"at": "top"}, 200) for one in ids for _ in range(4)
    ]
    await asyncio.gather(*moving)
    sections = (await alice.get(f"/projects/{project_id}/sections")).json()["sections"]
    assert {one["id"] for one in sections} == set(ids)
    assert len({one["position"] for one in sections}) == 8


class TestDeletion:
    """The tasks of a section that is deleted stay."""

    async def test_its_tasks_stay_with_a_version_and_an_event_each(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        section_id = await new_section(alice, project_id, "Gone")
        ids = await new_tasks(alice, project_id, 3, section_id=section_id)
        mirror = Mirror(alice)
        await mirror.catch_up()
        assert ("section", 0, section_id) in mirror.rows
        path = f"/projects/{project_id}/sections/{section_id}"
        await alice.delete(path, 412, headers={"If-Match": '"2"'})
        key = {"Idempotency-Key": "once", "If-Match": '"1"'}
        await alice.delete(path, headers=key)
        assert (await alice.delete(path, headers=key)).headers["Idempotency-Replayed"] == "true"
        await alice.get(path, 404)
        for one in ids:
            task = (await alice.get(f"/tasks/{one}")).json()
            assert (task["section_id"], task["version"]) == (None, 2)
            event = (await events_of(database, "task", one))[-1]
            assert event["changes"] == {"section_id": {"old": section_id, "new": None}}
        event = (await events_of(database, "section", section_id))[-1]
        assert (event["action"], event["version"]) == ("deleted", 2)
        assert await mirror.catch_up() == await read_everything(alice)
        assert ("section", 0, section_id) not in mirror.rows

    async def test_too_many_tasks_are_a_conflict_with_their_number(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        section_id = await new_section(alice, project_id)
        insert = """
            INSERT INTO tasks (project_id, section_id, title)
            SELECT :project_id, :section_id, 'A task' FROM generate_series(1, 5001)
        """
        await execute(database, insert, project_id=project_id, section_id=section_id)
        path = f"/projects/{project_id}/sections/{section_id}"
        refused = (await alice.delete(path, 409)).json()
        assert (refused["code"], refused["tasks"], refused["limit"]) == (
            "too-many-tasks",
            5_001,
            5_000,
        )
        await execute(database, "DELETE FROM tasks WHERE id = (SELECT min(id) FROM tasks)")
        await alice.delete(path)
        (left,) = await fetch_all(database, "SELECT count(*) AS n, max(section_id) AS section FROM tasks")
        assert (left["n"], left["section"]) == (5_000, None)
        (logged,) = await fetch_all(database, "SELECT count(*) AS n FROM events WHERE entity = 'task'")
        assert logged["n"] == 5_000

    async def test_a_task_that_gets_into_it_meanwhile_is_put_out_or_refused(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        section_id = await new_section(alice, project_id)
        task = await alice.new_task(project_id)
        path = f"/projects/{project_id}/sections/{section_id}"
        async with open_transaction(database) as session:
            # As a change that has put another task into it and is not committed yet.
            other = (await alice.new_task(project_id))["id"]
            statement = text("UPDATE tasks SET section_id = :section, version = 2 WHERE id = :id")
            await session.execute(statement, {"section": section_id, "id": other})
            deleting = asyncio.create_task(alice.delete(path))
            await until_blocked(database)
            meeting = asyncio.create_task(alice.patch(f"/tasks/{task['id']}", {"section_id": section_id}, None))
            await asyncio.wait([meeting], timeout=0.2)
        await deleting
        assert (await meeting).status_code in {200, 422}
        rows = await fetch_all(database, "SELECT id FROM tasks WHERE section_id IS NOT NULL")
        assert rows == []

    async def test_who_moves_tasks_while_a_section_goes_never_fails(self, alice: Person, project_id: int) -> None:
        for _ in range(5):
            section_id = await new_section(alice, project_id)
            ids = await new_tasks(alice, project_id, 8, section_id=section_id)
            path = f"/projects/{project_id}/sections/{section_id}"
            work = [alice.patch(f"/tasks/{one}", {"section_id": section_id, "priority": 3}, None) for one in ids]
            work += [alice.post(f"/tasks/{one}/move", {"at": "top", "section_id": section_id}, None) for one in ids]
            work.insert(5, alice.delete(path, None))
            answers = await asyncio.gather(*work)
            assert {answer.status_code for answer in answers} <= {200, 204, 422}
            tasks = (await alice.get(f"/projects/{project_id}/tasks?limit=100")).json()["tasks"]
            assert {task["section_id"] for task in tasks} == {None}

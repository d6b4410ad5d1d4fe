"""Projects and the personal one called Inbox."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.sessions import open_transaction


class TestCreate:
    """POST /projects."""

    async def test_makes_the_caller_its_owner(self, alice: Person) -> None:
        response = await alice.post("/projects", {"name": " Garden ", "description": "Spring"})
        project = response.json()
        assert project == {
            "id": project["id"],
            "name": "Garden",
            "description": "Spring",
            "archived": False,
            "personal": False,
            "role": "owner",
            "created_at": project["created_at"],
            "updated_at": project["created_at"],
            "version": 1,
        }
        assert response.headers["Location"] == f"/api/v1/projects/{project['id']}"
        assert (await alice.client.get(response.headers["Location"])).json() == project

    async def test_is_logged(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project("Garden")
        assert await events_of(database, "project", project_id) == [
            {
                "project_id": project_id,
                "actor_id": alice.id,
                "version": 1,
                "action": "created",
                "changes": {"name": {"old": None, "new": "Garden"}},
            }
        ]

    async def test_names_may_have_100_characters_and_be_used_twice(self, alice: Person) -> None:
        for _ in range(2):
            assert (await alice.post("/projects", {"name": "😀" * 100})).json()["name"] == "😀" * 100

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": " "},
            {"name": "x" * 101},
            {"name": None},
            {"name": 1},
            {"name": "a\x00b"},
            {"name": "Fine", "description": "x" * 2_001},
            {"name": "Fine", "description": "a\x00b"},
            {"name": "Fine", "archived": True},
            {"name": "Fine", "id": 1},
            {"name": "Fine", "owner_id": 1},
            {"name": "Fine", "inbox_of": 1},
            {"name": "Fine", "role": "owner"},
        ],
        ids=lambda body: repr(body)[:40],
    )
    async def test_other_bodies_are_422(self, alice: Person, body: Any, database: Database) -> None:
        await alice.post("/projects", body, expect=422)
        assert await count_rows(database, "projects") == 1


class TestList:
    """GET /projects."""

    async def test_starts_with_the_inbox(self, alice: Person) -> None:
        names = ("Garden", "Attic")
        for name in names:
            await alice.new_project(name)
        page = (await alice.get("/projects")).json()
        assert [project["name"] for project in page["projects"]] == ["Inbox", *names]
        assert [project["personal"] for project in page["projects"]] == [True, False, False]
        assert page["projects"][0]["id"] == alice.inbox_id

    async def test_has_nobody_elses(self, alice: Person, bob: Person) -> None:
        await bob.new_project()
        assert [project["id"] for project in (await alice.get("/projects")).json()["projects"]] == [alice.inbox_id]

    async def test_includes_archived_ones(self, alice: Person) -> None:
        project_id = await alice.new_project()
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        projects = (await alice.get("/projects")).json()["projects"]
        assert {project["id"]: project["archived"] for project in projects} == {alice.inbox_id: False, project_id: True}


class TestUpdate:
    """PATCH /projects/{project_id}."""

    @pytest.mark.parametrize(
        ("field", "value"), [("name", "New"), ("description", "New"), ("description", None), ("archived", True)]
    )
    async def test_changes_only_the_given_field(
        self, alice: Person, database: Database, field: str, value: Any
    ) -> None:
        before = (await alice.post("/projects", {"name": "Old", "description": "Old"})).json()
        after = (await alice.patch(f"/projects/{before['id']}", {field: value})).json()
        assert after == {**before, field: value, "version": 2, "updated_at": after["updated_at"]}
        assert after["updated_at"] > before["updated_at"]
        assert (await alice.get(f"/projects/{before['id']}")).json() == after
        log = await events_of(database, "project", before["id"])
        assert len(log) == 2
        assert (log[1]["action"], log[1]["version"], log[1]["actor_id"]) == ("updated", 2, alice.id)
        assert log[1]["changes"] == {field: {"old": before[field], "new": value}}

    async def test_without_any_difference_nothing_is_written(self, alice: Person, database: Database) -> None:
        project = (await alice.post("/projects", {"name": "Same", "description": "Same"})).json()
        for body in ({}, {"name": " Same "}, {"description": "Same", "archived": False}):
            assert (await alice.patch(f"/projects/{project['id']}", body)).json() == project
        assert len(await events_of(database, "project", project["id"])) == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"name": None},
            {"name": " "},
            {"name": "x" * 101},
            {"archived": None},
            {"archived": "true"},
            {"archived": 1},
            {"personal": True},
            {"role": "viewer"},
            {"version": 7},
            {"id": 1},
        ],
        ids=repr,
    )
    async def test_other_bodies_are_422(self, alice: Person, body: Any) -> None:
        project_id = await alice.new_project()
        before = (await alice.get(f"/projects/{project_id}")).json()
        await alice.patch(f"/projects/{project_id}", body, 422)
        assert (await alice.get(f"/projects/{project_id}")).json() == before

    async def test_changes_of_different_fields_at_once_are_both_kept(self, alice: Person) -> None:
        project_id = await alice.new_project()
        for number in range(10):
            name, description = f"Name {number}", f"Description {number}"
            await asyncio.gather(
                alice.patch(f"/projects/{project_id}", {"name": name}),
                alice.patch(f"/projects/{project_id}", {"description": description}),
            )
            after = (await alice.get(f"/projects/{project_id}")).json()
            assert (after["name"], after["description"]) == (name, description)

    async def test_the_log_has_the_name_that_was_really_replaced(self, alice: Person, database: Database) -> None:
        project_id = await alice.new_project("Old")
        async with open_transaction(database) as session:
            await session.execute(text("UPDATE projects SET name = 'Theirs' WHERE id = :id"), {"id": project_id})
            update = asyncio.create_task(alice.patch(f"/projects/{project_id}", {"name": "Mine"}))
            await until_blocked(database)
        assert (await update).json()["name"] == "Mine"
        log = await events_of(database, "project", project_id)
        assert log[-1]["changes"] == {"name": {"old": "Theirs", "new": "Mine"}}


class TestArchive:
    """Nothing in an archived project may change."""

    WRITES = (
        ("POST", "/projects/{project}/tasks", {"title": "New"}),
        ("POST", "/tasks", {"title": "New", "project_id": "{project}"}),
        ("PUT", "/tasks/{task}", {"title": "New"}),
        ("PATCH", "/tasks/{task}", {"title": "New"}),
        ("PATCH", "/projects/{project}/tasks/{task}", {"status": "completed"}),
        ("DELETE", "/tasks/{task}", None),
        ("DELETE", "/projects/{project}/tasks/{task}", None),
        ("POST", "/tasks/{task}/comments", {"body": "New"}),
        ("PUT", "/tasks/{task}/comments/{comment}", {"body": "New"}),
        ("PATCH", "/tasks/{task}/comments/{comment}", {"body": "New"}),
        ("DELETE", "/tasks/{task}/comments/{comment}", None),
        ("PATCH", "/projects/{project}", {"name": "New"}),
        ("PATCH", "/projects/{project}", {"name": "New", "archived": True}),
    )

    @staticmethod
    async def _contents(person: Person, ids: dict[str, int]) -> list[Any]:
        paths = ("/projects/{project}", "/projects/{project}/tasks", "/tasks/{task}", "/tasks/{task}/comments")
        return [(await person.get(path.format(**ids))).json() for path in paths]

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    async def test_a_write_is_409_until_the_project_is_brought_back(
        self, alice: Person, method: str, path: str, body: Any, database: Database
    ) -> None:
        project_id = await alice.new_project()
        task = await alice.new_task(project_id)
        comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "Old"})).json()
        ids = {"project": project_id, "task": task["id"], "comment": comment["id"]}
        body = {**body, "project_id": project_id} if body and "project_id" in body else body
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        before, events = await self._contents(alice, ids), await count_rows(database, "events")

        problem = (await alice.request(method, path.format(**ids), 409, json=body)).json()
        assert problem["type"] == "/docs/problems#project-archived"
        assert await self._contents(alice, ids) == before
        assert await count_rows(database, "events") == events

        await alice.patch(f"/projects/{project_id}", {"archived": False})
        assert (await alice.request(method, path.format(**ids), json=body)).is_success

    async def test_it_can_be_renamed_while_it_is_brought_back(self, alice: Person) -> None:
        project_id = await alice.new_project()
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        project = (await alice.patch(f"/projects/{project_id}", {"archived": False, "name": "Back"})).json()
        assert (project["archived"], project["name"]) == (False, "Back")

    async def test_it_can_be_deleted(self, alice: Person) -> None:
        project_id = await alice.new_project()
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        await alice.delete(f"/projects/{project_id}")
        await alice.get(f"/projects/{project_id}", 404)


class TestInbox:
    """The personal project."""

    async def test_is_there_from_the_start(self, alice: Person) -> None:
        inbox = (await alice.get(f"/projects/{alice.inbox_id}")).json()
        assert (inbox["name"], inbox["personal"], inbox["role"], inbox["archived"]) == ("Inbox", True, "owner", False)

    async def test_may_be_renamed(self, alice: Person) -> None:
        inbox = (await alice.patch(f"/projects/{alice.inbox_id}", {"name": "Mine", "description": "All"})).json()
        assert (inbox["name"], inbox["description"], inbox["personal"]) == ("Mine", "All", True)

    @pytest.mark.parametrize("body", [{"archived": True}, {"archived": True, "name": "New"}], ids=repr)
    async def test_cannot_be_archived(self, alice: Person, body: Any) -> None:
        before = (await alice.get(f"/projects/{alice.inbox_id}")).json()
        problem = (await alice.patch(f"/projects/{alice.inbox_id}", body, 409)).json()
        assert problem["type"] == "/docs/problems#personal-project"
        assert (await alice.get(f"/projects/{alice.inbox_id}")).json() == before

    async def test_cannot_be_deleted(self, alice: Person) -> None:
        task = await alice.new_task()
        problem = (await alice.delete(f"/projects/{alice.inbox_id}", 409)).json()
        assert problem["type"] == "/docs/problems#personal-project"
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task


@pytest.mark.parametrize(
    ("method", "body"),
    [("GET", None), ("PATCH", {"name": "Mine"}), ("PATCH", {"archived": True}), ("DELETE", None)],
)
async def test_strangers_get_the_same_404_as_for_an_unknown_id(
    alice: Person, bob: Person, method: str, body: Any
) -> None:
    project_id = await alice.new_project()
    before = (await alice.get("/projects")).json()
    answers = []
    for wanted in (project_id, alice.inbox_id, 999_999):
        problem = (await bob.request(method, f"/projects/{wanted}", 404, json=body)).json()
        answers.append({name: problem[name] for name in ("type", "title", "detail")})
    assert all(answer == answers[0] for answer in answers)
    assert (await alice.get("/projects")).json() == before

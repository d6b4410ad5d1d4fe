"""Sections: the columns of a project's board."""

from typing import Any

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import events_of
from tests.support.moves import share
from tests.support.orders import new_section, new_tasks


@pytest.fixture
async def project_id(alice: Person) -> int:
    """A project of Alice's."""
    return await alice.new_project()


async def names(person: Person, project_id: int) -> list[str]:
    """Return the names of the sections in their order."""
    found = (await person.get(f"/projects/{project_id}/sections")).json()["sections"]
    assert [one["position"] for one in found] == sorted(one["position"] for one in found)
    return [one["name"] for one in found]


class TestSections:
    """Creating, reading, renaming, ordering."""

    async def test_a_section_is_made_and_read(self, alice: Person, project_id: int, database: Database) -> None:
        assert await names(alice, project_id) == []
        answer = await alice.post(f"/projects/{project_id}/sections", {"name": "  To do "})
        made = answer.json()
        assert (made["name"], made["project_id"], made["version"]) == ("To do", project_id, 1)
        path = f"/projects/{project_id}/sections/{made['id']}"
        assert answer.headers["Location"] == f"/api/v1{path}"
        assert answer.headers["ETag"] == '"1"'
        read = await alice.get(path)
        assert (read.json(), read.headers["ETag"]) == (made, '"1"')
        await alice.get(path, 304, headers={"If-None-Match": '"1"'})
        (event,) = await events_of(database, "section", made["id"])
        assert (event["action"], event["version"]) == ("created", 1)
        assert event["changes"] == {"name": {"old": None, "new": "To do"}}

    @pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": None}, {"name": "a", "x": 1}])
    async def test_a_name_has_up_to_a_hundred_characters(
        self, alice: Person, project_id: int, body: dict[str, Any]
    ) -> None:
        await alice.post(f"/projects/{project_id}/sections", body, 422)

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_it_is_renamed(self, alice: Person, project_id: int, database: Database, method: str) -> None:
        section_id = await new_section(alice, project_id, "Old")
        path = f"/projects/{project_id}/sections/{section_id}"
        renamed = (await alice.request(method, path, 200, json={"name": "New"})).json()
        assert (renamed["name"], renamed["version"]) == ("New", 2)
        assert (await alice.request(method, path, 200, json={"name": "New"})).json() == renamed
        stale = await alice.request(method, path, 412, json={"name": "X"}, headers={"If-Match": '"1"'})
        assert stale.json()["changed_fields"] == ["name"]
        events = await events_of(database, "section", section_id)
        assert [event["action"] for event in events] == ["created", "updated"]
        assert events[-1]["changes"] == {"name": {"old": "Old", "new": "New"}}

    @pytest.mark.parametrize(
        ("thing", "place", "wanted"),
        [
            (2, {"before": 0}, "cabd"),
            (0, {"after": 2}, "bcad"),
            (3, {"at": "top"}, "dabc"),
            (0, {"at": "bottom"}, "bcda"),
            (1, {"after": 0}, "abcd"),
        ],
    )
    async def test_it_is_put_to_another_place(
        self, alice: Person, project_id: int, database: Database, thing: int, place: dict[str, Any], wanted: str
    ) -> None:
        ids = [await new_section(alice, project_id, name) for name in "abcd"]
        body = {name: value if name == "at" else ids[value] for name, value in place.items()}
        path = f"/projects/{project_id}/sections/{ids[thing]}/move"
        moved = (await alice.post(path, body, 200)).json()
        assert moved["id"] == ids[thing]
        assert "".join(await names(alice, project_id)) == wanted
        is_moved = wanted != "abcd"
        assert moved["version"] == 1 + is_moved
        assert len(await events_of(database, "section", ids[thing])) == 1 + is_moved
        await new_section(alice, project_id, "e")
        assert "".join(await names(alice, project_id)) == f"{wanted}e"

    async def test_a_neighbour_is_another_section_of_the_project(self, alice: Person, project_id: int) -> None:
        section_id = await new_section(alice, project_id)
        other = await new_section(alice, await alice.new_project())
        path = f"/projects/{project_id}/sections/{section_id}/move"
        await alice.post(path, {"after": section_id}, 422)
        await alice.post(path, {"after": other}, 404)
        await alice.post(path, {}, 422)

    async def test_a_move_has_conditions_and_keys(self, alice: Person, project_id: int) -> None:
        first, second = await new_section(alice, project_id, "a"), await new_section(alice, project_id, "b")
        path = f"/projects/{project_id}/sections/{second}/move"
        await alice.post(path, {"before": first}, 412, headers={"If-Match": '"7"'})
        assert await names(alice, project_id) == ["a", "b"]
        headers = {"If-Match": '"1"', "Idempotency-Key": "once"}
        moved = await alice.post(path, {"before": first}, 200, headers=headers)
        again = await alice.post(path, {"before": first}, 200, headers=headers)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.content == moved.content
        assert await names(alice, project_id) == ["b", "a"]

    async def test_it_belongs_to_its_project(self, alice: Person, bob: Person, project_id: int) -> None:
        section_id = await new_section(alice, project_id)
        other = await alice.new_project()
        for path in (f"/projects/{other}/sections/{section_id}", f"/projects/{project_id}/sections/{2**50}"):
            await alice.get(path, 404)
            await alice.patch(path, {"name": "X"}, 404)
            await alice.post(f"{path}/move", {"at": "top"}, 404)
            await alice.delete(path, 404)
        path = f"/projects/{project_id}/sections"
        await bob.get(path, 404)
        await bob.post(path, {"name": "X"}, 404)
        await share(alice, project_id, bob, "viewer")
        await bob.get(f"{path}/{section_id}")
        await bob.post(path, {"name": "X"}, 403)
        await bob.delete(f"{path}/{section_id}", 403)
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        await alice.post(path, {"name": "X"}, 409)
        await alice.patch(f"{path}/{section_id}", {"name": "X"}, 409)
        await alice.delete(f"{path}/{section_id}", 409)


class TestTasks:
    """Tasks in sections."""

    async def test_a_task_is_created_in_a_section_and_changed_to_another(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        first, second = await new_section(alice, project_id), await new_section(alice, project_id)
        task = await alice.new_task(project_id, section_id=first)
        assert task["section_id"] == first
        path = f"/tasks/{task['id']}"
        changed = (await alice.patch(path, {"section_id": second})).json()
        assert (changed["section_id"], changed["version"]) == (second, 2)
        assert (await alice.put(path, {"section_id": None})).json()["section_id"] is None
        event = (await events_of(database, "task", task["id"]))[-1]
        assert event["changes"] == {"section_id": {"old": second, "new": None}}

    async def test_a_section_of_another_project_is_none(self, alice: Person, project_id: int) -> None:
        other = await new_section(alice, await alice.new_project())
        task = await alice.new_task(project_id)
        refusals = [
            await alice.post("/tasks", {"title": "X", "project_id": project_id, "section_id": other}, 422),
            await alice.patch(f"/tasks/{task['id']}", {"section_id": other}, 422),
        ]
        for answer in refusals:
            assert answer.json()["errors"][0]["loc"] == ["body", "section_id"]
        tasks = [
            {"title": "X", "project_id": project_id},
            {"title": "Y", "project_id": project_id, "section_id": other},
        ]
        answer = await alice.post("/tasks/bulk", {"tasks": tasks}, 422)
        assert answer.json()["errors"][0]["loc"] == ["body", "tasks", 1, "section_id"]
        answer = await alice.patch("/tasks/bulk", {"ids": [task["id"]], "set": {"section_id": other}}, 422)
        assert answer.json()["errors"][0]["loc"] == ["body", "set", "section_id"]
        assert (await alice.get(f"/projects/{project_id}/tasks")).json()["tasks"] == [task]

    async def test_many_get_one_together(self, alice: Person, project_id: int) -> None:
        section_id = await new_section(alice, project_id)
        ids = await new_tasks(alice, project_id, 3, section_id=section_id)
        others = await new_tasks(alice, project_id, 2)
        answer = await alice.patch("/tasks/bulk", {"ids": others, "set": {"section_id": section_id}})
        assert [task["section_id"] for task in answer.json()["tasks"]] == [section_id] * 2
        listed = (await alice.get("/tasks", params={"section_id": section_id, "sort_by": "created_at"})).json()
        assert {task["id"] for task in listed["tasks"]} == {*ids, *others}
        assert listed["total"] == 5

    async def test_a_filter_takes_several_and_none(self, alice: Person, project_id: int) -> None:
        first, second = await new_section(alice, project_id), await new_section(alice, project_id)
        tasks = {one: (await alice.new_task(project_id, section_id=one))["id"] for one in (first, second, None)}

        async def found(*wanted: int | str) -> set[int]:
            answer = await alice.get(f"/projects/{project_id}/tasks", params={"section_id": list(wanted)})
            return {task["id"] for task in answer.json()["tasks"]}

        assert await found(first) == {tasks[first]}
        assert await found(first, second) == {tasks[first], tasks[second]}
        assert await found("none") == {tasks[None]}
        assert await found("none", second) == {tasks[None], tasks[second]}
        assert await found("") == set(tasks.values())
        await alice.get(f"/projects/{project_id}/tasks", 422, params={"section_id": "0"})

    async def test_a_project_goes_with_its_sections(self, alice: Person, project_id: int) -> None:
        section_id = await new_section(alice, project_id)
        await alice.new_task(project_id, section_id=section_id)
        await alice.delete(f"/projects/{project_id}")
        await alice.get(f"/projects/{project_id}/sections", 404)

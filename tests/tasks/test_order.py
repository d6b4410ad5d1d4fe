"""The manual order: where tasks are, and where a move puts them."""

from typing import Any

import pytest

from taskmanager.database.database import Database
from taskmanager.ordering.keys import default_key
from tests.conftest import Person
from tests.support.event_log import events_of
from tests.support.moves import share
from tests.support.orders import ids_in_order, move, new_section, new_tasks, tasks_in_order
from tests.support.rows import execute, fetch_all


class TestOrder:
    """The order of tasks that were not moved, and of those that were."""

    async def test_tasks_are_in_the_order_of_their_creation_until_they_are_moved(
        self, alice: Person, project_id: int
    ) -> None:
        ids = await new_tasks(alice, project_id, 5)
        tasks = await tasks_in_order(alice, project_id)
        assert [task["id"] for task in tasks] == ids
        assert [task["position"] for task in tasks] == [default_key(one) for one in ids]
        assert await ids_in_order(alice, project_id, order="desc") == ids[::-1]

    async def test_the_key_of_an_id_is_the_same_in_sql_and_here(self, database: Database) -> None:
        numbers = [1, 9, 10, 15, 16, 255, 256, 2**31, 2**53 - 1, 2**63 - 1]
        statement = "SELECT id, position_of(id) AS key FROM unnest(CAST(:ids AS bigint[])) AS id"
        rows = await fetch_all(database, statement, ids=numbers)
        assert {row["id"]: row["key"] for row in rows} == {one: default_key(one) for one in numbers}

    @pytest.mark.parametrize(
        ("thing", "place", "wanted"),
        [
            (3, {"before": 1}, [0, 3, 1, 2, 4]),
            (0, {"after": 2}, [1, 2, 0, 3, 4]),
            (0, {"before": 4}, [1, 2, 3, 0, 4]),
            (4, {"at": "top"}, [4, 0, 1, 2, 3]),
            (0, {"at": "bottom"}, [1, 2, 3, 4, 0]),
            (2, {"after": 4}, [0, 1, 3, 4, 2]),
            (2, {"before": 0}, [2, 0, 1, 3, 4]),
        ],
    )
    async def test_a_task_is_put_there(
        self, alice: Person, project_id: int, thing: int, place: dict[str, Any], wanted: list[int]
    ) -> None:
        ids = await new_tasks(alice, project_id, 5)
        body = {name: value if name == "at" else ids[value] for name, value in place.items()}
        moved = await move(alice, ids[thing], body)
        assert (moved["id"], moved["version"]) == (ids[thing], 2)
        assert await ids_in_order(alice, project_id) == [ids[one] for one in wanted]
        assert await ids_in_order(alice, project_id, order="desc") == [ids[one] for one in wanted][::-1]
        # A new one comes last, whatever was moved.
        new = (await alice.new_task(project_id))["id"]
        assert (await ids_in_order(alice, project_id))[-1] == new

    async def test_who_is_there_already_stays_and_nothing_is_written(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await new_tasks(alice, project_id, 3)
        for body in ({"after": ids[0]}, {"before": ids[2]}):
            assert (await move(alice, ids[1], body))["version"] == 1
        assert (await move(alice, ids[0], {"at": "top"}))["version"] == 1
        assert (await move(alice, ids[2], {"at": "bottom"}))["version"] == 1
        assert len(await events_of(database, "task", ids[1])) == 1

    async def test_the_event_has_the_places_as_they_were_shown(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await new_tasks(alice, project_id, 2)
        moved = await move(alice, ids[1], {"before": ids[0], "status": "completed"})
        assert moved["completed_at"] is not None
        event = (await events_of(database, "task", ids[1]))[-1]
        assert (event["action"], event["version"]) == ("updated", 2)
        assert event["changes"] == {
            "position": {"old": default_key(ids[1]), "new": moved["position"]},
            "status": {"old": "pending", "new": "completed"},
        }

    async def test_pages_lead_through_the_order(self, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 7)
        await move(alice, ids[6], {"after": ids[1]})
        wanted = [ids[n] for n in (0, 1, 6, 2, 3, 4, 5)]
        assert await ids_in_order(alice, project_id, limit=2) == wanted
        answer = await alice.get("/tasks", params={"sort_by": "position", "project_id": project_id, "limit": 3})
        assert [task["id"] for task in answer.json()["tasks"]] == wanted[:3]

    async def test_a_cursor_holds_for_its_direction_only(self, alice: Person, project_id: int) -> None:
        await new_tasks(alice, project_id, 3)
        query = {"sort_by": "position", "limit": 1}
        path = f"/projects/{project_id}/tasks"
        cursor = (await alice.get(path, params=query)).json()["next_cursor"]
        await alice.get(path, params={**query, "order": "asc", "cursor": cursor})
        await alice.get(path, 400, params={**query, "order": "desc", "cursor": cursor})

    @pytest.mark.parametrize("several", [True, False])
    async def test_the_order_is_that_of_one_project(
        self, alice: Person, source: int, target: int, several: bool
    ) -> None:
        query = {"sort_by": "position", **({"project_id": [source, target]} if several else {})}
        assert "project_id" in (await alice.get("/tasks", 422, params=query)).text

    async def test_more_than_a_few_tasks_are_read_from_the_index(
        self, alice: Person, project_id: int, database: Database
    ) -> None:
        ids = await new_tasks(alice, project_id, 600)
        section_id = await new_section(alice, project_id)
        await execute(database, "UPDATE tasks SET section_id = :s WHERE id % 2 = 0", s=section_id)
        await move(alice, ids[599], {"before": ids[10], "section_id": section_id})
        wanted = [*ids[:10], ids[599], *ids[10:599]]
        assert await ids_in_order(alice, project_id) == wanted
        inside = [one for one in wanted if one % 2 == 0 or one == ids[599]]
        assert await ids_in_order(alice, project_id, section_id=section_id) == inside
        assert await ids_in_order(alice, project_id, section_id="none") == [x for x in wanted if x not in inside]
        assert await ids_in_order(alice, project_id, section_id=["none", section_id]) == wanted
        counted = {"sort_by": "position", "section_id": section_id, "limit": 1}
        assert (await alice.get(f"/projects/{project_id}/tasks", params=counted)).json()["total"] == len(inside)


class TestRefusals:
    """What a move takes and does not take."""

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"at": "middle"},
            {"at": "top", "before": 1},
            {"before": 1, "after": 2},
            {"before": None},
            {"after": "1"},
            {"at": "top", "status": None},
            {"at": "top", "position": "a1"},
            {"at": "top", "project_id": 1},
        ],
    )
    async def test_a_body_names_one_place(self, alice: Person, project_id: int, body: dict[str, Any]) -> None:
        task = await alice.new_task(project_id)
        await move(alice, task["id"], body, 422)

    async def test_a_position_cannot_be_written(self, alice: Person, project_id: int) -> None:
        task = await alice.new_task(project_id)
        await alice.patch(f"/tasks/{task['id']}", {"position": "a1"}, 422)
        await alice.post("/tasks", {"title": "A task", "position": "a1"}, 422)

    async def test_a_neighbour_is_another_task_of_the_project(
        self, alice: Person, bob: Person, source: int, target: int
    ) -> None:
        task, elsewhere = await alice.new_task(source), await alice.new_task(target)
        unseen = await bob.new_task()
        gone = await alice.new_task(source)
        await alice.delete(f"/tasks/{gone['id']}")
        for field in ("before", "after"):
            for neighbour, status in ((task, 422), (elsewhere, 422), (unseen, 404), (gone, 404)):
                answer = await move(alice, task["id"], {field: neighbour["id"]}, status)
                if status == 422:
                    assert answer["errors"][0]["loc"] == ["body", field]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_a_section_is_one_of_the_project(self, alice: Person, source: int, target: int) -> None:
        task, section_id = await alice.new_task(source), await new_section(alice, target)
        answer = await move(alice, task["id"], {"at": "top", "section_id": section_id}, 422)
        assert answer["errors"][0]["loc"] == ["body", "section_id"]

    async def test_viewers_and_strangers_move_nothing(self, alice: Person, bob: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 2)
        await move(bob, ids[1], {"at": "top"}, 404)
        await share(alice, project_id, bob, "viewer")
        await move(bob, ids[1], {"at": "top"}, 403)
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        await move(alice, ids[1], {"at": "top"}, 409)
        assert await ids_in_order(alice, project_id) == ids


class TestConditions:
    """If-Match and Idempotency-Key, as for PATCH."""

    async def test_a_stale_version_moves_nothing(self, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 3)
        await alice.patch(f"/tasks/{ids[2]}", {"title": "Changed"})
        answer = await move(alice, ids[2], {"at": "top"}, 412, headers={"If-Match": '"1"'})
        assert (answer["current_version"], answer["changed_fields"]) == (2, ["title"])
        assert await ids_in_order(alice, project_id) == ids
        moved = await alice.post(f"/tasks/{ids[2]}/move", {"at": "top"}, 200, headers={"If-Match": '"2"'})
        assert (moved.headers["ETag"], moved.json()["version"]) == ('"3"', 3)
        assert (await alice.patch(f"/tasks/{ids[2]}", {"title": "X"}, 412, headers={"If-Match": '"2"'})).json()[
            "changed_fields"
        ] == ["position"]

    async def test_a_move_that_is_sent_again_moves_once(self, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 3)
        key = {"Idempotency-Key": "drop"}
        first = await alice.post(f"/tasks/{ids[2]}/move", {"at": "top"}, 200, headers=key)
        await move(alice, ids[2], {"at": "bottom"})
        again = await alice.post(f"/tasks/{ids[2]}/move", {"at": "top"}, 200, headers=key)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (again.content, again.headers["ETag"]) == (first.content, first.headers["ETag"])
        assert await ids_in_order(alice, project_id) == ids
        await alice.post(f"/tasks/{ids[2]}/move", {"at": "bottom"}, 422, headers=key)


class TestSections:
    """What a move does to the section of a task."""

    async def test_the_neighbour_decides_where_none_is_named(self, alice: Person, project_id: int) -> None:
        ids = await new_tasks(alice, project_id, 4)
        doing, done = await new_section(alice, project_id), await new_section(alice, project_id)
        await alice.patch(f"/tasks/{ids[0]}", {"section_id": doing})
        assert (await move(alice, ids[3], {"after": ids[0]}))["section_id"] == doing
        assert (await move(alice, ids[3], {"after": ids[0], "section_id": done}))["section_id"] == done
        assert (await move(alice, ids[3], {"at": "bottom"}))["section_id"] == done
        assert (await move(alice, ids[3], {"at": "top", "section_id": None}))["section_id"] is None
        await move(alice, ids[3], {"after": ids[0]})
        assert (await move(alice, ids[3], {"before": ids[1]}))["section_id"] is None


class TestOtherProjects:
    """A task that is moved to another project comes last there, without a section."""

    async def test_it_comes_last(self, alice: Person, source: int, target: int, database: Database) -> None:
        early = (await alice.new_task(source))["id"]
        ids = await new_tasks(alice, target, 3)
        await move(alice, ids[0], {"at": "bottom"})
        section_id = await new_section(alice, source)
        await alice.patch(f"/tasks/{early}", {"section_id": section_id})
        moved = (await alice.patch(f"/tasks/{early}", {"project_id": target})).json()
        assert (moved["project_id"], moved["section_id"]) == (target, None)
        assert await ids_in_order(alice, target) == [ids[1], ids[2], ids[0], early]
        left = next(e for e in await events_of(database, "task", early) if e["action"] == "moved_out")
        assert left["changes"]["section_id"] == {"old": section_id, "new": None}
        new = (await alice.new_task(target))["id"]
        assert (await ids_in_order(alice, target))[-2:] == [early, new]

    async def test_it_may_get_a_section_there(self, alice: Person, source: int, target: int) -> None:
        task, section_id = await alice.new_task(source), await new_section(alice, target)
        body = {"project_id": target, "section_id": section_id}
        moved = (await alice.patch(f"/tasks/{task['id']}", body)).json()
        assert (moved["project_id"], moved["section_id"]) == (target, section_id)
        await alice.patch(f"/tasks/{task['id']}", {"project_id": source, "section_id": section_id}, 422)
        assert (await alice.get(f"/tasks/{task['id']}")).json() == moved

    async def test_the_only_one_has_the_place_of_its_id(self, alice: Person, source: int, target: int) -> None:
        task = await alice.new_task(source)
        moved = (await alice.patch(f"/tasks/{task['id']}", {"project_id": target})).json()
        assert moved["position"] == default_key(task["id"])


class TestRowsOfTheVersionBefore:
    """The version before knows neither places nor sections, and runs beside this one during an upgrade."""

    async def test_what_it_creates_comes_last_and_what_it_moves_has_the_place_of_its_id(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        first = (await alice.new_task(source))["id"]
        ids = await new_tasks(alice, target, 2)
        await move(alice, ids[0], {"at": "bottom"})
        await execute(database, "INSERT INTO tasks (project_id, title) VALUES (:target, 'Old')", target=target)
        created = (await fetch_all(database, "SELECT max(id) AS id FROM tasks"))[0]["id"]
        assert await ids_in_order(alice, target) == [ids[1], ids[0], created]
        moving = """
            WITH gone AS (DELETE FROM tasks WHERE id = :id RETURNING id, title, version)
            INSERT INTO tasks (project_id, id, title, version) SELECT :target, id, title, version + 1 FROM gone
        """
        await execute(database, moving, id=first, target=target)
        assert await ids_in_order(alice, target) == [first, ids[1], ids[0], created]
        # Around rows without keys tasks are moved as around others.
        await move(alice, created, {"after": first})
        await move(alice, ids[0], {"before": created})
        assert await ids_in_order(alice, target) == [first, ids[0], created, ids[1]]

    async def test_two_with_one_number_are_told_apart(
        self, alice: Person, source: int, target: int, database: Database
    ) -> None:
        # The first place before number n is that of a number which a task elsewhere may have.
        elsewhere = await new_tasks(alice, source, 9)
        ids = await new_tasks(alice, target, 3)
        moved = await move(alice, ids[2], {"at": "top"})
        other = next(one for one in elsewhere if moved["position"].startswith(default_key(one) + "."))
        await execute(database, "UPDATE tasks SET project_id = :target WHERE id = :id", target=target, id=other)
        assert await ids_in_order(alice, target) == [other, ids[2], ids[0], ids[1]]
        await move(alice, ids[1], {"after": other})
        assert await ids_in_order(alice, target) == [other, ids[1], ids[2], ids[0]]

"""`GET /tasks?id=` returns the tasks of given ids."""

from typing import Any

import pytest

from tests.conftest import Person


async def found(person: Person, *ids: int, **query: Any) -> list[int]:
    """Return the ids of the tasks that come."""
    page = (await person.get("/tasks", params=[*(("id", one) for one in ids), *query.items()])).json()
    assert page["total"] == len(page["tasks"])
    assert (page["skip"], page["next_cursor"]) == (0, None)
    return [task["id"] for task in page["tasks"]]


async def test_they_come_in_the_order_of_the_request_each_once(alice: Person, bob: Person) -> None:
    first, second, third = [(await alice.new_task(title=title))["id"] for title in "abc"]
    foreign = (await bob.new_task())["id"]
    assert await found(alice, third, first, foreign, 10**9, second, third) == [third, first, second]
    assert await found(alice, foreign) == []
    page = (await alice.get("/tasks", params={"id": [first, second]})).json()
    assert page["tasks"] == [(await alice.get(f"/tasks/{one}")).json() for one in (first, second)]
    assert page["limit"] == 2


async def test_those_of_archived_projects_come_as_well(alice: Person) -> None:
    project_id = await alice.new_project()
    task = await alice.new_task(project_id)
    await alice.patch(f"/projects/{project_id}", {"archived": True})
    assert await found(alice, task["id"]) == [task["id"]]


async def test_up_to_100_come_with_what_else_is_asked_for_by_one_statement(
    alice: Person, query_recorder: list[str]
) -> None:
    tasks = (await alice.post("/tasks/bulk", {"tasks": [{"title": f"Task {n}"} for n in range(100)]})).json()["tasks"]
    ids = [task["id"] for task in tasks][::-1]
    await alice.post(f"/tasks/{ids[0]}/comments", {"body": "One"})
    query_recorder.clear()
    page = (await alice.get("/tasks", params={"id": ids, "include": ["people", "counts"]})).json()
    assert len(query_recorder) == 1
    assert [task["id"] for task in page["tasks"]] == ids
    assert [task["comment_count"] for task in page["tasks"]] == [1] + [0] * 99
    assert list(page["people"]) == [str(alice.id)]
    await alice.get("/tasks", 422, params={"id": [*ids, 1]})


@pytest.mark.parametrize(
    "other",
    [
        *("status=pending", "priority=1", "tag=a", "assignee=me", "search=a", "overdue=true", "archived=any"),
        *("sort_by=title", "order=asc", "skip=0", "limit=20", "count=none", "cursor=x", "project_id=1"),
        *("due_after=2030-01-01T00:00:00Z", "due_before=2030-01-01T00:00:00Z"),
    ],
)
async def test_no_filter_order_or_page_stands_beside_ids(alice: Person, other: str) -> None:
    task = await alice.new_task()
    answer = await alice.get(f"/tasks?id={task['id']}&{other}", 422)
    assert other.partition("=")[0] in answer.json()["errors"][0]["msg"]


async def test_an_empty_id_is_no_filter(alice: Person) -> None:
    task = await alice.new_task()
    page = (await alice.get("/tasks?id=&status=pending")).json()
    assert [one["id"] for one in page["tasks"]] == [task["id"]]


@pytest.mark.parametrize("value", ["0", "x", "-1", "1.5", str(2**53)])
async def test_what_is_no_id_is_refused(alice: Person, value: str) -> None:
    await alice.get(f"/tasks?id={value}", 422)


async def test_tasks_of_a_project_are_not_chosen_by_id(alice: Person) -> None:
    await alice.get(f"/projects/{alice.inbox_id}/tasks?id=1", 422)

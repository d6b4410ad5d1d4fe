"""Tasks of archived projects are in lists over all projects only if asked for, and so they are counted."""

from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI

from taskmanager.tasks.listing.repository import cursor_binding
from tests.conftest import Person

ARCHIVED = ("false", "true", "any")
# Lists that requests share a statement for, and some that run alone or look at few tasks.
QUERIES: dict[str, dict[str, Any]] = {
    "newest": {},
    "by title": {"sort_by": "title"},
    "by due time": {"sort_by": "due_at"},
    "status": {"status": "pending"},
    "assignee": {"assignee": "me"},
    "overdue": {"overdue": "true"},
    "search": {"search": "task"},
    "tag and status": {"tag": "home", "status": "pending"},
}


@dataclass
class Stock:
    """A project that is in use and one that is archived, and the tasks in them."""

    active: int
    archived: int
    ids: dict[str, set[int]]


@pytest.fixture
async def stock(alice: Person) -> Stock:
    """Three tasks in one project and two in another, which is archived."""
    active, archived = [await alice.new_project(name) for name in ("In use", "Long ago")]
    values = {"assignee_id": alice.id, "tags": ["home"], "due_at": "2020-01-01T00:00:00Z"}
    here = {(await alice.new_task(active, **values))["id"] for _ in range(3)}
    there = {(await alice.new_task(archived, **values))["id"] for _ in range(2)}
    await alice.patch(f"/projects/{archived}", {"archived": True})
    return Stock(active, archived, {"false": here, "true": there, "any": here | there})


@pytest.fixture(params=[500, -1], ids=["few tasks", "many tasks"], autouse=True)
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every list be found among few tasks, where it is not shared, or have a statement of its own."""
    if request.param < 0:
        monkeypatch.setattr("taskmanager.tasks.listing.repository.FEW", request.param)


@pytest.mark.parametrize("name", QUERIES)
async def test_a_list_over_all_projects(alice: Person, stock: Stock, name: str) -> None:
    for archived in (None, *ARCHIVED):
        query = QUERIES[name] | ({"archived": archived} if archived else {})
        page = (await alice.get("/tasks", params=query)).json()
        wanted = stock.ids[archived or "false"]
        assert {task["id"] for task in page["tasks"]} == wanted
        assert page["total"] == len(wanted)


@pytest.mark.parametrize("archived", ["FALSE", "1", "yes", "null"])
async def test_anything_else_is_422(alice: Person, archived: str) -> None:
    await alice.get("/tasks", 422, params={"archived": archived})
    await alice.get("/projects", 422, params={"archived": archived})


@pytest.mark.parametrize("name", QUERIES)
async def test_no_effect_where_projects_are_named(alice: Person, stock: Stock, name: str) -> None:
    both = [("project_id", stock.active), ("project_id", stock.archived)]
    for archived in ARCHIVED:
        query = QUERIES[name] | {"archived": archived}
        for path in (f"/projects/{stock.archived}/tasks", f"/tasks?project_id={stock.archived}"):
            page = (await alice.get(path + ("&" if "?" in path else "?") + "limit=100", params=None)).json()
            assert {task["id"] for task in page["tasks"]} == stock.ids["true"]
        page = (await alice.get("/tasks", params=[*query.items(), *both])).json()
        assert {task["id"] for task in page["tasks"]} == stock.ids["any"]
        page = (await alice.get(f"/projects/{stock.archived}/tasks", params=query)).json()
        assert ({task["id"] for task in page["tasks"]}, page["total"]) == (stock.ids["true"], 2)


async def test_a_cursor_belongs_to_one_choice(alice: Person, stock: Stock) -> None:
    cursors = {
        archived: (await alice.get("/tasks", params={"limit": 1, "archived": archived})).json()["next_cursor"]
        for archived in ARCHIVED
    }
    for archived in ARCHIVED:
        for other, cursor in cursors.items():
            status = 200 if other == archived else 400
            await alice.get("/tasks", status, params={"limit": 1, "archived": archived, "cursor": cursor})
    await alice.get("/tasks", params={"limit": 1, "cursor": cursors["false"]})
    path = f"/projects/{stock.active}/tasks"
    cursor = (await alice.get(path, params={"limit": 1})).json()["next_cursor"]
    await alice.get(path, params={"limit": 1, "archived": "any", "cursor": cursor})


# The fields to which cursors were bound before others came.
BEFORE = (
    *("status", "priority", "tag", "assignee", "due_after", "due_before", "overdue", "search"),
    *("sort_by", "order"),
)


async def test_cursors_from_before_are_still_good(alice: Person, stock: Stock, app: FastAPI) -> None:
    newest = max(stock.ids["false"])
    task = (await alice.get(f"/tasks/{newest}")).json()
    # As it was written before there was a choice, and before there were the filters that came after that.
    fields = (
        '{"status":[],"priority":[],"tag":[],"assignee":[],"due_after":null,"due_before":null,"overdue":null,'
        '"search":null,"sort_by":"created_at","order":"desc"'
    )
    for path, named, rest in (
        ("/tasks", "[]", ',"project_id":[]}'),
        (f"/projects/{stock.active}/tasks", f"[{stock.active}]", "}"),
    ):
        binding = cursor_binding(f"{named} {fields}{rest}", user_id=alice.id)
        cursor = app.state.cursor_signer.write([task["created_at"], newest], binding)
        page = (await alice.get(path, params={"cursor": cursor})).json()
        assert {one["id"] for one in page["tasks"]} == stock.ids["false"] - {newest}


async def test_the_list_of_projects_has_them_unless_told_otherwise(alice: Person, stock: Stock) -> None:
    listed = {
        archived: {
            project["id"]
            for project in (await alice.get("/projects", params={"archived": archived} if archived else {})).json()[
                "projects"
            ]
        }
        for archived in (None, *ARCHIVED)
    }
    assert listed[None] == listed["any"] == {alice.inbox_id, stock.active, stock.archived}
    assert (listed["false"], listed["true"]) == ({alice.inbox_id, stock.active}, {stock.archived})
    first = (await alice.get("/projects", params={"limit": 1})).json()["next_cursor"]
    await alice.get("/projects", params={"limit": 1, "archived": "any", "cursor": first})
    await alice.get("/projects", 400, params={"limit": 1, "archived": "false", "cursor": first})

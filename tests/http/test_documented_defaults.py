"""A generated client sends the documented defaults along: they change nothing, on no page."""

from typing import Any

import pytest

from taskmanager.commands.openapi import describe
from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.credentials import API
from tests.support.pages import LISTS, make_list

_TEMPLATES = {
    "comments": "/tasks/{task_id}/comments",
    "members": "/projects/{project_id}/members",
    "task activity": "/tasks/{task_id}/activity",
    "project activity": "/projects/{project_id}/activity",
    "unread notifications": "/notifications",
    "users": "/admin/users",
    "api_keys": "/users/me/api-keys",
    "sessions": "/users/me/sessions",
}


def documented_defaults(template: str) -> list[tuple[str, Any]]:
    """Return the parameters of a list that have a default, with that, but for `limit`."""
    parameters = describe()["paths"][API + template]["get"]["parameters"]
    assert "cursor" in {parameter["name"] for parameter in parameters}
    with_default = [parameter for parameter in parameters if "default" in parameter["schema"]]
    pairs = [(parameter["name"], parameter["schema"]["default"]) for parameter in with_default]
    # An empty list is sent as nothing.
    sent = [(name, value) for name, value in pairs if name != "limit" and value != []]
    return [(name, str(value).lower() if value is False else value) for name, value in sent]


async def assert_unchanged(person: Person, path: str, key: str, defaults: list[tuple[str, Any]]) -> None:
    """Ask for the first and the second page with and without them."""
    first = (await person.get(path, params=[("limit", 1)])).json()
    assert first["next_cursor"] is not None
    for known in ([("limit", 1)], [("limit", 1), ("cursor", first["next_cursor"])]):
        expected = (await person.get(path, params=known)).json()
        assert len(expected[key]) == 1
        assert (await person.get(path, params=[*known, *defaults])).json() == expected


@pytest.mark.parametrize("template", ["/tasks", "/projects/{project_id}/tasks"])
async def test_of_a_list_of_tasks(alice: Person, template: str) -> None:
    project_id = await alice.new_project()
    for _ in range(3):
        await alice.new_task(project_id)
    defaults = documented_defaults(template)
    assert ("skip", 0) in defaults
    assert ("order", "desc") in defaults
    await assert_unchanged(alice, template.format(project_id=project_id), "tasks", defaults)


@pytest.mark.parametrize("name", LISTS)
async def test_of_every_other_list(alice: Person, administrator: Person, database: Database, name: str) -> None:
    a_list = await make_list(name, alice, administrator, database)
    await a_list.fill(3)
    defaults = documented_defaults(_TEMPLATES.get(name, f"/{name}"))
    await assert_unchanged(a_list.reader, a_list.path, a_list.key, defaults)


async def test_of_a_change(alice: Person) -> None:
    task = await alice.new_task()
    changed = await alice.patch(f"/tasks/{task['id']}?notify=false", {"title": "New"})
    assert changed.json()["title"] == "New"

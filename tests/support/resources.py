"""What the tests of several files in tests/http share: resources."""

from dataclasses import dataclass

import httpx

from tests.conftest import Person

KINDS = ("task", "task of a project", "project", "comment", "section")


METHODS = ("PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Resource:
    """Something with a version: where it is, where others like it are made, and a text field of it."""

    path: str
    collection: str
    field: str
    project_id: int

    def body(self, value: str = "New") -> dict[str, str]:
        """Return a body that sets the text field."""
        return {self.field: value}

    async def write(self, person: Person, method: str, value: str = "New", **headers: str) -> httpx.Response:
        """Change or delete it, with `if_match` in a header."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        body = None if method == "DELETE" else self.body(value)
        return await person.request(method, self.path, headers=named, json=body)


async def make_resource(kind: str, owner: Person) -> Resource:
    """Make one in a project of its own."""
    project_id = await owner.new_project()
    if kind == "project":
        return Resource(f"/projects/{project_id}", "/projects", "name", project_id)
    if kind == "section":
        sections = f"/projects/{project_id}/sections"
        section = (await owner.post(sections, {"name": "A section"})).json()
        return Resource(f"{sections}/{section['id']}", sections, "name", project_id)
    task_id = (await owner.new_task(project_id))["id"]
    if kind == "task":
        return Resource(f"/tasks/{task_id}", "/tasks", "title", project_id)
    if kind == "task of a project":
        tasks = f"/projects/{project_id}/tasks"
        return Resource(f"{tasks}/{task_id}", tasks, "title", project_id)
    comments = f"/tasks/{task_id}/comments"
    comment = (await owner.post(comments, {"body": "A comment"})).json()
    return Resource(f"{comments}/{comment['id']}", comments, "body", project_id)


def kind_of(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    assert response.headers["Content-Type"] == "application/problem+json"
    return str(response.json()["type"]).removeprefix("/docs/problems#")


async def share(owner: Person, resource: Resource, person: Person, role: str) -> None:
    """Make somebody a member of the resource's project."""
    await owner.post(f"/projects/{resource.project_id}/members", {"username": person.username, "role": role})

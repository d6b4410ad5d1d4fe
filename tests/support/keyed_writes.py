"""One request of each kind that takes an Idempotency-Key."""

from dataclasses import dataclass
from typing import Any

import httpx

from taskmanager.database.database import Database
from taskmanager.idempotency.header import RequestIdentity
from tests.conftest import Person
from tests.support.rows import fetch_all

POSTS = ("task", "project task", "project", "member", "comment", "section", "bulk")
CHANGES = (
    *("task change", "project task change", "move", "place", "comment change", "project change", "role", "bulk change"),
    *("section change", "place of section"),
)
DELETIONS = (
    *("task deletion", "project task deletion", "comment deletion", "project deletion", "bulk deletion", "removal"),
    *("leaving", "section deletion"),
)
MARKS = ("all notifications", "one notification")
KINDS = (*POSTS, *CHANGES, *DELETIONS, *MARKS)
WITH_BODY = (*POSTS, *CHANGES)
# The role in its project without which the answer is not given again.
NEEDED_ROLES = {"project": "viewer", "role": "viewer", "member": "owner", "project change": "owner"}


@dataclass(frozen=True)
class KeyedWrite:
    """A request that stores its answer."""

    path: str
    body: Any = None
    status: int = 201
    other_body: Any = None
    method: str = "POST"

    async def send(self, person: Person, key: str | None = "a-key", expect: int | None = -1) -> httpx.Response:
        """Send it with a key."""
        headers = {} if key is None else {"Idempotency-Key": key}
        status = self.status if expect == -1 else expect
        return await person.request(self.method, self.path, status, json=self.body, headers=headers)

    def lock_id(self, person: Person, key: str = "a-key") -> int:
        """Return the advisory lock that is held while it runs."""
        path = f"{person.api}{self.path.partition('?')[0]}"
        return RequestIdentity(person.id, self.method, path, key, b"").lock_id


async def make_write(kind: str, owner: Person, other: Person) -> KeyedWrite:
    """Prepare a request of the owner's in a project of their own, the newest, to which the other does not belong.

    Where it is about another member, or leaves something to mark as read, the other person is one.
    """
    target_id = await owner.new_project("Target") if kind == "move" else 0
    project_id = await owner.new_project()
    if kind in POSTS:
        return await _make_post(kind, owner, other, project_id)
    members = f"/projects/{project_id}/members"
    if kind in {*MARKS, "role", "removal", "leaving"}:
        role = {"leaving": "owner"}.get(kind, "editor")
        await owner.post(members, {"username": other.username, "role": role})
    if kind in MARKS:
        await other.new_task(project_id, assignee_id=owner.id)
        newest = (await owner.get("/notifications")).json()["notifications"][0]
        path = "/notifications/read" if kind == "all notifications" else f"/notifications/{newest['id']}/read"
        return KeyedWrite(path, status=204)
    task_id = (await owner.new_task(project_id))["id"]
    comment_id = (await owner.post(f"/tasks/{task_id}/comments", {"body": "Before"})).json()["id"]
    section_id = (await owner.post(f"/projects/{project_id}/sections", {"name": "Before"})).json()["id"]
    paths = {
        "section": f"/projects/{project_id}/sections/{section_id}",
        "task": f"/tasks/{task_id}",
        "project task": f"/projects/{project_id}/tasks/{task_id}",
        "comment": f"/tasks/{task_id}/comments/{comment_id}",
        "project": f"/projects/{project_id}",
        "bulk": f"/tasks/bulk?id={task_id}",
        "removal": f"{members}/{other.id}",
        "leaving": f"{members}/{owner.id}",
    }
    if kind in DELETIONS:
        return KeyedWrite(paths[kind.removesuffix(" deletion")], status=204, method="DELETE")
    once, twice = {"title": "Once"}, {"title": "Twice"}
    match kind:
        case "task change":
            return KeyedWrite(paths["task"], once, 200, twice, "PATCH")
        case "project task change":
            return KeyedWrite(paths["project task"], once, 200, twice, "PUT")
        case "move":
            return KeyedWrite(paths["task"], {"project_id": target_id}, 200, twice, "PATCH")
        case "place":
            await owner.new_task(project_id)
            return KeyedWrite(f"{paths['task']}/move", {"at": "bottom"}, 200, {"at": "top"})
        case "place of section":
            await owner.post(f"/projects/{project_id}/sections", {"name": "Behind"})
            return KeyedWrite(f"{paths['section']}/move", {"at": "bottom"}, 200, {"at": "top"})
        case "section change":
            return KeyedWrite(paths["section"], {"name": "Once"}, 200, {"name": "Twice"}, "PATCH")
        case "comment change":
            return KeyedWrite(paths["comment"], {"body": "Once"}, 200, {"body": "Twice"}, "PUT")
        case "project change":
            return KeyedWrite(paths["project"], {"name": "Once"}, 200, {"name": "Twice"}, "PATCH")
        case "role":
            return KeyedWrite(paths["removal"], {"role": "viewer"}, 200, {"role": "owner"}, "PUT")
    body = {"ids": [task_id], "set": once}
    return KeyedWrite("/tasks/bulk", body, 200, {**body, "set": twice}, "PATCH")


async def _make_post(kind: str, owner: Person, other: Person, project_id: int) -> KeyedWrite:
    tasks = f"/projects/{project_id}/tasks"
    match kind:
        case "task":
            body = {"title": "Once", "project_id": project_id}
            return KeyedWrite("/tasks", body, other_body={**body, "title": "Twice"})
        case "project task":
            return KeyedWrite(tasks, {"title": "Once"}, other_body={"title": "Twice"})
        case "project":
            return KeyedWrite("/projects", {"name": "Once"}, other_body={"name": "Twice"})
        case "member":
            body = {"username": other.username, "role": "viewer"}
            return KeyedWrite(f"/projects/{project_id}/members", body, other_body={**body, "role": "editor"})
        case "section":
            return KeyedWrite(f"/projects/{project_id}/sections", {"name": "Once"}, other_body={"name": "Twice"})
        case "comment":
            task_id = (await owner.new_task(project_id))["id"]
            return KeyedWrite(f"/tasks/{task_id}/comments", {"body": "Once"}, other_body={"body": "Twice"})
    new = {"title": "Once", "project_id": project_id}
    return KeyedWrite("/tasks/bulk", {"tasks": [new]}, other_body={"tasks": [new, new]})


async def keys_of(database: Database) -> list[str]:
    """Return the keys that are stored."""
    return [row["key"] for row in await fetch_all(database, "SELECT key FROM idempotency_keys ORDER BY key")]

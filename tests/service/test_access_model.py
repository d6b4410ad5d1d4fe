"""A state machine against a small model: random people act, and every answer and every list has to equal the model's.

`ACCESS_MODEL_STEPS=10000 pytest tests/service/test_access_model.py -s` runs longer than the suite's 2,000 steps.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import httpx
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import text

from taskmanager.accounts.api_key.repository import ApiKeyWriter
from taskmanager.accounts.api_key.written_keys import hash_secret, new_secret, write_key
from taskmanager.accounts.repository import AccountWriter, StoredLogin
from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import PASSWORD_HASH, client_for, make_settings
from tests.support.credentials import ALL_BUT_ADMIN, API, bearer
from tests.support.rows import fetch_one, wipe
from tests.support.sessions import open_transaction

STEPS = int(os.environ.get("ACCESS_MODEL_STEPS", "2000"))
STEPS_PER_EXAMPLE = 50
# In every text that is stored, and so in no refusal.
MARKER = "classified"
UNKNOWN_ID = 2**52
RANKS = {"viewer": 1, "editor": 2, "owner": 3}
USERS = ("ann", "ben", "cat", "dan")
_T = TypeVar("_T")


@dataclass
class Project:
    """A project as the model knows it."""

    roles: dict[int, str]
    personal: bool = False
    archived: bool = False


@dataclass
class Task:
    """A task as the model knows it."""

    project_id: int
    assignee_id: int | None = None


@dataclass
class Comment:
    """A comment as the model knows it."""

    task_id: int
    author_id: int


@dataclass
class Model:
    """Everything that decides who may do what, in a few dictionaries."""

    users: list[int] = field(default_factory=list)
    disabled: set[int] = field(default_factory=set)
    projects: dict[int, Project] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)

    def role(self, user_id: int, project_id: int | None) -> str | None:
        """Return somebody's role in a project, None also where there is none."""
        project = self.projects.get(project_id or 0)
        return project.roles.get(user_id) if project else None

    def visible_projects(self, user_id: int) -> set[int]:
        """Return the projects that a user is a member of."""
        return {project_id for project_id, project in self.projects.items() if user_id in project.roles}

    def visible_tasks(self, user_id: int) -> dict[int, Task]:
        """Return the tasks that a user may see."""
        visible = self.visible_projects(user_id)
        return {task_id: task for task_id, task in self.tasks.items() if task.project_id in visible}

    def project_of(self, task_id: int) -> int | None:
        """Return the project that a task is in."""
        task = self.tasks.get(task_id)
        return task.project_id if task else None

    def end_membership(self, project_id: int, user_id: int) -> None:
        """Remove a member and take their tasks back."""
        del self.projects[project_id].roles[user_id]
        for task in self.tasks.values():
            if task.project_id == project_id and task.assignee_id == user_id:
                task.assignee_id = None

    def delete_task(self, task_id: int) -> None:
        """Delete a task with its comments."""
        del self.tasks[task_id]
        self.comments = {key: comment for key, comment in self.comments.items() if comment.task_id != task_id}

    def delete_project(self, project_id: int) -> None:
        """Delete a project with its tasks."""
        del self.projects[project_id]
        for task_id in [key for key, task in self.tasks.items() if task.project_id == project_id]:
            self.delete_task(task_id)


class Service:
    """The real application on a loop of its own, which synchronous code can call."""

    def __init__(self, database_url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.app = create_app(make_settings(database_url=database_url))
        self.database: Database = self.app.state.database
        self._lifespan = self.app.router.lifespan_context(self.app)
        self.client = client_for(self.app)
        self.run(self._lifespan.__aenter__())

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Stop the application."""
        self.run(self.client.aclose())
        self.run(self._lifespan.__aexit__(None, None, None))
        self.run(self._loop.shutdown_asyncgens())
        self.run(self._loop.shutdown_default_executor())
        self._loop.close()


# Whoever acts is one of the four, or one of the members of what they act on.
actors = st.integers(0, 7)
credentials = st.sampled_from(["login", "login", "full key", "reading key"])
indexes = st.integers(0, 10**6)
roles = st.sampled_from(sorted(RANKS))
starting_roles = st.lists(st.sampled_from([None, "viewer", "editor", "owner"]), min_size=4, max_size=4)
maybe_users = st.none() | st.integers(0, len(USERS) - 1)


class Access(RuleBasedStateMachine):
    """People who create, share, change, move and delete at random."""

    service: ClassVar[Service]
    steps: ClassVar[int] = 0
    statuses: ClassVar[Counter[int]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        # All ids that ever were, deleted ones included.
        self.project_ids: list[int] = []
        self.task_ids: list[int] = []
        self.comment_ids: list[tuple[int, int]] = []
        self.headers: dict[tuple[int, str], dict[str, str]] = {}
        self.admin_headers: dict[str, str] = {}

    @initialize(first=starting_roles, second=starting_roles, third=starting_roles)
    def begin(self, first: list[str | None], second: list[str | None], third: list[str | None]) -> None:
        """Start with four people with their credentials, an administrator, and projects that some of them share."""
        self.service.run(wipe(self.service.database))
        self.service.run(self._sign_up())
        for owner, given in enumerate((first, second, third)):
            members = {
                user_id: "owner" if number == owner or role is None else role
                for number, (user_id, role) in enumerate(zip(self.model.users, given, strict=True))
                if role or number == owner
            }
            self.service.run(self._share(members, assignee_id=list(members)[-1]))

    async def _sign_up(self) -> None:
        for username in USERS:
            user_id = await self._new_user(username)
            self.model.users.append(user_id)
            inbox = await fetch_one(self.service.database, "SELECT id FROM projects WHERE inbox_of = :id", id=user_id)
            self.model.projects[inbox["id"]] = Project({user_id: "owner"}, personal=True)
            self.project_ids.append(inbox["id"])
            login = StoredLogin(user_id, PASSWORD_HASH)
            session_id = await AccountWriter(self.service.app.state.writes).start_session(login, "tests")
            token = self.service.app.state.token_signer.access_token(user_id, session_id)
            self.headers[user_id, "login"] = bearer(token)
            self.headers[user_id, "full key"] = await self._new_key(user_id, *ALL_BUT_ADMIN)
            self.headers[user_id, "reading key"] = await self._new_key(user_id, "tasks:read", "projects:read")
        administrator = await self._new_user("administrator", is_admin=True)
        self.admin_headers = await self._new_key(administrator, "admin")

    async def _share(self, members: dict[int, str], *, assignee_id: int) -> None:
        """Store a project with members, and a task with a comment of everybody who may write."""
        async with open_transaction(self.service.database) as session:

            async def insert(table: str, **values: Any) -> Any:
                columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
                statement = text(f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING *")
                return (await session.execute(statement, values)).mappings().one()

            project_id = (await insert("projects", name=f"A {MARKER} project"))["id"]
            for user_id, role in members.items():
                await insert("project_members", project_id=project_id, user_id=user_id, role=role)
            title = f"A {MARKER} task"
            task = await insert("tasks", project_id=project_id, title=title, assignee_id=assignee_id)
            for user_id, role in members.items():
                if role != "viewer":
                    place = {"project_id": project_id, "task_id": task["id"]}
                    comment = await insert("comments", **place, author_id=user_id, body=f"A {MARKER} comment")
                    self.model.comments[comment["id"]] = Comment(task["id"], user_id)
                    self.comment_ids.append((task["id"], comment["id"]))
            await insert("notifications", user_id=assignee_id, kind="assigned", task_id=task["id"])
        self.model.projects[project_id] = Project(dict(members))
        self.project_ids.append(project_id)
        self.model.tasks[task["id"]] = Task(project_id, assignee_id)
        self.task_ids.append(task["id"])

    async def _new_user(self, username: str, *, is_admin: bool = False) -> int:
        account = await AccountWriter(self.service.app.state.writes).create(
            username=username, email=f"{username}@example.com", password_hash=PASSWORD_HASH, is_admin=is_admin
        )
        return account.id

    async def _new_key(self, user_id: int, *scopes: str) -> dict[str, str]:
        secret = new_secret()
        stored = await ApiKeyWriter(self.service.app.state.writes).create(
            user_id=user_id, name="A key", secret_hash=hash_secret(secret), scopes=scopes, expires_at=None
        )
        return {"X-API-Key": write_key(stored.id, secret)}

    # Choices

    def actor(self, number: int, project_id: int | None) -> int:
        """Return who acts."""
        project = self.model.projects.get(project_id or 0)
        if number < len(USERS) or project is None:
            return self.model.users[number % len(USERS)]
        members = sorted(project.roles)
        return members[number % len(members)]

    @staticmethod
    def pick(ids: list[int], index: int) -> int:
        """Return one of the ids, most often a late one, or one that never was."""
        return ids[-1 - index % len(ids)] if ids and index % 23 != 22 else UNKNOWN_ID

    def pick_comment(self, index: int, *, swap: int) -> tuple[int, int]:
        """Return task and id of a comment; at times the task is another."""
        if not self.comment_ids:
            return UNKNOWN_ID, UNKNOWN_ID
        task_id, comment_id = self.comment_ids[-1 - index % len(self.comment_ids)]
        return (task_id if swap % 7 != 6 else self.pick(self.task_ids, swap)), comment_id

    # Requests

    def call(
        self, user_id: int, credential: str, method: str, path: str, wanted: int, json: Any = None, **options: Any
    ) -> httpx.Response:
        """Send a request, whose status has to be the wanted one, and count it."""
        headers = self.headers[user_id, credential]
        response = self.service.run(
            self.service.client.request(method, API + path, json=json, headers=headers, **options)
        )
        type(self).steps += 1
        type(self).statuses[response.status_code] += 1
        told = f"user {user_id} with {credential}: {method} {path} {json or ''}"
        assert response.status_code == wanted, f"{told}: {response.status_code}, not {wanted}: {response.text}"
        assert wanted < 400 or MARKER not in response.text, f"{told}: leaks {response.text}"
        return response

    def refusal(
        self,
        user_id: int,
        credential: str,
        *,
        project_id: int | None = None,
        least: str | None = None,
        write: bool = False,
        in_archived: bool = False,
    ) -> int | None:
        """Return the status with which a request has to be refused, if any, in the contract's order."""
        if user_id in self.model.disabled:
            return 401
        if write and credential == "reading key":
            return 403
        if least is None:
            return None
        role = self.model.role(user_id, project_id)
        if role is None:
            return 404
        if RANKS[role] < RANKS[least]:
            return 403
        if write and not in_archived and self.model.projects[project_id or 0].archived:
            return 409
        return None

    # Projects

    @rule(who=actors, credential=credentials)
    def create_project(self, who: int, credential: str) -> None:
        """POST /projects."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential, write=True)
        answer = self.call(user_id, credential, "POST", "/projects", refused or 201, {"name": f"A {MARKER} project"})
        if not refused:
            self.model.projects[answer.json()["id"]] = Project({user_id: "owner"})
            self.project_ids.append(answer.json()["id"])

    @rule(who=actors, credential=credentials, index=indexes)
    def read_project(self, who: int, credential: str, index: int) -> None:
        """GET /projects/{project_id}."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        answer = self.call(user_id, credential, "GET", f"/projects/{project_id}", refused or 200)
        if not refused:
            project = self.model.projects[project_id]
            found = answer.json()
            assert (found["role"], found["archived"]) == (project.roles[user_id], project.archived)

    @rule(who=actors, credential=credentials, index=indexes, archived=st.booleans())
    def archive_project(self, who: int, credential: str, index: int, archived: bool) -> None:
        """PATCH /projects/{project_id} with `archived`."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(
            user_id, credential, project_id=project_id, least="owner", write=True, in_archived=not archived
        )
        if not refused and archived and self.model.projects[project_id].personal:
            refused = 409
        self.call(user_id, credential, "PATCH", f"/projects/{project_id}", refused or 200, {"archived": archived})
        if not refused:
            self.model.projects[project_id].archived = archived

    @rule(who=actors, credential=credentials, index=indexes, method=st.sampled_from(["PUT", "PATCH"]))
    def rename_project(self, who: int, credential: str, index: int, method: str) -> None:
        """PUT and PATCH /projects/{project_id} with a name."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="owner", write=True)
        body = {"name": f"Another {MARKER} name"}
        self.call(user_id, credential, method, f"/projects/{project_id}", refused or 200, body)

    @rule(who=actors, credential=credentials, index=indexes, sure=st.booleans())
    def delete_project(self, who: int, credential: str, index: int, sure: bool) -> None:
        """DELETE /projects/{project_id}; not too often, or little is left to play with."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="owner", write=True, in_archived=True)
        if not refused and self.model.projects[project_id].personal:
            refused = 409
        if not refused and not sure:
            return
        self.call(user_id, credential, "DELETE", f"/projects/{project_id}", refused or 204)
        if not refused:
            self.model.delete_project(project_id)

    # Members

    @rule(who=actors, credential=credentials, index=indexes, person=st.integers(0, len(USERS) - 1), role=roles)
    def add_member(self, who: int, credential: str, index: int, person: int, role: str) -> None:
        """POST /projects/{project_id}/members."""
        project_id = self.pick(self.project_ids, index)
        user_id, member_id = self.actor(who, project_id), self.model.users[person]
        refused = self.refusal(user_id, credential, project_id=project_id, least="owner", write=True)
        if not refused:
            project = self.model.projects[project_id]
            refused = 409 if project.personal or member_id in project.roles else None
        body = {"username": USERS[person], "role": role}
        self.call(user_id, credential, "POST", f"/projects/{project_id}/members", refused or 201, body)
        if not refused:
            self.model.projects[project_id].roles[member_id] = role

    def _member_refusal(
        self, user_id: int, credential: str, project_id: int, member_id: int, *, least: str, leaves_owner: bool
    ) -> int | None:
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer", write=True, in_archived=True)
        if refused:
            return refused
        project = self.model.projects[project_id]
        if member_id not in project.roles:
            return 404
        if RANKS[project.roles[user_id]] < RANKS[least]:
            return 403
        if project.archived or project.personal:
            return 409
        others = [role for member, role in project.roles.items() if member != member_id]
        return None if leaves_owner or "owner" in others else 409

    @rule(who=actors, credential=credentials, index=indexes, person=actors, role=roles)
    def change_role(self, who: int, credential: str, index: int, person: int, role: str) -> None:
        """PUT /projects/{project_id}/members/{user_id}."""
        project_id = self.pick(self.project_ids, index)
        user_id, member_id = self.actor(who, project_id), self.actor(person, project_id)
        refused = self._member_refusal(
            user_id, credential, project_id, member_id, least="owner", leaves_owner=role == "owner"
        )
        path = f"/projects/{project_id}/members/{member_id}"
        self.call(user_id, credential, "PUT", path, refused or 200, {"role": role})
        if not refused:
            self.model.projects[project_id].roles[member_id] = role

    @rule(who=actors, credential=credentials, index=indexes, person=actors)
    def remove_member(self, who: int, credential: str, index: int, person: int) -> None:
        """DELETE /projects/{project_id}/members/{user_id}, of others or oneself."""
        project_id = self.pick(self.project_ids, index)
        user_id, member_id = self.actor(who, project_id), self.actor(person, project_id)
        least = "viewer" if user_id == member_id else "owner"
        refused = self._member_refusal(user_id, credential, project_id, member_id, least=least, leaves_owner=False)
        self.call(user_id, credential, "DELETE", f"/projects/{project_id}/members/{member_id}", refused or 204)
        if not refused:
            self.model.end_membership(project_id, member_id)

    # Tasks

    @rule(who=actors, credential=credentials, index=indexes, assignee=maybe_users, nested=st.booleans())
    def create_task(self, who: int, credential: str, index: int, assignee: int | None, nested: bool) -> None:
        """POST /tasks and POST /projects/{project_id}/tasks."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        assignee_id = None if assignee is None else self.model.users[assignee]
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        if not refused and assignee_id and assignee_id not in self.model.projects[project_id].roles:
            refused = 422
        body: dict[str, Any] = {"title": f"A {MARKER} task", "assignee_id": assignee_id}
        path = f"/projects/{project_id}/tasks" if nested else "/tasks"
        if not nested:
            body["project_id"] = project_id
        answer = self.call(user_id, credential, "POST", path, refused or 201, body)
        if not refused:
            self.model.tasks[answer.json()["id"]] = Task(project_id, assignee_id)
            self.task_ids.append(answer.json()["id"])

    @rule(who=actors, credential=credentials)
    def create_task_in_inbox(self, who: int, credential: str) -> None:
        """POST /tasks without a project."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential, write=True)
        answer = self.call(user_id, credential, "POST", "/tasks", refused or 201, {"title": f"A {MARKER} task"})
        if not refused:
            project_id = answer.json()["project_id"]
            assert self.model.projects[project_id] == Project({user_id: "owner"}, personal=True)
            self.model.tasks[answer.json()["id"]] = Task(project_id)
            self.task_ids.append(answer.json()["id"])

    @rule(who=actors, credential=credentials, index=indexes, project=indexes, nested=st.booleans())
    def read_task(self, who: int, credential: str, index: int, project: int, nested: bool) -> None:
        """GET a task, at times under a project that it is not in."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        path = f"/tasks/{task_id}"
        if nested:
            named = project_id if project % 3 != 2 and project_id else self.pick(self.project_ids, project)
            path = f"/projects/{named}/tasks/{task_id}"
            refused = refused or (None if named == project_id else 404)
        answer = self.call(user_id, credential, "GET", path, refused or 200)
        if not refused:
            task = self.model.tasks[task_id]
            assert (answer.json()["project_id"], answer.json()["assignee_id"]) == (task.project_id, task.assignee_id)

    @rule(
        who=actors,
        credential=credentials,
        index=indexes,
        assignee=maybe_users,
        method=st.sampled_from(["PUT", "PATCH"]),
    )
    def assign_task(self, who: int, credential: str, index: int, assignee: int | None, method: str) -> None:
        """PUT and PATCH a task."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        assignee_id = None if assignee is None else self.model.users[assignee]
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        if not refused and assignee_id and self.model.role(assignee_id, project_id) is None:
            refused = 422
        body = {"assignee_id": assignee_id, "title": f"Another {MARKER} title"}
        self.call(user_id, credential, method, f"/tasks/{task_id}", refused or 200, body)
        if not refused:
            self.model.tasks[task_id].assignee_id = assignee_id

    @rule(
        who=actors,
        credential=credentials,
        some=st.lists(indexes, min_size=1, max_size=3),
        assignee=maybe_users,
        sure=st.integers(0, 3),
    )
    def change_tasks(self, who: int, credential: str, some: list[int], assignee: int | None, sure: int) -> None:
        """PATCH and, at times, DELETE several tasks at once."""
        task_ids = list(dict.fromkeys(self.pick(self.task_ids, index) for index in some))
        projects = [self.model.project_of(task_id) for task_id in task_ids]
        user_id = self.actor(who, projects[0])
        assignee_id = None if assignee is None else self.model.users[assignee]
        refused = self.refusal(user_id, credential, write=True)
        if not refused and None in {self.model.role(user_id, project_id) for project_id in projects}:
            refused = 404
        if not refused and len(set(projects)) > 1:
            refused = 422
        refused = refused or self.refusal(user_id, credential, project_id=projects[0], least="editor", write=True)
        if sure == 3:
            path = "/tasks/bulk?" + "&".join(f"id={task_id}" for task_id in task_ids)
            self.call(user_id, credential, "DELETE", path, refused or 204)
            for task_id in [] if refused else task_ids:
                self.model.delete_task(task_id)
            return
        if not refused and assignee_id and self.model.role(assignee_id, projects[0]) is None:
            refused = 422
        body = {"ids": task_ids, "set": {"assignee_id": assignee_id}}
        self.call(user_id, credential, "PATCH", "/tasks/bulk", refused or 200, body)
        for task_id in [] if refused else task_ids:
            self.model.tasks[task_id].assignee_id = assignee_id

    @rule(who=actors, credential=credentials, index=indexes, goal=indexes, nested=st.booleans())
    def move_task(self, who: int, credential: str, index: int, goal: int, nested: bool) -> None:
        """PATCH a task with another project."""
        task_id, target_id = self.pick(self.task_ids, index), self.pick(self.project_ids, goal)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        # First all that is not there, then all that is not allowed, then all that is archived.
        ends = [
            self.refusal(user_id, credential, project_id=project, least="editor", write=True)
            for project in (project_id, target_id)
        ]
        refused = next((status for status in (401, 404, 403, 409) if status in ends), None)
        if credential == "reading key" and refused != 401:
            refused = 403
        path = f"/projects/{project_id or UNKNOWN_ID}/tasks/{task_id}" if nested else f"/tasks/{task_id}"
        answer = self.call(user_id, credential, "PATCH", path, refused or 200, {"project_id": target_id})
        if not refused:
            task = self.model.tasks[task_id]
            task.project_id = target_id
            if task.assignee_id not in self.model.projects[target_id].roles:
                task.assignee_id = None
            assert (answer.json()["project_id"], answer.json()["assignee_id"]) == (target_id, task.assignee_id)

    @rule(who=actors, credential=credentials, index=indexes)
    def delete_task(self, who: int, credential: str, index: int) -> None:
        """DELETE a task."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        self.call(user_id, credential, "DELETE", f"/tasks/{task_id}", refused or 204)
        if not refused:
            self.model.delete_task(task_id)

    # Comments

    @rule(who=actors, credential=credentials, index=indexes)
    def create_comment(self, who: int, credential: str, index: int) -> None:
        """POST a comment."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        body = {"body": f"A {MARKER} comment"}
        answer = self.call(user_id, credential, "POST", f"/tasks/{task_id}/comments", refused or 201, body)
        if not refused:
            self.model.comments[answer.json()["id"]] = Comment(task_id, user_id)
            self.comment_ids.append((task_id, answer.json()["id"]))

    @rule(
        who=actors,
        credential=credentials,
        index=indexes,
        swap=indexes,
        method=st.sampled_from(["GET", "PUT", "PATCH", "DELETE"]),
    )
    def use_comment(self, who: int, credential: str, index: int, swap: int, method: str) -> None:
        """Read, change and delete a comment, at times of another task."""
        task_id, comment_id = self.pick_comment(index, swap=swap)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        comment = self.model.comments.get(comment_id)
        write = method != "GET"
        refused = self.refusal(
            user_id, credential, project_id=project_id, least="viewer", write=write, in_archived=True
        )
        if not refused and (comment is None or comment.task_id != task_id):
            refused = 404
        if not refused and write and comment is not None:
            role = self.model.role(user_id, project_id)
            if role == "viewer" or (role == "editor" and comment.author_id != user_id):
                refused = 403
            elif self.model.projects[project_id or 0].archived:
                refused = 409
        body = {"body": f"Another {MARKER} comment"} if method in {"PUT", "PATCH"} else None
        ok = 204 if method == "DELETE" else 200
        answer = self.call(user_id, credential, method, f"/tasks/{task_id}/comments/{comment_id}", refused or ok, body)
        if not refused and method == "DELETE":
            del self.model.comments[comment_id]
        elif not refused and comment is not None:
            assert answer.json()["author"]["id"] == comment.author_id

    # Lists

    @rule(who=actors, credential=credentials)
    def list_projects(self, who: int, credential: str) -> None:
        """GET /projects."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        answer = self.call(user_id, credential, "GET", "/projects", refused or 200)
        if not refused:
            found = {project["id"]: project["role"] for project in answer.json()["projects"]}
            assert found == {p: self.model.projects[p].roles[user_id] for p in self.model.visible_projects(user_id)}

    @rule(who=actors, credential=credentials)
    def list_notifications(self, who: int, credential: str) -> None:
        """GET /notifications."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        answer = self.call(user_id, credential, "GET", "/notifications", refused or 200, params={"limit": 100})
        if not refused:
            told = {(n["task_id"], n["project_id"]) for n in answer.json()["notifications"]}
            assert told <= {(key, task.project_id) for key, task in self.model.visible_tasks(user_id).items()}

    @rule(who=actors, credential=credentials, filters=st.lists(indexes, max_size=3), mine=st.booleans())
    def list_tasks(self, who: int, credential: str, filters: list[int], mine: bool) -> None:
        """GET /tasks, with and without filters."""
        user_id = self.actor(who, None)
        named = [self.pick(self.project_ids, index) for index in filters]
        query: list[tuple[str, str | int]] = [("limit", 100), *(("project_id", project_id) for project_id in named)]
        if mine:
            query.append(("assignee", "me"))
        refused = self.refusal(user_id, credential)
        answer = self.call(user_id, credential, "GET", "/tasks", refused or 200, params=query)
        if not refused:
            wanted = {
                task_id: (task.project_id, task.assignee_id)
                for task_id, task in self.model.visible_tasks(user_id).items()
                if (not named or task.project_id in named) and (not mine or task.assignee_id == user_id)
            }
            found = {task["id"]: (task["project_id"], task["assignee_id"]) for task in answer.json()["tasks"]}
            assert found == wanted
            assert answer.json()["total"] == len(wanted)

    @rule(who=actors, credential=credentials, index=indexes, what=st.sampled_from(["tasks", "members", "activity"]))
    def list_in_project(self, who: int, credential: str, index: int, what: str) -> None:
        """GET /projects/{project_id}/tasks, members and activity."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        path, query = f"/projects/{project_id}/{what}", {"limit": 100} if what == "tasks" else None
        answer = self.call(user_id, credential, "GET", path, refused or 200, params=query)
        if refused:
            return
        if what == "members":
            members = {member["user_id"]: member["role"] for member in answer.json()["members"]}
            assert members == self.model.projects[project_id].roles
        elif what == "activity":
            events = answer.json()["events"]
            assert {event["entity_id"] for event in events if event["entity"] == "project"} <= {project_id}
        else:
            found = {task["id"] for task in answer.json()["tasks"]}
            assert found == {key for key, task in self.model.tasks.items() if task.project_id == project_id}

    @rule(who=actors, credential=credentials, index=indexes)
    def list_comments(self, who: int, credential: str, index: int) -> None:
        """GET /tasks/{task_id}/comments."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        answer = self.call(user_id, credential, "GET", f"/tasks/{task_id}/comments", refused or 200)
        if not refused:
            found = {comment["id"] for comment in answer.json()["comments"]}
            assert found == {key for key, comment in self.model.comments.items() if comment.task_id == task_id}

    # Administration

    @rule(person=st.integers(0, len(USERS) - 1), action=st.sampled_from(["disable", "enable", "enable", "enable"]))
    def disable_user(self, person: int, action: str) -> None:
        """POST /admin/users/{user_id}/disable and enable; by nobody else than an administrator."""
        user_id = self.model.users[person]
        path = f"/admin/users/{user_id}/{action}"
        self.call(user_id, "login", "POST", path, 401)
        self.call(user_id, "full key", "POST", path, 403)
        answer = self.service.run(self.service.client.post(API + path, headers=self.admin_headers))
        assert answer.status_code == 200
        if action == "disable":
            self.model.disabled.add(user_id)
        else:
            self.model.disabled.discard(user_id)


@contextmanager
def served(database_url: str) -> Iterator[Service]:
    """Run the service, and leave the database empty."""
    service = Service(database_url)
    try:
        yield service
    finally:
        service.run(wipe(service.database))
        service.close()


def test_every_answer_and_every_list_equals_the_model(database_url: str) -> None:
    with served(database_url) as service:
        Access.service = service
        Access.steps = 0
        Access.statuses = Counter()
        while Access.steps < STEPS:
            examples = max(1, (STEPS - Access.steps) // STEPS_PER_EXAMPLE)
            options = settings(
                max_examples=examples,
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
            run_state_machine_as_test(Access, settings=options)
    print(f"\n{Access.steps} steps, answers by status: {dict(sorted(Access.statuses.items()))}")
    # Each kind of answer has been met, or the machine only knocks at closed doors.
    assert set(Access.statuses) >= {200, 201, 204, 401, 403, 404, 409, 422}
    assert sum(count for status, count in Access.statuses.items() if status < 300) > Access.steps / 4

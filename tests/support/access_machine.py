"""People who act on the real application and on a model of it; what they do is in the rules."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize
from sqlalchemy import text

from taskmanager.accounts.api_key.repository import ApiKeyWriter
from taskmanager.accounts.api_key.written_keys import hash_secret, new_secret, write_key
from taskmanager.accounts.repository import AccountWriter, StoredLogin
from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import PASSWORD_HASH, client_for, make_settings
from tests.support.access_model import MARKER, RANKS, UNKNOWN_ID, USERS, Comment, Model, Project, Task
from tests.support.credentials import ALL_BUT_ADMIN, API, bearer
from tests.support.rows import fetch_one, wipe
from tests.support.sessions import open_transaction

_T = TypeVar("_T")


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
archives = st.sampled_from([None, "false", "true", "any"])
maybe_users = st.none() | st.integers(0, len(USERS) - 1)


class AccessMachine(RuleBasedStateMachine):
    """People who may act, and requests whose answers have to be those of the model."""

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
        self.model.tasks[task["id"]] = Task(project_id, assignee_id, task["created_by"])
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


@contextmanager
def served(database_url: str) -> Iterator[Service]:
    """Run the service, and leave the database empty."""
    service = Service(database_url)
    try:
        yield service
    finally:
        service.run(wipe(service.database))
        service.close()

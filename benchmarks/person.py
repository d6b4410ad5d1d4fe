"""What a person does with the service, over whatever sends the requests: locust under load, a plain client in tests."""

import random
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

API = "/api/v1"
_PASSWORD = "a password under load"
_PAGES = 3
_EDIT_TRIES = 5
_TEAM_SIZE = 5
_WORDS = ("report", "invoice", "release", "review", "offer", "survey", "backup", "budget")


@dataclass(frozen=True)
class Answer:
    """Status, JSON body (None if there is none) and headers by lower-case name."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Send(Protocol):
    """Sends a request whose answer must have one of the accepted statuses; `name` groups requests in statistics."""

    def __call__(
        self,
        method: str,
        path: str,
        *,
        name: str,
        accept: Collection[int],
        headers: Mapping[str, str],
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer; an unaccepted status raises."""


class BrokenPromiseError(Exception):
    """The service gave a good status, but not what it promises."""


@dataclass
class Team:
    """Some people who share a project, so that their edits collide; its owner's headers let others in."""

    project_id: int
    owner_headers: Mapping[str, str]
    usernames: list[str]


class Person:
    """Somebody with an account, who logs in once and then works; `pause` lets time pass between a look and an edit."""

    def __init__(self, send: Send, teams: list[Team], pause: Callable[[], None] = lambda: None) -> None:
        self.username = f"load_{uuid.uuid4().hex[:16]}"
        self._send = send
        self._teams = teams
        self._pause = pause
        self._headers: dict[str, str] = {}
        self._team = Team(0, {}, [])
        self.conflicts = 0

    def arrive(self) -> None:
        """Register, log in, join a team that has room or begin one, and write down a first task."""
        email = f"{self.username}@example.com"
        account = {"username": self.username, "email": email, "password": _PASSWORD}
        self._request("POST", "/users", json=account, accept=(201,))
        login = {"username": self.username, "password": _PASSWORD}
        token = self._request("POST", "/token", form=login, accept=(200,)).body["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}
        team = next((team for team in self._teams if len(team.usernames) < _TEAM_SIZE), None)
        if team is None:
            project = self._request("POST", "/projects", json={"name": "Launch"}, accept=(201,)).body
            team = Team(project["id"], self._headers, [self.username])
            self._teams.append(team)
        else:
            team.usernames.append(self.username)
            member = {"username": self.username, "role": "editor"}
            path = f"/projects/{team.project_id}/members"
            name = "/projects/[id]/members"
            self._request("POST", path, name=name, headers=team.owner_headers, json=member, accept=(201,))
        self._team = team
        self.create()

    def create(self) -> None:
        """Create a task with an Idempotency-Key."""
        self._create("/projects/[id]/tasks", *self._new_task())

    def create_and_retry(self) -> None:
        """Create a task and send the same request again, as after an answer that was lost."""
        new, key = self._new_task()
        first = self._create("/projects/[id]/tasks", new, key)
        again = self._create("/projects/[id]/tasks again", new, key)
        replayed = again.headers.get("idempotency-replayed") == "true"
        self._require(replayed and again.body == first.body, "a retried request had another effect")

    def page(self) -> None:
        """Read some pages of tasks, each task at most once."""
        path = "/tasks?limit=20&count=none"
        seen: list[int] = []
        cursor = ""
        for number in range(_PAGES):
            name = "/tasks page 1" if number == 0 else "/tasks next page"
            answer = self._request("GET", path + cursor, name=name, accept=(200,)).body
            seen += (task["id"] for task in answer["tasks"])
            if answer["next_cursor"] is None:
                break
            cursor = f"&cursor={answer['next_cursor']}"
        self._require(len(seen) == len(set(seen)), "a task came on two pages")

    def search(self) -> None:
        """Search for a word."""
        word = random.choice(_WORDS)
        answer = self._request("GET", f"/tasks?search={word}&limit=20", name="/tasks?search", accept=(200,)).body
        found = all(word in f"{task['title']} {task['description']}".lower() for task in answer["tasks"])
        self._require(found, "a search found something else")

    def read(self) -> None:
        """Open a task, and look again whether it has changed."""
        path = self._choose()
        task = self._request("GET", path, name="/tasks/[id]", accept=(200,))
        known = {"If-None-Match": task.headers["etag"]}
        self._request("GET", path, name="/tasks/[id] changed?", headers=known, accept=(200, 304))

    def edit(self) -> None:
        """Change a task as it was read; if somebody else was faster, read it again and decide anew."""
        path = self._choose()
        for _ in range(_EDIT_TRIES):
            task = self._request("GET", path, name="/tasks/[id]", accept=(200,))
            self._pause()
            change = {"priority": task.body["priority"] % 5 + 1, "status": random.choice(("pending", "in_progress"))}
            condition = {"If-Match": task.headers["etag"]}
            answer = self._request("PATCH", path, name="/tasks/[id]", json=change, headers=condition, accept=(200, 412))
            if answer.status == 200:
                self._require(answer.body["priority"] == change["priority"], "an edit was not made")
                return
            self.conflicts += 1
            self._require(answer.body["current_version"] > task.body["version"], "a current version was refused")

    def comment(self) -> None:
        """Comment on a task and mention a colleague."""
        body = {"body": f"Please have a look, @{random.choice(self._team.usernames)}."}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        path = f"{self._choose()}/comments"
        self._request("POST", path, name="/tasks/[id]/comments", json=body, headers=key, accept=(201,))
        self._request("GET", path, name="/tasks/[id]/comments", accept=(200,))

    def read_notifications(self) -> None:
        """Look at the inbox, and mark everything as read."""
        answer = self._request("GET", "/notifications?unread=true", name="/notifications", accept=(200,)).body
        if answer["notifications"]:
            self._request("POST", "/notifications/read", accept=(204,))

    @staticmethod
    def _new_task() -> tuple[dict[str, Any], dict[str, str]]:
        title = f"{random.choice(_WORDS)} {random.randint(1, 10_000)}"
        new = {"title": title, "priority": random.randint(1, 5), "tags": ["load"]}
        return new, {"Idempotency-Key": uuid.uuid4().hex}

    def _create(self, name: str, new: dict[str, Any], key: dict[str, str]) -> Answer:
        path = f"/projects/{self._team.project_id}/tasks"
        return self._request("POST", path, name=name, json=new, headers=key, accept=(201,))

    def _choose(self) -> str:
        """Return one of the team's newest tasks, which is where everybody works."""
        path = f"/projects/{self._team.project_id}/tasks?limit=5&count=none"
        answer = self._request("GET", path, name="/projects/[id]/tasks", accept=(200,)).body
        return f"/tasks/{random.choice(answer['tasks'])['id']}"

    def _request(
        self,
        method: str,
        path: str,
        *,
        accept: Collection[int],
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        return self._send(
            method,
            f"{API}{path}",
            name=name or path,
            accept=accept,
            headers={**self._headers, **(headers or {})},
            json=json,
            form=form,
        )

    @staticmethod
    def _require(condition: bool, what: str) -> None:
        if not condition:
            raise BrokenPromiseError(what)

"""Many requests at once, retried as a patient client would: what is left afterwards must still be right."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from sqlalchemy import make_url

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.rows import fetch_all
from tests.support.server import connect

_PATIENCE = 200
_KILL = """
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'taskmanager' AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT $1
) AS victims
"""


@dataclass
class Killings:
    """How many connections were ended so far."""

    count: int = 0


@asynccontextmanager
async def backends_killed(database_url: str, *, every_seconds: float, at_once: int = 2) -> AsyncIterator[Killings]:
    """End some of the service's connections again and again while the block runs."""
    connection: asyncpg.Connection[Any] = await connect(make_url(database_url))
    killings = Killings()

    async def kill() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            killings.count += int(await connection.fetchval(_KILL, at_once))

    killer = asyncio.create_task(kill())
    try:
        yield killings
    finally:
        killer.cancel()
        with suppress(asyncio.CancelledError):
            await killer
        await connection.close()


@dataclass
class CopiesReport:
    """What came of parallel copies of requests with an Idempotency-Key."""

    statuses: Counter[int] = field(default_factory=Counter)
    executed: int = 0
    replayed: int = 0
    differing: list[str] = field(default_factory=list)


async def send_copies(person: Person, *, keys: int, copies: int, keys_at_once: int = 1) -> CopiesReport:
    """Send so many parallel copies of a new task under each key, each until it is answered for good."""
    report = CopiesReport()
    names = [f"key-{number}" for number in range(keys)]
    gate = asyncio.Semaphore(keys_at_once)

    async def send(key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        for _ in range(_PATIENCE):
            answer = await person.post("/tasks", {"title": key}, None, headers=headers)
            report.statuses[answer.status_code] += 1
            if answer.status_code not in {409, 503}:
                return answer
            assert answer.headers["Retry-After"] == "1"
            await asyncio.sleep(0.1)
        raise AssertionError(f"{key} was refused {_PATIENCE} times")

    async def send_all(key: str) -> None:
        async with gate:
            answers = await asyncio.gather(*(send(key) for _ in range(copies)))
        replayed = sum("Idempotency-Replayed" in answer.headers for answer in answers)
        report.replayed += replayed
        report.executed += copies - replayed
        told = {
            (answer.status_code, answer.text, answer.headers.get("ETag"), answer.headers.get("Location"))
            for answer in answers
        }
        # The one who executed it may have lost its connection after COMMIT: then all others are told.
        if len(told) > 1 or answers[0].status_code != 201 or copies - replayed > 1:
            report.differing.append(f"{key}: {told}")

    await asyncio.gather(*(send_all(name) for name in names))
    return report


async def effects_missing_or_repeated(database: Database, *, keys: int) -> list[str]:
    """Return what is wrong after `send_copies`: keys without exactly one task, one event and one stored answer."""
    names = [f"key-{number}" for number in range(keys)]
    tasks = Counter(row["title"] for row in await fetch_all(database, "SELECT title FROM tasks"))
    events = await fetch_all(database, "SELECT entity_id FROM events WHERE entity = 'task' AND action = 'created'")
    stored = Counter(row["key"] for row in await fetch_all(database, "SELECT key FROM idempotency_keys"))
    wrong = [
        f"{name}: {tasks[name]} tasks, {stored[name]} keys" for name in names if (tasks[name], stored[name]) != (1, 1)
    ]
    if not len(events) == tasks.total() == stored.total() == keys:
        wrong.append(f"{stored.total()} keys, {len(events)} events, {tasks.total()} tasks")
    return wrong


@dataclass
class StormReport:
    """What came of many conflicting writes: how often each was answered how."""

    statuses: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Show the numbers, not the failures."""
        per_operation = ", ".join(f"{name} {count}" for name, count in sorted(self.answers.items()))
        return f"{dict(sorted(self.statuses.items()))}; {per_operation}"


class ConflictStorm:
    """People who write to the same few projects at once, without asking what the others do."""

    def __init__(self, people: Sequence[Person], *, seed: int = 1) -> None:
        self._people = people
        self._chance = random.Random(seed)
        self._projects: list[int] = []
        self._tasks: list[int] = []
        self._homes: dict[int, int] = {}
        self._comments: list[tuple[int, int]] = []
        self.report = StormReport()

    async def prepare(self, *, projects: int) -> None:
        """Make projects in which everybody is an owner or an editor, with some tasks."""
        for _ in range(projects):
            await self._add_project(self._people[0])
        for project_id in self._projects:
            for number in range(5):
                task = await self._people[0].new_task(project_id, assignee_id=self._people[number].id)
                self._keep(task)

    async def run(self, *, writers: int, operations: int) -> StormReport:
        """Do so many operations, so many at a time, and return how they were answered."""
        left = operations

        async def write() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self._do_something()

        await asyncio.gather(*(write() for _ in range(writers)))
        return self.report

    async def _do_something(self) -> None:
        operations = {
            self._create: 12,
            self._change: 10,
            self._assign: 16,
            self._move: 16,
            self._comment: 10,
            self._change_comment: 5,
            self._delete_comment: 2,
            self._delete_task: 4,
            self._add_member: 18,
            self._remove_member: 5,
            self._change_role: 4,
            self._change_many: 8,
            self._create_many: 2,
            self._delete_many: 1,
            self._replace_project: 0.5,
        }
        (operation,) = self._chance.choices(list(operations), list(operations.values()))
        await operation(self._chance.choice(self._people))

    async def _ask(self, person: Person, method: str, path: str, **options: Any) -> httpx.Response:
        answer = await person.request(method, path, **options)
        self.report.statuses[answer.status_code] += 1
        kind = path.split("?", maxsplit=1)[0].rstrip("0123456789").strip("/").split("/")
        name = f"{method} {kind[0]}{'/' + kind[-1] if kind[-1].isalpha() and len(kind) > 1 else ''}"
        self.report.answers[f"{name} {answer.status_code}"] += 1
        if answer.status_code >= 500:
            self.report.failures.append(f"{method} {path} {options.get('json')}: {answer.status_code} {answer.text}")
        return answer

    def _keep(self, task: dict[str, Any]) -> None:
        self._tasks.append(task["id"])
        self._homes[task["id"]] = task["project_id"]

    def _task(self) -> int:
        # Mostly one of few, so that writers meet.
        few = self._tasks[-12:] if self._chance.random() < 0.7 else self._tasks
        return self._chance.choice(few)

    def _project(self, person: Person) -> int:
        # Seldom one that the others cannot see.
        return self._chance.choice(self._projects) if self._chance.random() < 0.95 else person.inbox_id

    def _several(self) -> list[int]:
        # Of one project, as far as is known here, in any order.
        home = self._homes.get(self._task())
        together = [task_id for task_id in self._tasks if self._homes.get(task_id) == home]
        return self._chance.sample(together, min(len(together), 8)) or [self._task()]

    def _anybody(self) -> int | None:
        return None if self._chance.random() < 0.3 else self._chance.choice(self._people).id

    async def _create(self, person: Person) -> None:
        body = {"title": "A task", "project_id": self._project(person), "assignee_id": self._anybody()}
        answer = await self._ask(person, "POST", "/tasks", json=body)
        if answer.status_code == 201:
            self._keep(answer.json())

    async def _change(self, person: Person) -> None:
        body = {"title": f"{self._chance.random()}", "status": self._chance.choice(["pending", "completed"])}
        headers = {"If-Match": f'"{self._chance.randrange(1, 9)}"'} if self._chance.random() < 0.3 else {}
        await self._ask(person, "PATCH", f"/tasks/{self._task()}?notify=true", json=body, headers=headers)

    async def _assign(self, person: Person) -> None:
        await self._ask(person, "PATCH", f"/tasks/{self._task()}", json={"assignee_id": self._anybody()})

    async def _move(self, person: Person) -> None:
        body: dict[str, Any] = {"project_id": self._project(person)}
        if self._chance.random() < 0.3:
            body["assignee_id"] = self._anybody()
        answer = await self._ask(person, "PATCH", f"/tasks/{self._task()}?notify=true", json=body)
        if answer.status_code == 200:
            self._homes[answer.json()["id"]] = answer.json()["project_id"]

    async def _comment(self, person: Person) -> None:
        task_id, body = self._task(), {"body": f"@{self._chance.choice(self._people).username}"}
        answer = await self._ask(person, "POST", f"/tasks/{task_id}/comments", json=body)
        if answer.status_code == 201:
            self._comments.append((task_id, answer.json()["id"]))

    def _known_comment(self) -> str:
        task_id, comment_id = self._chance.choice(self._comments[-20:] or [(1, 1)])
        return f"/tasks/{task_id}/comments/{comment_id}"

    async def _change_comment(self, person: Person) -> None:
        await self._ask(person, "PATCH", self._known_comment(), json={"body": f"{self._chance.random()}"})

    async def _delete_comment(self, person: Person) -> None:
        await self._ask(person, "DELETE", self._known_comment())

    async def _delete_task(self, person: Person) -> None:
        task_id = self._task()
        if (await self._ask(person, "DELETE", f"/tasks/{task_id}")).status_code == 204:
            self._tasks.remove(task_id)

    async def _add_member(self, person: Person) -> None:
        body = {
            "username": self._chance.choice(self._people).username,
            "role": self._chance.choice(["owner", "owner", "editor", "viewer"]),
        }
        await self._ask(person, "POST", f"/projects/{self._chance.choice(self._projects)}/members", json=body)

    async def _remove_member(self, person: Person) -> None:
        project_id, other = self._chance.choice(self._projects), self._chance.choice(self._people)
        await self._ask(person, "DELETE", f"/projects/{project_id}/members/{other.id}")

    async def _change_role(self, person: Person) -> None:
        project_id, other = self._chance.choice(self._projects), self._chance.choice(self._people)
        body = {"role": self._chance.choice(["owner", "editor", "viewer"])}
        await self._ask(person, "PUT", f"/projects/{project_id}/members/{other.id}", json=body)

    async def _create_many(self, person: Person) -> None:
        new = {"title": "A task", "project_id": self._chance.choice(self._projects), "assignee_id": self._anybody()}
        answer = await self._ask(person, "POST", "/tasks/bulk", json={"tasks": [new] * 3})
        if answer.status_code == 201:
            for task in answer.json()["tasks"]:
                self._keep(task)

    async def _change_many(self, person: Person) -> None:
        changes = self._chance.choice([{"priority": self._chance.randrange(1, 6)}, {"assignee_id": self._anybody()}])
        await self._ask(person, "PATCH", "/tasks/bulk", json={"ids": self._several(), "set": changes})

    async def _delete_many(self, person: Person) -> None:
        ids = self._several()[:2]
        query = "&".join(f"id={task_id}" for task_id in ids)
        if (await self._ask(person, "DELETE", f"/tasks/bulk?{query}")).status_code == 204:
            self._tasks = [task_id for task_id in self._tasks if task_id not in ids]

    async def _replace_project(self, person: Person) -> None:
        project_id = self._chance.choice(self._projects)
        answer = await self._ask(person, "DELETE", f"/projects/{project_id}")
        if answer.status_code == 204 and project_id in self._projects:
            await self._add_project(person)
            self._projects.remove(project_id)

    async def _add_project(self, person: Person) -> None:
        project_id = (await self._ask(person, "POST", "/projects", json={"name": "A project"})).json()["id"]
        for number, other in enumerate(self._people):
            if other.id != person.id:
                body = {"username": other.username, "role": "editor" if number % 2 else "owner"}
                await self._ask(person, "POST", f"/projects/{project_id}/members", json=body)
        self._projects.append(project_id)

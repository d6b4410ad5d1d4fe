"""People who do whatever the API lets them do, at random, and transactions that are committed late."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from tests.conftest import Person, SignUp
from tests.support.mirrors import Mirror

Deed = Callable[[Person], Awaitable[None]]
_IS_ABOVE_HORIZON = "SELECT EXISTS (SELECT FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()))"
_LATE_TASK = """
WITH t AS (
    INSERT INTO tasks (project_id, title) SELECT project_id, 'late' FROM project_members WHERE project_id = $1 LIMIT 1
    RETURNING *
)
INSERT INTO events (project_id, entity, entity_id, version, action) SELECT project_id, 'task', id, 1, 'created' FROM t
"""


class RandomWork:
    """Random requests of people on what they have made; refusals are part of it, errors of the service are not."""

    def __init__(self, people: list[Person], sign_up: SignUp, seed: int) -> None:
        self.people = people
        self.done = 0
        self._sign_up = sign_up
        self._random = random.Random(seed)  # no secret
        self._projects: list[int] = []
        self._tasks: list[int] = []
        self._comments: list[tuple[int, int]] = []
        self._sections: list[tuple[int, int]] = []
        self._names = 0
        self._deeds: list[tuple[int, Deed]] = [
            (4, self._new_project),
            (20, self._new_task),
            (12, self._change_task),
            (6, self._delete_task),
            (10, self._move_task),
            (16, self._comment),
            (5, self._change_comment),
            (5, self._delete_comment),
            (10, self._share),
            (6, self._change_role),
            (8, self._remove_member),
            (3, self._change_project),
            (2, self._delete_project),
            (1, self._rename),
            (1, self._bulk),
            (4, self._new_section),
            (3, self._change_section),
            (1, self._delete_section),
            (10, self._order_task),
        ]

    def chance(self, share: float) -> bool:
        """Return True for this share of the calls."""
        return self._random.random() < share

    def any_of(self, choices: list[Any]) -> Any:
        """Return one of the choices."""
        return self._random.choice(choices)

    async def do(self) -> None:
        """Do one thing."""
        weights, deeds = zip(*self._deeds, strict=True)
        deed = self._random.choices(deeds, weights)[0]
        await deed(self.any_of(self.people))
        self.done += 1

    async def leave(self) -> Person:
        """Delete somebody's account, if they may, and return who else has come."""
        person = self.any_of(self.people[1:])
        answer = await person.post("/users/me/delete", {"password": "correct horse battery"}, None)
        assert answer.status_code in {204, 409}, answer.text
        if answer.status_code == 409:
            return self.people[0]
        self.people.remove(person)
        self._names += 1
        newcomer = await self._sign_up(f"newcomer{self._names}")
        self.people.append(newcomer)
        return newcomer

    async def _ask(self, person: Person, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await person.request(method, path, None, **({} if body is None else {"json": body}))
        assert answer.status_code < 500, (method, path, answer.text)
        found: dict[str, Any] = answer.json() if answer.is_success and answer.content else {}
        return found

    def _project(self, person: Person) -> int:
        return int(self.any_of([*self._projects[-8:], person.inbox_id]))

    async def _new_project(self, person: Person) -> None:
        if made := await self._ask(person, "POST", "/projects", {"name": f"Project {self.done}"}):
            self._projects.append(made["id"])

    async def _new_task(self, person: Person) -> None:
        body = {"title": f"Task {self.done}", "project_id": self._project(person)}
        if self.chance(0.3):
            body["assignee_id"] = self.any_of(self.people).id
        if made := await self._ask(person, "POST", "/tasks", body):
            self._tasks.append(made["id"])

    def _task(self) -> int:
        return int(self.any_of(self._tasks[-25:] or [1]))

    async def _change_task(self, person: Person) -> None:
        await self._ask(person, "PATCH", f"/tasks/{self._task()}", {"title": f"Changed {self.done}"})

    async def _delete_task(self, person: Person) -> None:
        await self._ask(person, "DELETE", f"/tasks/{self._task()}")

    async def _move_task(self, person: Person) -> None:
        await self._ask(person, "PATCH", f"/tasks/{self._task()}", {"project_id": self._project(person)})

    async def _order_task(self, person: Person) -> None:
        body: dict[str, Any] = self.any_of([{"at": "top"}, {"at": "bottom"}, {"after": self._task()}])
        if self.chance(0.5):
            body["section_id"] = self._section()[1]
        await self._ask(person, "POST", f"/tasks/{self._task()}/move", body)

    async def _new_section(self, person: Person) -> None:
        project_id = self._project(person)
        if made := await self._ask(person, "POST", f"/projects/{project_id}/sections", {"name": f"S {self.done}"}):
            self._sections.append((project_id, made["id"]))

    def _section(self) -> tuple[int, int]:
        return self.any_of(self._sections[-10:] or [(1, 1)])  # type: ignore[no-any-return]

    async def _change_section(self, person: Person) -> None:
        project_id, section_id = self._section()
        path = f"/projects/{project_id}/sections/{section_id}"
        await self._ask(person, "PATCH", path, {"name": f"Renamed {self.done}"})
        await self._ask(person, "POST", f"{path}/move", {"at": "top"})

    async def _delete_section(self, person: Person) -> None:
        project_id, section_id = self._section()
        await self._ask(person, "DELETE", f"/projects/{project_id}/sections/{section_id}")

    async def _comment(self, person: Person) -> None:
        task_id = self._task()
        if made := await self._ask(person, "POST", f"/tasks/{task_id}/comments", {"body": f"Comment {self.done}"}):
            self._comments.append((task_id, made["id"]))

    def _path_of_comment(self) -> str:
        task_id, comment_id = self.any_of(self._comments[-25:] or [(1, 1)])
        return f"/tasks/{task_id}/comments/{comment_id}"

    async def _change_comment(self, person: Person) -> None:
        await self._ask(person, "PUT", self._path_of_comment(), {"body": f"Changed {self.done}"})

    async def _delete_comment(self, person: Person) -> None:
        await self._ask(person, "DELETE", self._path_of_comment())

    async def _share(self, person: Person) -> None:
        role = self.any_of(["owner", "editor", "editor", "viewer"])
        body = {"username": self.any_of(self.people).username, "role": role}
        await self._ask(person, "POST", f"/projects/{self._project(person)}/members", body)

    async def _change_role(self, person: Person) -> None:
        path = f"/projects/{self._project(person)}/members/{self.any_of(self.people).id}"
        await self._ask(person, "PUT", path, {"role": self.any_of(["owner", "editor", "viewer"])})

    async def _remove_member(self, person: Person) -> None:
        path = f"/projects/{self._project(person)}/members/{self.any_of(self.people).id}"
        await self._ask(person, "DELETE", path)

    async def _change_project(self, person: Person) -> None:
        archived = self.chance(0.2)
        await self._ask(person, "PATCH", f"/projects/{self._project(person)}", {"archived": archived})
        await self._ask(person, "PATCH", f"/projects/{self._project(person)}", {"name": f"Renamed {self.done}"})

    async def _delete_project(self, person: Person) -> None:
        await self._ask(person, "DELETE", f"/projects/{self._project(person)}")

    async def _rename(self, person: Person) -> None:
        self._names += 1
        name = f"renamed{self._names}"
        if await self._ask(person, "PATCH", "/users/me", {"username": name}):
            person.username = name

    async def _bulk(self, person: Person) -> None:
        tasks = [{"title": f"One of many {n}"} for n in range(5)]
        made = await self._ask(person, "POST", "/tasks/bulk", {"tasks": tasks, "project_id": self._project(person)})
        self._tasks += [task["id"] for task in made.get("tasks", [])]


class LateCommits:
    """Transactions that write long before they are committed, so that what is behind them is seen before them."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url.replace("postgresql+asyncpg", "postgresql")
        self._open: list[asyncpg.Connection[asyncpg.Record]] = []

    async def begin(self, project_id: int) -> None:
        """Create a task in a transaction that stays open."""
        connection = await asyncpg.connect(self._url)
        await connection.execute("BEGIN")
        await connection.execute(_LATE_TASK, project_id)
        self._open.append(connection)

    async def commit(self) -> None:
        """Commit the oldest one."""
        if self._open:
            connection = self._open.pop(0)
            await connection.execute("COMMIT")
            await connection.close()

    async def commit_all(self) -> None:
        """Commit what is open, and wait until the horizon is past all events: the server has work of its own too."""
        while self._open:
            await self.commit()
        connection = await asyncpg.connect(self._url)
        while await connection.fetchval(_IS_ABOVE_HORIZON):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await connection.close()


def new_mirror(person: Person, work: RandomWork) -> Mirror:
    """Return the copy of a client with pages of 1 to 5."""
    return Mirror(person, work.any_of([1, 2, 3, 5]))

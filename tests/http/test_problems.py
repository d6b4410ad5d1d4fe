"""Refusals: every one is a problem document, none is the server's fault, and they come in a fixed order."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.errors import TaskManagerError
from taskmanager.http.problems import DOMAIN_ANSWERS
from tests.conftest import Person
from tests.support.body_limits import LIMIT
from tests.support.event_log import count_rows
from tests.support.problem_answers import JSON, assert_problem
from tests.support.sessions import open_transaction


def all_subclasses(base: type[Any]) -> Iterator[type[Any]]:
    """Walk a tree of classes."""
    for child in base.__subclasses__():
        yield child
        yield from all_subclasses(child)


def test_every_domain_error_has_an_answer() -> None:
    assert set(DOMAIN_ANSWERS) == set(all_subclasses(TaskManagerError))


class TestNoSuchRoute:
    """404 and 405 of the router."""

    @pytest.mark.parametrize(
        "path",
        [
            "/nope",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/api/v1/nope",
            "/api/v2/tasks",
            "/API/V1/tasks",
            "/api/v1/tasks/1/nope",
            "/api/v1/tasks/1%2Fcomments/2/3",
            "/health//",
            "/health;a=1",
            "/.env",
            "/%2e%2e/etc/passwd",
            "/%00",
            "/%ff",
            "/%ED%A0%80",
            "/" + "x" * 10_000,
        ],
        ids=lambda path: path[:30],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_no_such_path_is_404(self, anonymous: httpx.AsyncClient, path: str, method: str) -> None:
        problem = assert_problem(await anonymous.request(method, path), 404)
        assert problem["type"] == "/docs/problems#not-found"

    @pytest.mark.parametrize("path", ["/health/", "/api/v1/tasks/", "/api/v1/tasks/1/", "/api/v1/users/me/", "/docs/"])
    async def test_a_trailing_slash_is_404_and_no_redirect(self, alice: Person, path: str) -> None:
        for method in ("GET", "POST", "DELETE"):
            response = await alice.client.request(method, path)
            assert_problem(response, 404)
            assert "Location" not in response.headers

    async def test_the_problem_names_the_path(self, anonymous: httpx.AsyncClient) -> None:
        problem = assert_problem(await anonymous.get("/n\u00f6pe?secret=1"), 404)
        assert problem["instance"] == "/nöpe"

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", "/", "GET, HEAD"),
            ("POST", "/health", "GET, HEAD"),
            ("PATCH", "/readyz", "GET, HEAD"),
            ("DELETE", "/api/v1/users", "GET, HEAD, POST"),
            ("GET", "/api/v1/token", "POST"),
            ("HEAD", "/api/v1/token", "POST"),
            ("DELETE", "/api/v1/tasks/1/comments", "GET, HEAD, POST"),
            ("POST", "/api/v1/tasks/1", "DELETE, GET, HEAD, PATCH, PUT"),
            ("POST", "/api/v1/tasks/1/comments/1", "DELETE, GET, HEAD, PATCH, PUT"),
            ("POST", "/api/v1/projects/1/tasks/1", "DELETE, GET, HEAD, PATCH, PUT"),
            ("DELETE", "/api/v1/projects", "GET, HEAD, POST"),
            ("TRACE", "/api/v1/projects", "GET, HEAD, POST"),
            ("PURGE", "/api/v1/projects", "GET, HEAD, POST"),
            ("get", "/api/v1/token", "POST"),
            ("OPTIONS", "/api/v1/projects", "GET, HEAD, POST"),
        ],
    )
    async def test_another_method_is_405_with_all_that_are_allowed(
        self, anonymous: httpx.AsyncClient, method: str, path: str, allowed: str
    ) -> None:
        response = await anonymous.request(method, path)
        if method != "HEAD":
            assert_problem(response, 405)
        assert response.status_code == 405
        assert response.headers["Allow"] == allowed


class TestMalformed:
    """400 for what is no JSON document in UTF-8."""

    BODIES = {
        "cut off": b"{",
        "no object": b'{"title": "A task"',
        "trailing comma": b'{"title": "A task",}',
        "trailing text": b'{"title": "A task"} x',
        "two documents": b'{"title": "A task"}{}',
        "single quotes": b"{'title': 'A task'}",
        "comment": b'{"title": "A task" /* no */}',
        "blank": b"   ",
        "NUL": b"\x00",
        "raw control character": b'{"title": "A\ntask"}',
        "bad escape": b'{"title": "\\x41"}',
        "half an escape": b'{"title": "\\ud8"}',
        "UTF-16 with BOM": '{"title": "A task"}'.encode("utf-16"),
        "UTF-16 little-endian": '{"title": "A task"}'.encode("utf-16-le"),
        "UTF-16 big-endian": '{"title": "A task"}'.encode("utf-16-be"),
        "UTF-32": '{"title": "A task"}'.encode("utf-32"),
        "UTF-8 with BOM": b'\xef\xbb\xbf{"title": "A task"}',
        "Latin-1": '{"title": "Äpfel"}'.encode("latin-1"),
        "surrogate as UTF-8": b'{"title": "\xed\xa0\x80"}',
        "overlong UTF-8": b'{"title": "\xc0\xaf"}',
        "NaN": b'{"title": "A task", "priority": NaN}',
        "Infinity": b'{"title": "A task", "priority": Infinity}',
        "minus Infinity": b'{"title": "A task", "priority": -Infinity}',
        "NaN deep inside": b'{"title": "A task", "tags": [[{"a": NaN}]]}',
        "huge integer": b'{"title": "A task", "priority": ' + b"9" * 5_000 + b"}",
        "deep array": b"[" * 200_000,
        "deep object": b'{"a":' * 200_000,
        "deep but whole": b"[" * 100_000 + b"]" * 100_000,
        "leading zero": b'{"title": "A task", "priority": 01}',
        "plus": b'{"title": "A task", "priority": +1}',
        "hexadecimal": b'{"title": "A task", "priority": 0x1}',
    }

    async def test_is_400(self, alice: Person, database: Database, subtests: pytest.Subtests) -> None:
        for name, body in self.BODIES.items():
            with subtests.test(name):
                problem = assert_problem(await alice.client.post("/api/v1/tasks", content=body, headers=JSON), 400)
                assert problem["type"] == "/docs/problems#malformed-body"
        assert await count_rows(database, "tasks") == 0

    async def test_never_repeats_what_was_sent(self, client: httpx.AsyncClient) -> None:
        body = b'{"username": "dora", "password": "hunter2-hunter2" oops'
        response = await client.post("/api/v1/users", content=body, headers=JSON)
        assert_problem(response, 400)
        assert "hunter2" not in response.text


class TestOrder:
    """413, 415, 400, 401, 422, 404, 403, 409: the first that applies is the answer."""

    async def test_413_before_415(self, client: httpx.AsyncClient) -> None:
        headers = {"Content-Type": "text/plain"}
        assert_problem(await client.post("/api/v1/tasks", content=b" " * (LIMIT + 1), headers=headers), 413)

    async def test_415_before_400(self, alice: Person) -> None:
        headers = {"Content-Type": "text/plain"}
        assert_problem(await alice.client.post("/api/v1/tasks", content=b"{", headers=headers), 415)

    async def test_415_before_401(self, client: httpx.AsyncClient) -> None:
        headers = {"Content-Type": "text/plain"}
        assert_problem(await client.post("/api/v1/tasks", content=b"{}", headers=headers), 415)

    async def test_400_before_401(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.post("/api/v1/tasks", content=b"{", headers=JSON), 400)

    async def test_400_before_422(self, alice: Person) -> None:
        assert_problem(await alice.client.patch("/api/v1/tasks/0?unknown=1", content=b"{", headers=JSON), 400)

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/api/v1/tasks", {"title": ""}),
            ("POST", "/api/v1/tasks", []),
            ("GET", "/api/v1/tasks?limit=0", None),
            ("GET", "/api/v1/tasks?unknown=1", None),
            ("GET", "/api/v1/tasks/abc", None),
            ("PATCH", "/api/v1/projects/0", {"unknown": 1}),
        ],
    )
    async def test_401_before_422(self, client: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
        assert_problem(await client.request(method, path, json=body), 401)
        headers = {"Authorization": "Bearer forged"}
        assert_problem(await client.request(method, path, json=body, headers=headers), 401)

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PATCH", "/tasks/999999", {"title": ""}),
            ("PATCH", "/tasks/999999?unknown=1", {"title": "New"}),
            ("GET", "/tasks/999999?unknown=1", None),
            ("DELETE", "/tasks/999999?unknown=1", None),
            ("GET", "/projects/999999/tasks?limit=0", None),
            ("POST", "/projects/999999/tasks", {"title": ""}),
            ("POST", "/tasks", {"title": "", "project_id": 999_999}),
            ("POST", "/tasks/999999/comments", {"body": ""}),
            ("PATCH", "/projects/999999", {"name": None}),
        ],
    )
    async def test_422_before_404(self, alice: Person, method: str, path: str, body: Any) -> None:
        assert_problem(await alice.request(method, path, json=body), 422)

    @pytest.fixture
    async def archived(self, alice: Person, bob: Person, database: Database) -> dict[str, int]:
        """Ids in an archived project of Alice's in which Bob is a viewer."""
        project_id = await alice.new_project()
        task = await alice.new_task(project_id)
        comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "A comment"})).json()
        await alice.patch(f"/projects/{project_id}", {"archived": True})
        async with open_transaction(database) as session:
            statement = text(
                "INSERT INTO project_members (project_id, user_id, role) VALUES (:project, :user, 'viewer')"
            )
            await session.execute(statement, {"project": project_id, "user": bob.id})
        return {"project": project_id, "task": task["id"], "comment": comment["id"]}

    WRITES = (
        ("POST", "/tasks", {"title": "New", "project_id": 0}),
        ("POST", "/projects/{project}/tasks", {"title": "New"}),
        ("PATCH", "/tasks/{task}", {"title": "New"}),
        ("PUT", "/projects/{project}/tasks/{task}", {"title": "New"}),
        ("DELETE", "/tasks/{task}", None),
        ("POST", "/tasks/{task}/comments", {"body": "New"}),
        ("PATCH", "/tasks/{task}/comments/{comment}", {"body": "New"}),
        ("DELETE", "/tasks/{task}/comments/{comment}", None),
        ("PATCH", "/projects/{project}", {"name": "New"}),
    )

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    async def test_404_then_403_then_409(
        self, alice: Person, bob: Person, archived: dict[str, int], sign_up: Any, method: str, path: str, body: Any
    ) -> None:
        carol = await sign_up("carol")
        path = path.format(**archived)
        body = {**body, "project_id": archived["project"]} if body and "project_id" in body else body
        assert_problem(await carol.request(method, path, json=body), 404)
        assert_problem(await bob.request(method, path, json=body), 403)
        assert_problem(await alice.request(method, path, json=body), 409)

    async def test_422_before_403_and_409(self, alice: Person, bob: Person, archived: dict[str, int]) -> None:
        for person in (alice, bob):
            assert_problem(await person.patch(f"/tasks/{archived['task']}", {"title": ""}, None), 422)
            assert_problem(await person.patch(f"/projects/{archived['project']}", {"name": ""}, None), 422)

"""Refusals: every one is a problem document, none is the server's fault, and they come in a fixed order."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.errors import TaskManagerError
from taskmanager.field_types import MAXIMUM_ID
from taskmanager.http.problems import DOMAIN_ANSWERS
from tests.conftest import Person, client_for
from tests.support.event_log import count_rows

JSON = {"Content-Type": "application/json"}
LIMIT = 1_048_576


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check that a response is a problem document (RFC 9457) and return it."""
    assert response.status_code == status, (response.status_code, response.text[:500])
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content.decode("utf-8"))
    assert problem["status"] == status
    assert problem["type"].startswith("urn:taskmanager:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]
    known = {"type", "title", "status", "detail", "instance", "request_id"}
    if status == 422:
        assert set(problem) == {*known, "errors"}
        assert problem["errors"]
        assert all(set(error) == {"loc", "msg", "type"} for error in problem["errors"])
    return problem


def all_subclasses(base: type[Any]) -> Iterator[type[Any]]:
    """Walk a tree of classes."""
    for child in base.__subclasses__():
        yield child
        yield from all_subclasses(child)


def test_every_domain_error_has_an_answer() -> None:
    assert set(DOMAIN_ANSWERS) == set(all_subclasses(TaskManagerError))


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose requests never reach the database."""
    async with client_for(app) as client:
        yield client


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
        assert problem["type"] == "urn:taskmanager:problem:not-found"

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
            ("GET", "/api/v1/users", "POST"),
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


class TestContentTooLarge:
    """413 above one mebibyte."""

    @staticmethod
    def _task_of(size: int) -> bytes:
        body = b'{"title": "A task"}'
        return body + b" " * (size - len(body))

    @pytest.mark.parametrize("path", ["/api/v1/tasks", "/api/v1/users", "/api/v1/token"])
    async def test_an_announced_length_is_refused_before_a_byte_is_read(
        self, anonymous: httpx.AsyncClient, path: str
    ) -> None:
        read = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(50):
                read += 1
                yield b" " * 1_048_576

        started = time.process_time()
        response = await anonymous.post(path, content=body(), headers={**JSON, "Content-Length": "52428800"})
        assert_problem(response, 413)
        assert read == 0
        assert time.process_time() - started < 0.1

    async def test_a_length_not_announced_is_counted_while_it_comes(self, anonymous: httpx.AsyncClient) -> None:
        read = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(800):
                read += 1
                yield b" " * 65_536

        started = time.process_time()
        assert_problem(await anonymous.post("/api/v1/tasks", content=body(), headers=JSON), 413)
        assert read == LIMIT // 65_536 + 1
        assert time.process_time() - started < 0.1

    async def test_a_length_announced_too_small_is_counted_too(self, anonymous: httpx.AsyncClient) -> None:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 65_536

        headers = {**JSON, "Content-Length": "10"}
        assert_problem(await anonymous.post("/api/v1/tasks", content=body(), headers=headers), 413)

    async def test_a_million_form_fields_are_refused(self, anonymous: httpx.AsyncClient) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        started = time.process_time()
        assert_problem(await anonymous.post("/api/v1/token", content=b"a=1&" * 1_000_000, headers=headers), 413)
        assert time.process_time() - started < 0.1

    async def test_the_limit_itself_is_accepted(self, alice: Person) -> None:
        await alice.post("/tasks", expect=201, content=self._task_of(LIMIT), headers=JSON)
        await alice.post("/tasks", expect=413, content=self._task_of(LIMIT + 1), headers=JSON)

    @pytest.mark.parametrize("length", ["-1", "ten", "1e9", "", "\u0661".encode().decode("latin-1"), "9" * 5_000])
    async def test_a_strange_length_is_never_an_error(self, alice: Person, length: str) -> None:
        headers = {**JSON, "Content-Length": length}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        response = await alice.client.post("/api/v1/tasks", content=b'{"title": "A task"}', headers=raw)
        assert response.status_code in {201, 400, 413}


class TestContentType:
    """415 for a body of another type."""

    async def test_anything_but_json_is_415(self, alice: Person, database: Database) -> None:
        for content_type in (
            "",
            "text/plain",
            "text/json",
            "application/jsonp",
            "application/xml",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/octet-stream",
            "json",
            "application/",
            "; application/json",
            "*/*",
        ):
            headers = {"Content-Type": content_type}
            response = await alice.client.post("/api/v1/tasks", content=b'{"title": "A task"}', headers=headers)
            assert_problem(response, 415)
        assert await count_rows(database, "tasks") == 0

    async def test_a_body_without_any_type_is_415(self, alice: Person) -> None:
        assert_problem(await alice.client.post("/api/v1/tasks", content=b'{"title": "A task"}'), 415)

    @pytest.mark.parametrize(
        "content_type",
        ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/json ;x"],
    )
    async def test_json_may_have_parameters(self, alice: Person, content_type: str) -> None:
        headers = {"Content-Type": content_type}
        await alice.post("/tasks", expect=201, content=b'{"title": "A task"}', headers=headers)

    async def test_no_body_at_all_is_422(self, alice: Person) -> None:
        assert_problem(await alice.client.post("/api/v1/tasks"), 422)
        assert_problem(await alice.client.post("/api/v1/tasks", headers=JSON), 422)


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
                assert problem["type"] == "urn:taskmanager:problem:malformed-body"
        assert await count_rows(database, "tasks") == 0

    async def test_never_repeats_what_was_sent(self, client: httpx.AsyncClient) -> None:
        body = b'{"username": "dora", "password": "hunter2-hunter2" oops'
        response = await client.post("/api/v1/users", content=body, headers=JSON)
        assert_problem(response, 400)
        assert "hunter2" not in response.text


class TestInvalid:
    """422 for what is JSON but cannot be accepted."""

    async def test_a_body_that_is_no_object(self, alice: Person) -> None:
        documents: tuple[Any, ...] = ([], "text", 1, 1.5, True, None, [{"title": "A task"}])
        for document in documents:
            response = await alice.client.post("/api/v1/tasks", content=json.dumps(document), headers=JSON)
            assert_problem(response, 422)

    async def test_numbers_beyond_any_float(self, alice: Person) -> None:
        for number in (b"1e999", b"-1e999", b"1e-999", b"123456789012345678901234567890"):
            body = b'{"title": "A task", "priority": ' + number + b"}"
            response = await alice.client.post("/api/v1/tasks", content=body, headers=JSON)
            assert response.status_code in {400, 422}
            assert_problem(response, response.status_code)

    @pytest.mark.parametrize(
        "values",
        [
            {"password": "hunter2"},
            {"password": "hunter2-" * 100},
            {"password": ["hunter2-hunter2"]},
            {"password": "hunter2-hunter2", "email": "hunter2-hunter2"},
            {"username": "hunter2 hunter2", "password": "hunter2-hunter2"},
            {"hunter2": "hunter2-hunter2"},
        ],
        ids="-".join,
    )
    async def test_what_was_sent_is_never_repeated(self, client: httpx.AsyncClient, values: dict[str, Any]) -> None:
        body = {"username": "dora", "email": "dora@example.com", "password": "long enough here", **values}
        response = await client.post("/api/v1/users", json=body)
        problem = assert_problem(response, 422)
        # The name of an unknown field is told, its value is not.
        assert "hunter2" not in json.dumps([{**error, "loc": []} for error in problem["errors"]])
        assert "hunter2-" not in response.text

    async def test_a_query_is_never_repeated(self, alice: Person) -> None:
        response = await alice.get(
            "/tasks", 422, params={"status": "hunter2", "limit": "hunter2", "due_after": "hunter2"}
        )
        assert "hunter2" not in response.text

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("/tasks", "title"),
            ("/tasks", "description"),
            ("/tasks", "status"),
            ("/tasks", "tags"),
            ("/tasks", "due_at"),
            ("/tasks", "unknown"),
            ("/projects", "name"),
            ("/projects", "description"),
            ("/tasks/{task}/comments", "body"),
            ("/users", "username"),
            ("/users", "email"),
            ("/users", "password"),
        ],
    )
    async def test_text_that_cannot_be_stored(self, alice: Person, database: Database, path: str, field: str) -> None:
        task = await alice.new_task()
        good = {
            "/tasks": {"title": "A task"},
            "/projects": {"name": "A project"},
            "/tasks/{task}/comments": {"body": "A comment"},
            "/users": {"username": "dora", "email": "dora@example.com", "password": "long enough here"},
        }[path]
        value: Any = ["MARK"] if field == "tags" else "MARK"
        for unstorable in ("\\ud800", "a\\udfffb", "\\udc00\\ud800", "a\\u0000b"):
            # Passwords are hashed: NUL does no harm there.
            if field != "password" or "u0000" not in unstorable:
                body = json.dumps({**good, field: value}).replace("MARK", unstorable)
                url = f"/api/v1{path.format(task=task['id'])}"
                assert_problem(await alice.client.post(url, content=body.encode(), headers=JSON), 422)
        assert [await count_rows(database, table) for table in ("users", "tasks", "comments")] == [1, 1, 0]

    @pytest.mark.parametrize("key", ["\\ud800", "a\\u0000b", "\\udfff\\ud800", "title\\u0000"])
    async def test_keys_that_are_no_text(self, alice: Person, key: str) -> None:
        body = f'{{"title": "A task", "{key}": 1}}'.encode()
        assert_problem(await alice.client.post("/api/v1/tasks", content=body, headers=JSON), 422)

    async def test_a_pair_of_surrogates_is_a_character(self, alice: Person) -> None:
        response = await alice.post("/tasks", content=b'{"title": "\\ud83d\\ude00"}', headers=JSON)
        assert response.json()["title"] == "😀"

    @pytest.mark.parametrize("parameter", ["search", "tag", "status", "sort_by", "due_after", "assignee", "unknown"])
    async def test_nul_in_a_query(self, alice: Person, parameter: str) -> None:
        assert_problem(await alice.get(f"/tasks?{parameter}=a%00b", None), 422)

    @pytest.mark.parametrize("raw", ["%ff", "%ED%A0%80", "%C0%AF", "%F4%90%80%80"])
    async def test_bytes_in_a_query_that_are_no_text_are_never_an_error(self, alice: Person, raw: str) -> None:
        for parameter in ("search", "tag"):
            response = await alice.get(f"/tasks?{parameter}={raw}", None)
            assert response.status_code in {200, 422}
        assert_problem(await alice.get(f"/tasks?{raw}=1", None), 422)


PATHS_WITH_ID = (
    ("GET", "/tasks/{id}"),
    ("DELETE", "/tasks/{id}"),
    ("GET", "/tasks/{id}/comments"),
    ("GET", "/tasks/1/comments/{id}"),
    ("DELETE", "/tasks/1/comments/{id}"),
    ("GET", "/projects/{id}"),
    ("DELETE", "/projects/{id}"),
    ("GET", "/projects/{id}/tasks"),
    ("GET", "/projects/{id}/tasks/1"),
    ("GET", "/projects/1/tasks/{id}"),
    ("DELETE", "/projects/1/tasks/{id}"),
)


class TestIds:
    """Ids in paths are digits from 1 to the widest; in bodies they are numbers."""

    WRITTEN = (
        *("0", "-1", "%2B1", "1_0", "%201", "1%20", "1.0", "1e3", "0x1", "abc", "1%00", "1,2", "%D9%A1"),
        *(str(MAXIMUM_ID + 1), "9223372036854775808", "99999999999999999999", "9" * 5_000),
    )

    @pytest.mark.parametrize(("method", "path"), PATHS_WITH_ID)
    async def test_anything_else_in_a_path_is_422(self, alice: Person, method: str, path: str) -> None:
        for written in self.WRITTEN:
            problem = assert_problem(await alice.request(method, path.format(id=written)), 422)
            assert problem["errors"][0]["loc"][0] == "path"

    @pytest.mark.parametrize(("method", "path"), PATHS_WITH_ID)
    async def test_the_widest_id_is_just_not_there(self, alice: Person, method: str, path: str) -> None:
        assert_problem(await alice.request(method, path.format(id=MAXIMUM_ID)), 404)

    @pytest.mark.parametrize("field", ["project_id", "assignee_id"])
    async def test_in_a_body_they_are_whole_positive_numbers(self, alice: Person, field: str) -> None:
        values: tuple[Any, ...] = (0, -1, MAXIMUM_ID + 1, 2**63, 10**30, 1.0, 1.5, "1", True, [1], {"id": 1}, "")
        for value in values:
            problem = assert_problem(await alice.post("/tasks", {"title": "A task", field: value}, None), 422)
            assert problem["errors"][0]["loc"] == ["body", field]

    @pytest.mark.parametrize(("field", "status"), [("project_id", 404), ("assignee_id", 422)])
    async def test_the_widest_id_in_a_body_is_just_not_there(self, alice: Person, field: str, status: int) -> None:
        assert_problem(await alice.post("/tasks", {"title": "A task", field: MAXIMUM_ID}, None), status)

    async def test_in_a_query_they_are_no_wider(self, alice: Person) -> None:
        for name in ("project_id", "assignee", "skip", "limit", "priority"):
            for written in ("9223372036854775808", "-9223372036854775809", "1" * 5_000):
                assert_problem(await alice.get("/tasks", None, params={name: written}), 422)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/tasks", {"title": "A task"}),
        ("POST", "/projects/{project}/tasks", {"title": "A task"}),
        ("PUT", "/tasks/{task}", {"title": "A task"}),
        ("PATCH", "/tasks/{task}", {"title": "A task"}),
        ("POST", "/projects", {"name": "A project"}),
        ("PATCH", "/projects/{project}", {"name": "A project"}),
        ("POST", "/tasks/{task}/comments", {"body": "A comment"}),
        ("POST", "/users", {"username": "dora", "email": "dora@example.com", "password": "long enough here"}),
    ],
)
async def test_fields_that_nobody_declared_are_422(alice: Person, method: str, path: str, body: dict[str, Any]) -> None:
    task = await alice.new_task()
    path = path.format(task=task["id"], project=alice.inbox_id)
    for field in ("id", "owner_id", "user_id", "created_by", "created_at", "version", "is_admin", "role"):
        problem = assert_problem(await alice.request(method, path, json={**body, field: 1}), 422)
        assert [error["loc"] for error in problem["errors"]] == [["body", field]]
    assert (await alice.get(f"/tasks/{task['id']}")).json() == task


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
        async with database.transaction() as session:
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

"""Values, ids and fields that are not valid are 422 or 404, with a line for each fault."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.field_types import MAXIMUM_ID
from tests.conftest import Person
from tests.support.event_log import count_rows
from tests.support.problem_answers import JSON, assert_problem
from tests.support.valid_requests import BODIES, FORMS, fill


def with_text(text: str, schema: dict[str, Any], components: dict[str, Any]) -> Iterator[Any]:
    """Yield values that have the text in each place of a schema where it may be, one place at a time."""
    if "$ref" in schema:
        yield from with_text(text, components["schemas"][schema["$ref"].rpartition("/")[2]], components)
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from with_text(text, part, components)
    if schema.get("type") == "string":
        yield text
    if "items" in schema:
        yield from ([value] for value in with_text(text, schema["items"], components))
    for name, part in schema.get("properties", {}).items():
        yield from ({name: value} for value in with_text(text, part, components))


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

    async def test_no_parameter_of_any_query_is_repeated(self, alice: Person, app: FastAPI) -> None:
        refused = 0
        for path, operations in app.openapi()["paths"].items():
            for method, operation in operations.items():
                for name in (one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"):
                    for value in ("hunter2", "hunter2,x", "-hunter2", "2026-01-01hunter2", "hunter2\0", "\x1c"):
                        address = re.sub(r"{[a-z_]+}", "1", path)
                        response = await alice.client.request(method, address, params={name: value})
                        refused += response.status_code >= 400
                        assert response.status_code < 500, (method, path, name)
                        assert response.status_code < 400 or "hunter2" not in response.text, (method, path, name)
        assert refused > 100

    async def test_no_field_of_any_body_is_repeated(self, alice: Person) -> None:
        refused = 0
        for (method, path), body in BODIES.items():
            filled = fill(body, defaultdict(lambda: 1))
            for name in filled:
                for value in ("hunter2", ["hunter2"], [{"title": "x", "hunter": "hunter2"}], {"at": "hunter2"}):
                    address = f"/api/v1{re.sub(r'{[a-z_]+}', '1', path)}"
                    response = await alice.client.request(method, address, json={**filled, name: value})
                    refused += response.status_code >= 400
                    assert response.status_code < 400 or "hunter2" not in response.text, (method, path, name)
        assert refused > 100

    async def test_no_field_of_any_body_takes_text_that_cannot_be_stored(self, alice: Person, app: FastAPI) -> None:
        description, refused = app.openapi(), 0
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                content = operation.get("requestBody", {}).get("content", {})
                if "application/json" not in content:
                    continue
                valid = fill({**BODIES, **FORMS}[method.upper(), path.removeprefix("/api/v1")], defaultdict(lambda: 1))
                for text in ("a\0b", "\x1c"):
                    for body in with_text(text, content["application/json"]["schema"], description["components"]):
                        address = re.sub(r"{[a-z_]+}", "1", path)
                        response = await alice.client.request(method, address, json={**valid, **body})
                        assert response.status_code < 500, (method, path, body)
                        refused += response.status_code == 422
        assert refused > 100

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
        *("0", "-1", "+1", "1_0", "1.0", "1e3", "0x1", "abc", "1,2", "07x", "-0", "1;2"),
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

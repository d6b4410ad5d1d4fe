"""Bodies that are too large or of the wrong type."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.body_limits import LIMIT
from tests.support.event_log import count_rows
from tests.support.problem_answers import JSON, assert_problem


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

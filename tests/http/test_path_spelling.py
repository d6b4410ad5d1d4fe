"""Each address has one spelling; any other is 404, whatever it would mean."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import Person, client_for
from tests.support.live_server import LiveServer
from tests.support.problem_answers import assert_problem
from tests.support.raw_http import head, raw_connection


@pytest.mark.parametrize(
    "path",
    [
        "/readyz%0A",
        "/readyz%20",
        "/%72eadyz",
        "/livez%00",
        "/livez%2F",
        "%2Flivez",
        "/docs/assets%2Fpages.css",
        "/docs/assets/pages%2Ecss",
        "/api%2Fv1/tasks",
        "/api/v1/%74asks",
        "/api/v1/tasks%3Flimit=1",
        "/api/v1/tasks%2Fbulk",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
async def test_percent_encoding_is_404(live_server: LiveServer, path: str, method: str) -> None:
    async with raw_connection(live_server.port) as connection:
        await connection.send(head(method, path))
        answer = await connection.receive(method)
        assert answer.status in ({404, 400} if path.startswith("%") else {404})
        assert "allow" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/tasks/{0}", "/tasks/{0}/comments", "/tasks/1/comments/{0}", "/projects/{0}", "/projects/1/tasks/{0}"]
)
async def test_an_id_has_no_leading_zeros(alice: Person, client: httpx.AsyncClient, path: str) -> None:
    task = await alice.new_task()
    for written in (f"0{task['id']}", f"00{task['id']}", "007", "00", "0" * 500 + "1", "%30"):
        for method in ("GET", "HEAD", "PATCH", "DELETE", "POST"):
            answer = await alice.request(method, path.format(written))
            assert answer.status_code == 404, (method, written)
            assert "Allow" not in answer.headers
        # Like a path of no route, to strangers too.
        assert_problem(await client.get(f"/api/v1{path.format(written)}"), 404)
    assert (await alice.get(f"/tasks/{task['id']}")).json() == task


@pytest.mark.parametrize("written", ["0", "-1", "+1", "1.0", "1e3", "0x1", "07x", "1_0", "9" * 16, "9" * 400])
async def test_what_is_no_id_stays_422(alice: Person, written: str) -> None:
    for method, path in (("GET", "/tasks/{0}"), ("DELETE", "/projects/{0}")):
        assert_problem(await alice.request(method, path.format(written)), 422)


async def test_a_query_may_be_encoded(alice: Person) -> None:
    task = await alice.new_task(title="Grüße")
    found = await alice.get("/tasks?search=gr%C3%BC%C3%9F%65&project_id=" + str(task["project_id"]))
    assert found.json()["tasks"] == [task]


class TestWithoutRawPath:
    """Servers such as Mangum pass the decoded path alone."""

    @staticmethod
    async def ask(app: FastAPI, path: str, method: str = "GET") -> int:
        async with client_for(app):
            statuses: list[int] = []

            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b""}

            async def send(message: Any) -> None:
                statuses.extend([message["status"]] if "status" in message else [])

            scope: dict[str, Any] = {
                "type": "http",
                "method": method,
                "path": path,
                "raw_path": None,
                "query_string": b"",
                "headers": [],
                "client": ("127.0.0.1", 1),
                "app": app,
            }
            await app(scope, receive, send)
            return statuses[0]

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/livez", 200),
            ("/docs/assets/swagger-ui.css", 200),
            ("/api/v1/tasks/7", 401),
            ("/api/v1/tasks/-7", 401),
            ("/api/v1/tasks/007", 404),
            ("/livez\n", 404),
            ("/livez ", 404),
            ("/api/v1/tasks/7\n", 404),
            ("/api/v1/tasks/ 7", 404),
            ("/api/v1/tasks/\u0667", 404),
            ("/api/v1/tasks/%37", 404),
            ("/api/v1/tasks/7?x=1", 404),
        ],
    )
    async def test_what_must_have_been_encoded_is_404(self, app: FastAPI, path: str, status: int) -> None:
        assert await self.ask(app, path) == status
        if status == 404:
            assert await self.ask(app, path, "DELETE") == 404

"""The handler for AWS Lambda, called as Lambda calls it: one event after the other, in a process of its own."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskmanager.database.database import Database
from tests.conftest import SECRET
from tests.support.databases import temporary_database
from tests.support.server import execute_on

# Like Lambda's runtime: the handler is imported by its name, before there is any event.
_RUNTIME = """
import importlib, json, sys
module, _, name = "taskmanager.aws_lambda.handler".rpartition(".")
handler = getattr(importlib.import_module(module), name)
for line in sys.stdin:
    try:
        answer = handler(json.loads(line), None)
    except Exception as error:
        answer = {"raised": type(error).__name__}
    print("answer", json.dumps(answer), flush=True)
"""


class Function:
    """A running environment of the function."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.log: list[dict[str, Any]] = []

    async def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        """Pass an event to the handler and return what it returned, or the type of what it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(event).encode() + b"\n")
        while line := await asyncio.wait_for(self._process.stdout.readline(), 20):
            if line.startswith(b"answer "):
                answer: dict[str, Any] = json.loads(line.removeprefix(b"answer "))
                return answer
            self.log.append(json.loads(line))
        raise AssertionError("the function ended")

    async def request(self, method: str, path: str, body: str | None = None, **headers: str) -> dict[str, Any]:
        """Send a request by way of API Gateway."""
        return await self.invoke(gateway_event(method, path, body, **headers))


@asynccontextmanager
async def function(folder: Path, **settings: str) -> AsyncIterator[Function]:
    """Run the function with these settings and no others."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _RUNTIME),
        cwd=folder,
        env={"PATH": os.environ["PATH"], **settings},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Function(process)
    finally:
        # Lambda says no more.
        process.kill()
        await process.wait()


def gateway_event(method: str, path: str, body: str | None = None, **headers: str) -> dict[str, Any]:
    """Return the event that API Gateway's HTTP API makes of a request, in its format 2.0."""
    path, _, query = path.partition("?")
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "host": "abc123.execute-api.eu-central-1.amazonaws.com",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "requestContext": {
            "apiId": "abc123",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }
    if body is not None:
        # The gateway encodes every body whose type it does not take for text.
        encode = headers.get("content_type") != "application/json"
        event["body"] = base64.b64encode(body.encode()).decode() if encode else body
        event["isBase64Encoded"] = encode
    return event


async def log_in(function: Function) -> str:
    answer = await function.request(
        "POST",
        "/api/v1/token",
        "username=alice&password=a+long+password",
        content_type="application/x-www-form-urlencoded",
    )
    assert answer["statusCode"] == 200, answer
    return f"Bearer {json.loads(answer['body'])['access_token']}"


async def test_the_function_answers_one_event_after_the_other(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    async with function(tmp_path, DATABASE_URL=database_url, SECRET_KEY=SECRET, DATABASE_POOL_SIZE="2") as running:
        health = await running.request("GET", "/health")
        assert (health["statusCode"], json.loads(health["body"])) == (200, {"status": "healthy"})
        # Its line comes before the answer, after which the process would be frozen.
        assert running.log[-1]["path"] == "/health"

        person = {"username": "alice", "email": "alice@example.com", "password": "a long password"}
        created = await running.request("POST", "/api/v1/users", json.dumps(person), content_type="application/json")
        assert created["statusCode"] == 201
        # Twice: an application that ended after an event has no threads left to hash passwords in.
        await log_in(running)
        token = await log_in(running)
        me = await running.request("GET", "/api/v1/users/me", authorization=token)
        assert (me["statusCode"], json.loads(me["body"])["username"]) == (200, "alice")

        task = await running.request(
            "POST", "/api/v1/tasks", '{"title": "Grüße"}', authorization=token, content_type="application/json"
        )
        assert task["statusCode"] == 201
        found = await running.request("GET", "/api/v1/tasks?search=gr%C3%BC%C3%9F&limit=5", authorization=token)
        assert json.loads(found["body"])["tasks"] == [json.loads(task["body"])]

        # What could only have come percent-encoded is another spelling; API Gateway passes the path as it came.
        for path in (
            f"/api/v1/tasks/0{json.loads(task['body'])['id']}",
            "/livez%0A",
            "/%6Civez%20",
            "/api/v1%2525/tasks",
        ):
            assert (await running.request("GET", path, authorization=token))["statusCode"] == 404

        # Mangum would pass a stream on when it is complete.
        stream = await running.request("GET", "/api/v1/events", authorization=token)
        assert stream["statusCode"] == 501
        assert json.loads(stream["body"])["code"] == "streams-unsupported"

        unknown = await running.request("GET", "/api/v1/tasks/999999", authorization=token)
        assert unknown["headers"]["content-type"] == "application/problem+json"
        assert not unknown["isBase64Encoded"]
        assert json.loads(unknown["body"])["status"] == unknown["statusCode"] == 404


async def test_the_application_starts_with_the_first_event_that_can_be_served_and_outlives_its_connections(
    database_url: str, tmp_path: Path
) -> None:
    key = "k" * 32
    async with temporary_database(database_url) as url:
        settings = {"DATABASE_URL": url, "SECRET_KEY": SECRET, "API_KEY": key}
        async with function(tmp_path, **settings) as running:
            for _ in range(2):
                assert await running.request("GET", "/health") == {"raised": "SchemaError"}
            migration = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "taskmanager", "migrate"),
                env={**os.environ, **settings},
                cwd=tmp_path,
                stdout=asyncio.subprocess.DEVNULL,
            )
            assert await migration.wait() == 0

            for _ in range(2):
                users = await running.request("GET", "/api/v1/admin/users", x_api_key=key)
                assert users["statusCode"] == 200
                # Whatever happens to connections while the process is frozen.
                await asyncio.to_thread(
                    execute_on,
                    url,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'taskmanager'",
                )


async def test_the_import_alone_asks_for_nothing(tmp_path: Path) -> None:
    async with function(tmp_path) as running:
        assert await running.request("GET", "/health") == {"raised": "ValidationError"}

"""Every sample that the interactive documentation offers succeeds when it is sent as offered.

Each operation gets the data of the demo anew, with ids from 1, and what a person would make before it: two more
accounts, a member, a key, a notification.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi import FastAPI

from taskmanager.commands.openapi import describe
from taskmanager.database.database import Base, Database
from taskmanager.embedded import demo
from taskmanager.embedded.demo import seed_demo
from taskmanager.main import create_app
from tests.conftest import client_for, make_settings
from tests.support.applications import started
from tests.support.credentials import API
from tests.support.databases import migrated, temporary_database
from tests.support.sessions import open_transaction

DESCRIPTION = describe()
OPERATIONS = [
    pytest.param(method, path, operation, id=operation["operationId"])
    for path, item in DESCRIPTION["paths"].items()
    for method, operation in item.items()
]
# A token cannot be known before it is given.
TOKEN_OF_LAST_ANSWER = {"refreshToken"}
# The only administrator cannot go, nor the only owner of a shared project.
OF_ADA = {"deleteMe"}
_TABLES = ", ".join(name for name in Base.metadata.tables if name != "event_log")


@pytest.fixture(scope="module")
async def sample_app(database_url: str) -> AsyncIterator[FastAPI]:
    """The application on a database of its own."""
    async with temporary_database(database_url, migrated(database_url)) as url:
        app = create_app(make_settings(database_url=url))
        app.state.maintenance.stop()
        async with started(app):
            yield app


async def sign_in(client: httpx.AsyncClient, username: str) -> dict[str, Any]:
    """Log in and return the tokens."""
    answer = await client.post(f"{API}/token", json={"username": username, "password": demo.PASSWORD})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def prepare(app: FastAPI) -> dict[str, Any]:
    """Make what the samples name, and return the tokens of demo and ada and a key of the administrator."""
    database: Database = app.state.database
    async with open_transaction(database) as session:
        connection = await session.connection()
        await connection.exec_driver_sql(f"TRUNCATE {_TABLES} RESTART IDENTITY CASCADE")
    assert await seed_demo(app.state.writes, app.state.password_hasher)
    async with client_for(app) as client:
        for name in ("ada", "alan"):
            body = {"username": name, "email": f"{name}@example.com", "password": demo.PASSWORD}
            assert (await client.post(f"{API}/users", json=body)).status_code == 201
        tokens = await sign_in(client, demo.USERNAME)
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        members: dict[str, Any] = {"username": "ada", "role": "editor"}
        key: dict[str, Any] = {"name": "administration", "scopes": ["admin"]}
        for path, body in (("/projects/2/members", members), ("/users/me/api-keys", key)):
            made = await client.post(f"{API}{path}", json=body)
            assert made.status_code == 201, made.text
        hook = {"name": "Chat", "url": "https://example.com/hooks/tasks"}
        assert (await client.post(f"{API}/projects/2/webhooks", json=hook)).status_code == 201
        assert (await client.post(f"{API}/projects/2/webhooks/1/test")).status_code == 202
        cursor = (await client.get(f"{API}/changes?limit=1")).json()["cursor"]
        while (page := (await client.get(f"{API}/changes", params={"since": cursor})).json())["has_more"]:
            cursor = page["cursor"]
        ada = await sign_in(client, "ada")
        comment = {"body": "Done, @demo."}
        headers = {"Authorization": f"Bearer {ada['access_token']}"}
        assert (await client.post(f"{API}/tasks/2/comments", json=comment, headers=headers)).status_code == 201
    return {"demo": tokens, "ada": ada, "key": made.json()["key"], "cursor": page["cursor"]}


def sample(content: dict[str, Any]) -> Any:
    """Return the sample of a body or an answer."""
    name = content["examples"]["sample"]["$ref"].rpartition("/")[2]
    return DESCRIPTION["components"]["examples"][name]["value"]


def headers_of(operation: dict[str, Any], given: dict[str, Any]) -> dict[str, str]:
    """Return the credential that an operation asks for first."""
    if not operation["security"]:
        return {}
    if "Login" not in {name for demand in operation["security"] for name in demand}:
        return {"X-API-Key": given["key"]}
    caller = "ada" if operation["operationId"] in OF_ADA else "demo"
    return {"Authorization": f"Bearer {given[caller]['access_token']}"}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
async def test_a_sample_succeeds_as_offered(
    sample_app: FastAPI, method: str, path: str, operation: dict[str, Any]
) -> None:
    given = await prepare(sample_app)
    required = [parameter for parameter in operation.get("parameters", ()) if parameter["required"]]
    values = {parameter["name"]: parameter["example"] for parameter in required if parameter["in"] == "path"}
    query = {parameter["name"]: parameter["example"] for parameter in required if parameter["in"] == "query"}
    options: dict[str, Any] = {}
    if "requestBody" in operation:
        options["json"] = sample(operation["requestBody"]["content"]["application/json"])
        if operation["operationId"] in TOKEN_OF_LAST_ANSWER:
            assert options["json"].keys() == {"refresh_token"}
            options["json"] = {"refresh_token": given["demo"]["refresh_token"]}
        if operation["operationId"] == "replayWebhook":
            options["json"] = {"since": given["cursor"]}
    async with client_for(sample_app, headers=headers_of(operation, given)) as client:
        answer = await client.request(method.upper(), path.format(**values), params=query, **options)
    assert answer.is_success, (answer.status_code, answer.text)
    described = operation["responses"][str(answer.status_code)]
    said = set(described["headers"]) - {"Idempotency-Replayed", "Link", "RateLimit", "RateLimit-Policy"}
    tracked = DESCRIPTION["components"]["headers"].keys()
    assert {name for name in tracked if name in answer.headers} - {"Link"} == said
    if answer.status_code != 204 and "text/event-stream" not in described["content"]:
        schema = described["content"]["application/json"]["schema"]
        whole = {**schema, "components": DESCRIPTION["components"]}
        for value in (answer.json(), sample(described["content"]["application/json"])):
            jsonschema_rs.validate(whole, value)
            assert isinstance(value, dict)


def test_everything_has_a_sample() -> None:
    for path, item in DESCRIPTION["paths"].items():
        for method, operation in item.items():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            contents = [content for body in bodies for content in body.get("content", {}).items()]
            for media_type, content in contents:
                assert content.get("examples") or media_type == "text/event-stream", (method, path)

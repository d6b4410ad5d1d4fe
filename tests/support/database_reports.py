"""What commands and probes say about a database, and a tour of the API that writes to every table."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import httpx

from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level
from taskmanager.main import create_app
from tests.conftest import PASSWORD, SECRET, make_settings
from tests.support.applications import without_lifespan
from tests.support.command_line import run
from tests.support.ports import free_port
from tests.support.server import execute_on

SELECT_ALL = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
WRITE_ALL = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
SEQUENCE = "GRANT USAGE ON SEQUENCE tasks_id_seq TO {role}"


async def outcome(
    url: str, folder: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """Return the exit code of a command, and what it printed."""
    usual = {"DATABASE_URL": url, "SECRET_KEY": SECRET, "PORT": str(free_port()), "DATABASE_WAIT_SECONDS": "0"}
    result = await asyncio.to_thread(run, *arguments, environment={**usual, **environment}, cwd=folder)
    return result.returncode, result.stdout + result.stderr


async def problems_of(url: str) -> list[str]:
    """Return the problems that `doctor` finds."""
    findings = await examine_database(make_settings(database_url=url), 1)
    return [finding.message for finding in findings if finding.level is Level.PROBLEM]


async def readiness_of(url: str) -> tuple[int, str]:
    """Return the status and the reason that `/readyz` gives."""
    async with without_lifespan(create_app(make_settings(database_url=url))) as client:
        return await ask_readiness(client)


async def ask_readiness(client: httpx.AsyncClient) -> tuple[int, str]:
    response = await client.get("/readyz")
    return response.status_code, response.json().get("detail", "").removeprefix("Not ready: ").removesuffix(".")


async def execute(url: str, *statements: str) -> None:
    await asyncio.to_thread(execute_on, url, *statements)


async def use_everything(client: httpx.AsyncClient) -> None:
    """Write to and delete from every table by the API."""

    async def call(method: str, path: str, status: int, **options: object) -> httpx.Response:
        response = await client.request(method, f"/api/v1{path}", **options)  # type: ignore[arg-type]
        assert response.status_code == status, (method, path, response.text)
        return response

    user = {"username": "carol", "email": "carol@example.com", "password": PASSWORD}
    await call("POST", "/users", 201, json=user)
    login = {"username": "carol", "password": PASSWORD}
    tokens = (await call("POST", "/token", 200, data=login)).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    key = {"name": "a key", "scopes": ["tasks:read"]}
    key_id = (await call("POST", "/users/me/api-keys", 201, json=key)).json()["id"]
    await call("DELETE", f"/users/me/api-keys/{key_id}", 204)
    project = (await call("POST", "/projects", 201, json={"name": "A project"})).json()["id"]
    header = {"Idempotency-Key": "a-key-of-this-test"}
    task = (await call("POST", "/tasks", 201, json={"title": "x", "project_id": project}, headers=header)).json()["id"]
    await call("PATCH", f"/tasks/{task}", 200, json={"title": "y"})
    await call("GET", "/tasks?search=y", 200)
    comment = (await call("POST", f"/tasks/{task}/comments", 201, json={"body": "@carol"})).json()["id"]
    await call("DELETE", f"/tasks/{task}/comments/{comment}", 204)
    await call("DELETE", f"/tasks/{task}", 204)
    await call("DELETE", f"/projects/{project}", 204)
    await call("POST", "/users/me/delete", 204, json={"password": PASSWORD})

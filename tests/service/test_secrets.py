"""Secrets stay secret: they are in no log, in no answer that did not issue them, and not in the database."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import SECRET
from tests.support.credentials import API, bearer
from tests.support.live_server import LiveServer
from tests.support.rows import dump, execute, fetch_one

CONFIGURED_KEY = "configured-key-of-the-operator-0123456789"
PREVIOUS_SECRET = "the-secret-before-of-more-than-32-bytes"
FIRST = "first-PASS-phrase-1"
SECOND = "second-PASS-phrase-2"
WRONG = "wrong-PASS-phrase-3"
COMMON = "qwertyuiop"
_JSON = {"Content-Type": "application/json"}


@dataclass
class Session:
    """Everything that was sent and answered, and the secrets among it."""

    client: httpx.AsyncClient
    secrets: set[str] = field(default_factory=set)
    answers: list[httpx.Response] = field(default_factory=list)
    issued: set[int] = field(default_factory=set)

    async def call(
        self, method: str, path: str, expect: int | tuple[int, ...], *, issues: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request and remember the answer; `issues` marks those that hand a secret out."""
        answer = await self.client.request(method, f"{API}{path}", **options)
        wanted = expect if isinstance(expect, tuple) else (expect,)
        assert answer.status_code in wanted, (method, path, answer.status_code, answer.text)
        if issues:
            self.issued.add(len(self.answers))
        self.answers.append(answer)
        return answer

    async def tokens(self, path: str, **options: Any) -> tuple[str, str]:
        """Send a request that answers tokens; add them to the secrets."""
        answer = (await self.call("POST", path, 200, issues=True, **options)).json()
        access, refresh = str(answer["access_token"]), str(answer["refresh_token"])
        # Also their secret parts alone.
        self.secrets |= {access, access.rsplit(".", 1)[1], refresh, refresh.split("_", 3)[3]}
        return access, refresh

    async def key(self, token: str, *scopes: str) -> tuple[int, str]:
        """Make an API key and add it to the secrets."""
        body = {"name": "A key", "scopes": list(scopes)}
        created = await self.call("POST", "/users/me/api-keys", 201, issues=True, json=body, headers=bearer(token))
        text = str(created.json()["key"])
        self.secrets |= {text, text.split("_", 2)[2]}
        return int(created.json()["id"]), text


async def typical_requests(session: Session) -> tuple[str, str, str]:
    """Do what people do, and all that goes wrong with it; return tokens and a key that are good at the end."""
    call = session.call
    account = {"username": "dora", "email": "dora@example.com", "password": FIRST}
    await call("POST", "/users", 201, json=account)
    await call("POST", "/users", 409, json=account)
    await call("POST", "/users", 422, json={**account, "username": "d"})
    await call("POST", "/users", 422, json={**account, "email": FIRST})
    await call("POST", "/users", 422, json={**account, "password": [FIRST]})
    await call("POST", "/users", 422, json={"username": FIRST, "name": SECOND, "password": FIRST[:7]})
    await call("POST", "/users", 422, json={**account, "username": "other", "password": COMMON})
    await call("POST", "/users", 400, content=f'{{"password": "{FIRST}", '.encode(), headers=_JSON)
    await call("POST", "/users", 415, content=f"password={FIRST}".encode(), headers={"Content-Type": "text/plain"})
    await call("POST", "/token", 401, data={"username": "dora", "password": WRONG})
    await call("POST", "/token", 401, data={"username": "nobody", "password": FIRST})
    await call("POST", "/token", 422, data={"password": FIRST})
    await call("POST", "/token", 415, content=FIRST, headers={"Content-Type": "text/plain"})
    await call("GET", f"/token?username=dora&password={FIRST}", 405)
    access, refresh = await session.tokens("/token", data={"username": "dora", "password": FIRST})
    await call("GET", "/users/me", 200, headers=bearer(access))
    await call("GET", "/users/me", 401, headers=bearer(f"{access}x"))
    await call("GET", "/users/me", 401, headers=bearer(refresh))
    await call("GET", f"/tasks?access_token={access}", 422, headers=bearer(access))
    await call("GET", f"/tasks?access_token={access}", 401)
    access, second = await session.tokens("/token/refresh", json={"refresh_token": refresh})
    await session.tokens("/token/refresh", json={"refresh_token": refresh})
    await call("POST", "/token/refresh", 401, json={"refresh_token": f"{second}x"})
    await call("POST", "/token/refresh", 422, json={"refresh_token": second, "password": FIRST})
    key_id, key = await session.key(access, "tasks:read", "account")
    await call("GET", "/tasks", 200, headers={"X-API-Key": key})
    await call("GET", "/projects", 403, headers={"X-API-Key": key})
    await call("GET", "/tasks", 401, headers={"X-API-Key": f"{key}x"})
    await call("GET", "/users/me/api-keys", 200, headers=bearer(access))
    await call("GET", "/users/me/sessions", 200, headers=bearer(access))
    for refused, status in (({"name": key, "scopes": ["admin"]}, 403), ({"name": "x", "scopes": [key]}, 422)):
        await call("POST", "/users/me/api-keys", status, json=refused, headers=bearer(access))
    change = {"current_password": FIRST, "new_password": SECOND, "confirm_password": SECOND}
    for wrong, status in (
        ({"current_password": WRONG}, 403),
        ({"confirm_password": WRONG}, 422),
        ({"new_password": FIRST, "confirm_password": FIRST}, 422),
        ({"new_password": COMMON, "confirm_password": COMMON}, 422),
        ({"password": WRONG}, 422),
    ):
        await call("POST", "/users/me/password", status, json={**change, **wrong}, headers=bearer(access))
    await call("POST", "/users/me/password", 204, json=change, headers=bearer(access))
    await call("POST", "/users/me/delete", 403, json={"password": WRONG}, headers=bearer(access))
    await call("GET", "/admin/users", 200, headers={"X-API-Key": CONFIGURED_KEY})
    await call("GET", "/admin/users", 403, headers={"X-API-Key": f"{CONFIGURED_KEY}x"})
    await call("GET", "/admin/users", 401, headers=bearer(access))
    _, doomed = await session.tokens("/token", data={"username": "dora", "password": SECOND})
    await call("POST", "/token/revoke", 204, json={"refresh_token": doomed})
    await call("POST", "/token/refresh", 401, json={"refresh_token": doomed})
    await call("DELETE", f"/users/me/api-keys/{key_id}", 204, headers=bearer(access))
    await call("GET", "/tasks", 401, headers={"X-API-Key": key})
    _, key = await session.key(access, "tasks:read", "account")
    return access, second, key


@asynccontextmanager
async def without_tables(database: Database, *names: str) -> AsyncIterator[None]:
    """Hide tables, so that requests fail in a way that nobody has thought of."""
    for name in names:
        await execute(database, f"ALTER TABLE {name} RENAME TO {name}_hidden")
    try:
        yield
    finally:
        for name in names:
            await execute(database, f"ALTER TABLE {name}_hidden RENAME TO {name}")


async def unexpected_failures(session: Session, database: Database, access: str, refresh: str, key: str) -> None:
    """Make every request that carries a secret fail with 500, at a place where the secret is at hand."""
    change = {"current_password": SECOND, "new_password": FIRST, "confirm_password": FIRST}
    async with without_tables(database, "sessions"):
        await session.call("POST", "/token", 500, data={"username": "dora", "password": SECOND})
        await session.call("POST", "/token/refresh", 500, json={"refresh_token": refresh})
        await session.call("GET", "/users/me", 500, headers=bearer(access))
        await session.call("POST", "/users/me/password", 500, json=change, headers={"X-API-Key": key})
    async with without_tables(database, "api_keys"):
        await session.call("GET", "/users/me", 500, headers={"X-API-Key": key})
        body = {"name": "A key", "scopes": ["account"]}
        await session.call("POST", "/users/me/api-keys", 500, json=body, headers=bearer(access))
    async with without_tables(database, "projects"):
        account = {"username": "emil", "email": "emil@example.com", "password": FIRST}
        await session.call("POST", "/users", 500, json=account)


@asynccontextmanager
async def serving(database_url: str, folder: Path, **settings: str) -> AsyncIterator[LiveServer]:
    """Run the service as a process, whose whole output is kept."""
    server = LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET, **settings}, folder / "log")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def found(secrets: set[str], text: str) -> list[str]:
    """Return the secrets that a text holds."""
    return sorted(secret for secret in secrets if secret.lower() in text.lower())


@pytest.mark.parametrize("debug", ["false", "true"])
async def test_no_secret_leaves_by_log_answer_or_database(
    debug: str, database_url: str, database: Database, tmp_path: Path
) -> None:
    settings = {"API_KEY": CONFIGURED_KEY, "SECRET_KEY_PREVIOUS": PREVIOUS_SECRET, "DEBUG": debug}
    async with (
        serving(database_url, tmp_path, **settings) as server,
        httpx.AsyncClient(base_url=server.url, timeout=20, verify=False) as client,
    ):
        session = Session(client)
        session.secrets |= {SECRET, PREVIOUS_SECRET, CONFIGURED_KEY, FIRST, FIRST[:7], SECOND, WRONG}
        access, refresh, key = await typical_requests(session)
        rows = await dump(database)
        row = await fetch_one(database, "SELECT password_hash FROM users WHERE username = 'dora'")
        await unexpected_failures(session, database, access, refresh, key)
    log = server.log.read_text("utf-8")

    # What is searched has to be there: a line for each request, and the trace of each failure.
    assert log.count("/api/v1/") >= len(session.answers)
    failures = sum(answer.status_code == 500 for answer in session.answers)
    assert failures == 7
    assert log.count("unexpected error") == failures
    assert "Traceback" in log
    assert "dora@example.com" in rows
    assert len(session.secrets) > 20

    assert found(session.secrets, rows) == []
    hashed = {str(row["password_hash"])}
    for number, answer in enumerate(session.answers):
        if number not in session.issued:
            told = f"{answer.request.method} {answer.request.url.path}: {answer.text}"
            assert found(session.secrets | hashed, f"{answer.text}{answer.headers}") == [], told
    assert found(session.secrets | hashed, log) == []


async def test_answers_that_issue_a_secret_issue_no_other(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    async with (
        serving(database_url, tmp_path, API_KEY=CONFIGURED_KEY) as server,
        httpx.AsyncClient(base_url=server.url, verify=False) as client,
    ):
        session = Session(client)
        await typical_requests(session)
    standing = {SECRET, CONFIGURED_KEY, FIRST, SECOND, WRONG}
    for number in session.issued:
        assert found(standing, session.answers[number].text) == []
    assert len(session.issued) == 6


@pytest.mark.parametrize("readable", [False, True])
def test_a_logged_exception_shows_no_values(readable: bool) -> None:
    # The value comes from outside, so that no line of source shows it.
    script = """
import os, sys, structlog
from taskmanager.telemetry.logs import configure_logging

def check(password):
    raise ValueError("no good")

configure_logging(readable=sys.argv[1] == "True")
try:
    check(os.environ["GIVEN"])
except ValueError:
    structlog.stdlib.get_logger("test").exception("unexpected error", path="/x")
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(readable)],
        env={**os.environ, "GIVEN": FIRST},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "no good" in result.stdout
    assert "check" in result.stdout
    assert FIRST not in result.stdout + result.stderr
    if not readable:
        (line,) = result.stdout.splitlines()
        assert json.loads(line)["event"] == "unexpected error"

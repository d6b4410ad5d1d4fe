"""A key that ends makes no key that lasts longer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.credentials import API, bearer, new_key
from tests.support.rows import digests

KEYS = "/users/me/api-keys"
BODY: dict[str, Any] = {"name": "A key", "scopes": ["tasks:read"]}


async def test_a_key_makes_no_key_that_ends_later(alice: Person, client: httpx.AsyncClient, database: Database) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    key = await new_key(alice, "account", "tasks:read", expires_at=end.isoformat())
    before = await digests(database)
    for more in ({}, {"expires_at": None}, {"expires_at": (end + timedelta(microseconds=1)).isoformat()}):
        for headers in (key.in_header, key.as_bearer):
            answer = await client.post(API + KEYS, json={**BODY, **more}, headers=headers)
            assert answer.status_code == 422
            [error] = answer.json()["errors"]
            assert error["loc"] == ["body", "expires_at"]
            assert "log in" in error["msg"]
    assert await digests(database) == before
    for sooner in (end, end - timedelta(minutes=1)):
        body = {**BODY, "scopes": ["account"], "expires_at": sooner.isoformat()}
        answer = await client.post(API + KEYS, json=body, headers=key.in_header)
        assert answer.status_code == 201
    body = {"name": "x", "scopes": ["account"], "expires_at": end.isoformat()}
    assert (await client.post(API + KEYS, json=body, headers=bearer(answer.json()["key"]))).status_code == 422
    assert (await alice.post(KEYS, BODY)).json()["expires_at"] is None


async def test_a_key_without_an_end_and_a_login_make_any(alice: Person, client: httpx.AsyncClient) -> None:
    key = await new_key(alice, "account", "tasks:read")
    for headers in (key.in_header, bearer(alice.token)):
        for end in (None, "2099-01-01T00:00:00.000000Z"):
            answer = await client.post(API + KEYS, json={**BODY, "expires_at": end}, headers=headers)
            assert (answer.status_code, answer.json()["expires_at"]) == (201, end)

"""Users for tests: made in one request, logged in, for as long as the test wants."""

import asyncio
import time

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import SECRET


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_without_a_body_all_is_made_up(testing: httpx.AsyncClient) -> None:
    response = await testing.post("/testing/users")
    assert response.status_code == 201
    found = response.json()
    me = (await testing.get("/api/v1/users/me", headers=bearer(found["access_token"]))).json()
    assert me == found["user"]
    assert not me["is_admin"]
    assert me["email"] == f"{me['username']}@example.com"
    assert found["expires_in"] == 30 * 60
    other = (await testing.post("/testing/users", json={})).json()
    assert other["user"]["username"] != me["username"]


async def test_what_is_given_is_taken(testing: httpx.AsyncClient) -> None:
    body = {"username": "Alice", "email": "a@example.org", "password": "correct horse", "is_admin": True}
    found = (await testing.post("/testing/users", json=body)).json()
    assert {name: found["user"][name] for name in ("username", "email", "is_admin")} == {
        "username": "Alice",
        "email": "a@example.org",
        "is_admin": True,
    }
    assert found["password"] == "correct horse"


async def test_the_user_is_like_any_other(testing: httpx.AsyncClient) -> None:
    found = (await testing.post("/testing/users")).json()
    login = {"username": found["user"]["username"], "password": found["password"]}
    assert (await testing.post("/api/v1/token", data=login)).status_code == 200
    refreshed = await testing.post("/api/v1/token/refresh", json={"refresh_token": found["refresh_token"]})
    assert refreshed.status_code == 200
    assert len((await testing.get("/api/v1/projects", headers=bearer(found["access_token"]))).json()["projects"]) == 1
    registered = {"username": "bob", "email": "bob@example.com", "password": "correct horse"}
    assert (await testing.post("/api/v1/users", json=registered)).status_code == 201


async def test_a_token_of_one_second_ends_after_it(testing: httpx.AsyncClient) -> None:
    found = (await testing.post("/testing/users", json={"access_token_seconds": 1})).json()
    assert found["expires_in"] == 1
    deadline = time.monotonic() + 10
    while (await testing.get("/api/v1/users/me", headers=bearer(found["access_token"]))).status_code != 401:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    refreshed = (await testing.post("/api/v1/token/refresh", json={"refresh_token": found["refresh_token"]})).json()
    assert (await testing.get("/api/v1/users/me", headers=bearer(refreshed["access_token"]))).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"username": "a b"},
        {"username": None},
        {"email": "nowhere"},
        {"password": "short"},
        {"password": "password123"},
        {"access_token_seconds": 0},
        {"access_token_seconds": 86_401},
        {"access_token_seconds": None},
        {"role": "owner"},
    ],
)
async def test_values_that_no_user_may_have_are_refused(testing: httpx.AsyncClient, body: dict[str, object]) -> None:
    response = await testing.post("/testing/users", json=body)
    assert response.status_code == 422
    assert SECRET not in response.text


async def test_a_name_is_taken_once(testing: httpx.AsyncClient) -> None:
    assert (await testing.post("/testing/users", json={"username": "alice"})).status_code == 201
    again = await testing.post("/testing/users", json={"username": "ALICE", "email": "other@example.com"})
    assert (again.status_code, again.json()["field"]) == (409, "username")


async def test_only_here_hashes_are_cheap(app: FastAPI, ephemeral_app: FastAPI, costly_hashes: None) -> None:
    assert "m=19456,t=2" in await app.state.password_hasher.hash("correct horse")
    assert "m=8,t=1" in await ephemeral_app.state.password_hasher.hash("correct horse")

"""Logins and API keys for tests."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.conftest import PASSWORD, Person

API = "/api/v1"
ALL_BUT_ADMIN = ("tasks:read", "tasks:write", "projects:read", "projects:write", "account")


@dataclass(frozen=True)
class Key:
    """An API key that was just made."""

    id: int
    text: str

    @property
    def in_header(self) -> dict[str, str]:
        """The key in a header of its own."""
        return {"X-API-Key": self.text}

    @property
    def as_bearer(self) -> dict[str, str]:
        """The key in place of an access token."""
        return bearer(self.text)


@dataclass(frozen=True)
class Tokens:
    """What a login answers."""

    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        """The access token where it belongs."""
        return bearer(self.access)


def bearer(token: str) -> dict[str, str]:
    """Return the header of a token."""
    return {"Authorization": f"Bearer {token}"}


async def new_key(person: Person, *scopes: str, **values: Any) -> Key:
    """Make an API key."""
    body = {"name": "A key", "scopes": list(scopes), **values}
    answer = (await person.post("/users/me/api-keys", body)).json()
    return Key(answer["id"], answer["key"])


async def log_in(client: httpx.AsyncClient, username: str, password: str = PASSWORD) -> Tokens:
    """Log in over the API."""
    response = await client.post(f"{API}/token", data={"username": username, "password": password})
    assert response.status_code == 200, response.text
    return Tokens(response.json()["access_token"], response.json()["refresh_token"])


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """Exchange a refresh token."""
    return await client.post(f"{API}/token/refresh", json={"refresh_token": token})


async def status_of(client: httpx.AsyncClient, path: str, headers: dict[str, str], method: str = "GET") -> int:
    """Return the status that a path answers to a credential."""
    return (await client.request(method, f"{API}{path}", headers=headers)).status_code

"""What the tests of several files in tests/accounts share: refresh tokens."""

import re
from typing import Any

import httpx

from taskmanager.database.database import Database
from tests.support.credentials import API, Tokens, refresh
from tests.support.rows import fetch_one

OTHER_SECRET = "another secret for tests only, also of more than 32 bytes"


REVOKE = f"{API}/token/revoke"


async def rotated(client: httpx.AsyncClient, token: str) -> Tokens:
    """Refresh, which has to succeed, and return the new tokens."""
    answer = await refresh(client, token)
    assert answer.status_code == 200, answer.text
    return Tokens(answer.json()["access_token"], answer.json()["refresh_token"])


def session_id(token: str) -> int:
    """Return the login that a refresh token belongs to."""
    return int(token.split("_")[1])


async def stored(database: Database, token: str) -> dict[str, Any]:
    """Return the row of a token's login."""
    return await fetch_one(database, "SELECT * FROM sessions WHERE id = :id", id=session_id(token))


def assert_refused(answer: httpx.Response) -> None:
    """Check the one answer to every token that is not good."""
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["type"] == "/docs/problems#invalid-token"


def bent_tokens(token: str) -> list[str]:
    """Return a token, changed in every part."""
    family, generation, code = re.fullmatch(r"tmr_(\d+)_(\d+)_(.+)", token).groups()  # type: ignore[union-attr]
    other_end = chr(ord(code[-1]) + 1)
    return [
        "",
        "x",
        "tmr_",
        token[:-1],
        f"{token}A",
        f"{token}=",
        f"{token}\n",
        f" {token}",
        f"tmr_{family}_{int(generation) + 1}_{code}",
        f"tmr_{int(family) + 1}_{generation}_{code}",
        f"tmr_0{family}_{generation}_{code}",
        f"tmr_{family}_0{generation}_{code}",
        f"tmr_{family}_-{generation}_{code}",
        f"tmr_{family}_{generation}_{code[:-2]}AA",
        f"tmr_{family}_{generation}_{code[:-1]}{other_end}",
        f"tmr_{family}_{generation}_{code.swapcase()}",
        f"tmr_{2**63}_{generation}_{code}",
        f"tmr_{family}_{10**9}_{code}",
        f"tmr_{family}_{10**30}_{code}",
        f"tmr_٣_{generation}_{code}",
        f"tm_{family}_{code}",
        token.upper(),
        "😀" * 20,
    ]

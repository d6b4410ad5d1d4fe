"""What the tests of several files in tests/service share: credential rings."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from tests.conftest import Person
from tests.support.credentials import Key, Tokens, status_of

KINDS = ("this login", "another login", "key in its header", "key as bearer")


@dataclass
class Ring:
    """Every kind of credential of one person."""

    person: Person
    this: Tokens
    other: Tokens
    key: Key

    @property
    def headers(self) -> dict[str, dict[str, str]]:
        """The headers of each kind."""
        values = (self.this.headers, self.other.headers, self.key.in_header, self.key.as_bearer)
        return dict(zip(KINDS, values, strict=True))


async def answers(
    client: httpx.AsyncClient, ring: Ring, path: str = "/users/me", method: str = "GET"
) -> dict[str, int]:
    """Return the status of a request with each kind of credential."""
    return {kind: await status_of(client, path, headers, method) for kind, headers in ring.headers.items()}


def all_of(status: int) -> Mapping[str, int]:
    """Return the same status for every kind of credential."""
    return dict.fromkeys(KINDS, status)

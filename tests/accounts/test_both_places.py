"""One credential that is sent in both places."""

import httpx

from tests.conftest import Person
from tests.support.credentials import new_key, status_of


async def test_one_credential_in_both_places_is_one(client: httpx.AsyncClient, alice: Person) -> None:
    key = await new_key(alice, "tasks:read")
    for text in (alice.token, key.text):
        assert await status_of(client, "/tasks", {"X-API-Key": text, "Authorization": f"Bearer {text}"}) == 200
    assert await status_of(client, "/tasks", {"X-API-Key": alice.token}) == 401

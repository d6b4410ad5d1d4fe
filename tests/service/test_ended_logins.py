"""A login that has ended changes nothing, by whichever route, statement or key."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.commands.openapi import describe
from taskmanager.database.database import Database
from tests.conftest import Person, client_for
from tests.support.access_world import World, build_world
from tests.support.credentials import API
from tests.support.keyed_writes import KINDS, make_write
from tests.support.rows import digests, execute, wipe
from tests.support.valid_requests import BODIES, QUERIES, fill

ENDINGS = {
    "revoked": "UPDATE sessions SET revoked_at = now() WHERE user_id = :id",
    "disabled": "UPDATE users SET disabled = true WHERE id = :id",
}


def writes_with_login() -> Iterator[tuple[str, str]]:
    """Yield method and path of each route that writes for a caller."""
    for path, item in describe()["paths"].items():
        for method, operation in item.items():
            if method != "get" and operation.get("security") and "/admin/" not in path:
                yield method.upper(), path


@pytest.fixture(scope="module")
async def world(app: FastAPI) -> AsyncIterator[World]:
    """People and what they have."""
    built = await build_world(app)
    yield built
    await wipe(app.state.database)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("method", "path"), list(writes_with_login()))
async def test_no_route_writes_for_it(app: FastAPI, world: World, method: str, path: str, ending: str) -> None:
    database: Database = app.state.database
    await world.snapshot.restore(database)
    name = method, path.removeprefix(API)
    values: dict[str, Any] = {**world.ids, **world.own_ids["owner"], "newcomer": "stranger"}
    url = path.format_map(values) + QUERIES.get(name, "").format_map(values)
    body = fill(BODIES[name], values) if name in BODIES else None

    async def send(headers: dict[str, str]) -> httpx.Response:
        return await client_for(app).request(
            method, url, json=body, headers={**world.logins["owner"].headers, **headers}
        )

    await execute(database, ENDINGS[ending], id=world.ids["owner_id"])
    before = await digests(database)
    # What the compiled handlers leave to FastAPI is refused as well.
    for headers in ({}, {"Idempotency-Key": "a-key"}, {"Expect": "100-continue"}, {"If-Match": '"1"'}):
        answer = await send(headers)
        assert (answer.status_code, answer.json()["type"]) == (401, "/docs/problems#invalid-token"), headers
    assert await digests(database) == before
    await world.snapshot.restore(database)
    assert (await send({})).status_code in {200, 201, 202, 204, 409}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_key_is_stored_or_answered_for_it(
    alice: Person, bob: Person, database: Database, kind: str, ending: str
) -> None:
    write, other = await make_write(kind, alice, bob), await make_write(kind, alice, bob)
    await write.send(alice)
    await execute(database, ENDINGS[ending], id=alice.id)
    before = await digests(database)
    for one in (write, other):
        for key in ("a-key", "another-key", None):
            await one.send(alice, key, 401)
    assert await digests(database) == before

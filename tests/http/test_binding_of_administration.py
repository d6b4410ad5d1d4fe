"""The key of the settings is read alike, whether or not a compiled handler reads the request."""

import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from taskmanager.settings import Settings
from tests.support.access_world import World
from tests.support.administration import CONFIGURED
from tests.support.both_ways import ALL_ROUTES, Both, Clients, both_started, compared
from tests.support.credentials import API
from tests.support.unusual_requests import Pairs
from tests.support.valid_requests import BODIES

ROUTES = [(method, template) for method, template in ALL_ROUTES if template.startswith(f"{API}/admin")]
KEY = CONFIGURED.encode()
CREDENTIALS: list[Pairs] = [
    [(b"x-api-key", KEY)],
    [(b"authorization", b"Bearer " + KEY)],
    [(b"authorization", b"bearer " + KEY)],
    [(b"authorization", b"Bearer  " + KEY + b" ")],
    [(b"authorization", b"Bearer " + KEY), (b"x-api-key", b"")],
    [(b"authorization", b"Bearer nonsense"), (b"x-api-key", KEY)],
    [(b"authorization", b"Bearer " + KEY), (b"x-api-key", b"nonsense")],
    [(b"x-api-key", KEY), (b"x-api-key", KEY)],
    [(b"x-api-key", KEY[:-1])],
    [(b"authorization", b"Bearer " + KEY[:-1])],
    [(b"x-api-key", KEY + b"\xe9")],
]
MORE: list[Pairs] = [[], [(b"idempotency-key", b"a-key")], [(b"idempotency-key", b"")], [(b"if-match", b'"1"')]]


@pytest.fixture(scope="module")
async def configured(settings: Settings) -> AsyncIterator[Clients]:
    """Clients of applications with such a key, the second without compiled handlers."""
    async with both_started(settings, api_key=SecretStr(CONFIGURED)) as clients:
        yield clients


@pytest.mark.parametrize(("method", "template"), ROUTES)
async def test_the_key_of_the_settings(
    configured: Clients, app: FastAPI, world: World, method: str, template: str
) -> None:
    both = Both(configured, app.state.database, world)
    await both.restore()
    body = BODIES.get((method, template.removeprefix(API)))
    content = None if body is None else json.dumps(body).encode()
    typed: Pairs = [] if content is None else [(b"content-type", b"application/json")]
    async with compared(both):
        for credential in CREDENTIALS:
            for more in MORE:
                headers = [*credential, *more, *typed]
                if method == "GET":
                    await both.compare(both.path(template), headers)
                else:
                    await both.compare_write(method, both.path(template), headers, content)
    # No answer can be kept for a key that has no owner.
    assert both.statuses >= ({200, 401, 403} if method == "GET" else {200, 400, 401, 403})

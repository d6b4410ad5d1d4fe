"""Compiled handlers answer and write exactly as FastAPI does, for every route that writes and every unusual request."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.commands.openapi import describe
from taskmanager.idempotency.header import RequestIdentity
from taskmanager.settings import Settings
from tests.conftest import client_for
from tests.support.access_world import ACTORS, World
from tests.support.both_ways import ALL_ROUTES, Both, Clients, both_started, compared, compiled_routes
from tests.support.credentials import API
from tests.support.sessions import open_transaction
from tests.support.unusual_requests import CONTENT_TYPES, IDS, WRITE_HEADERS, WRITE_QUERIES, Pairs, bodies, pairs, share
from tests.support.valid_requests import BODIES, FORMS, QUERIES, fill

# Routes without a compiled handler, and why.
FASTAPI_S = {
    "they know no caller": {
        ("GET", "/"),
        ("GET", "/app"),
        ("GET", "/app/assets/{name}"),
        ("GET", "/docs"),
        ("GET", "/docs/assets/{name}"),
        ("GET", "/docs/problems"),
        ("GET", "/health"),
        ("GET", "/livez"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/readyz"),
        ("GET", "/redoc"),
    },
    "they have passwords in their bodies, and are limited by address": {
        ("POST", "/api/v1/token"),
        ("POST", "/api/v1/users"),
    },
    "it is a stream, which a ticket may open": {("GET", "/api/v1/events")},
    "they ask for the password, and wrong ones are counted": {
        ("POST", "/api/v1/users/me/delete"),
        ("POST", "/api/v1/users/me/password"),
    },
}
WRITES = [(method, path) for method, path in ALL_ROUTES if method != "GET"]
COMPILED = [route for route in WRITES if not any(route in routes for routes in FASTAPI_S.values())]


def routes_with(header: str) -> set[tuple[str, str]]:
    """Return the routes that read a header."""
    return {
        (method.upper(), path)
        for path, item in describe()["paths"].items()
        for method, operation in item.items()
        if any(parameter["name"] == header for parameter in operation.get("parameters", ()))
    }


WITH_IF_MATCH, WITH_KEY = routes_with("If-Match"), routes_with("Idempotency-Key")
KEYED = [route for route in COMPILED if route in WITH_KEY]
JSON = (b"content-type", b"application/json")


class Route:
    """A route that writes, and its valid request."""

    def __init__(self, both: Both, method: str, template: str) -> None:
        self.both, self.method, self.template = both, method, template
        self.name = method, template.removeprefix(API)
        self.number = WRITES.index((method, template))
        self.takes_body = self.name in BODIES
        self.url = both.path(template + QUERIES.get(self.name, ""))
        person, credential = both.entitled(template)
        self.caller_id = both.world.ids[f"{person}_id"]
        self.headers = list(credential)
        if "/token" in template or self.name == ("POST", "/users"):
            self.headers = []
        self.content = self.valid_body(both.ids)
        if self.name in FORMS:
            self.headers.append((b"content-type", b"application/x-www-form-urlencoded"))
        elif self.content is not None:
            self.headers.append(JSON)

    def valid_body(self, values: dict[str, Any]) -> bytes | None:
        """Return the body of the valid request."""
        if self.name in FORMS:
            return str(httpx.QueryParams(fill(FORMS[self.name], values))).encode()
        return json.dumps(fill(BODIES[self.name], values)).encode() if self.takes_body else None

    async def send(self, *more: tuple[bytes, bytes], **changes: Any) -> int:
        """Compare the valid request, or one with changes."""
        given = {"url": self.url, "headers": self.headers, "content": self.content, **changes}
        return await self.both.compare_write(self.method, given["url"], [*given["headers"], *more], given["content"])

    @property
    def bare(self) -> Pairs:
        """The headers without the type of the body."""
        return [(name, value) for name, value in self.headers if name != b"content-type"]


@pytest.fixture
async def route(both: Both, method: str, template: str) -> Route:
    """A route, on the rows that all tests of this module begin with."""
    await both.restore()
    return Route(both, method, template)


async def test_the_routes_that_are_compiled_are_exactly_these(app: FastAPI, ordinary: httpx.AsyncClient) -> None:
    await client_for(app).get("/livez")
    found = set(compiled_routes(app))
    kept = {route for routes in FASTAPI_S.values() for route in routes}
    assert {route for route in ALL_ROUTES if route not in found} == kept
    transport: Any = ordinary._transport
    await ordinary.get("/livez")
    assert not set(compiled_routes(transport.app))


@pytest.mark.parametrize(("method", "template"), WRITES)
async def test_valid(route: Route) -> None:
    status = await route.send()
    # Nobody may leave projects without an owner by deleting their account.
    assert status < 300 or route.name == ("POST", "/users/me/delete")


@pytest.mark.parametrize(("method", "template"), COMPILED)
class TestBothWays:
    """The same answer and the same effect, whichever reads the request."""

    async def test_bodies(self, route: Route) -> None:
        seen = set()
        for content in bodies(route.content):
            seen.add(await route.send(content=content))
        if route.takes_body:
            assert 422 in seen

    async def test_content_types(self, route: Route) -> None:
        for content in (route.content, b""):
            for types in share(CONTENT_TYPES, route.number):
                await route.send(*types, headers=route.bare, content=content)

    async def test_headers(self, route: Route) -> None:
        for headers in share(WRITE_HEADERS, route.number):
            await route.send(*headers)

    async def test_chunks(self, route: Route) -> None:
        content = route.content or b"{}"
        for parts in (
            [content],
            [content[:1], content[1:]],
            [b"", content, b""],
            [content, b"x"],
            [],
            [b" " * 2**20] * 2,
        ):
            await route.send(content=parts)

    async def test_too_large(self, route: Route) -> None:
        await route.send(content=b" " * (2**20 + 1))
        await route.send(headers=route.bare, content=b" " * (2**20 + 1))
        await route.send(headers=[JSON], content=b" " * (2**20 + 1))

    async def test_queries(self, route: Route) -> None:
        for query in WRITE_QUERIES:
            await route.send(url=f"{route.url}{'&' if '?' in route.url else '?'}{query}")

    async def test_ids(self, route: Route) -> None:
        named = {part[1:-1] for part in route.template.split("/") if part.startswith("{")}
        for name in named:
            for number in IDS:
                await route.send(url=route.both.path(route.template, {name: number}))
        for prefix in ("foreign", "side", "archived", "removed", "owner"):
            other = {
                name: route.both.world.ids[f"{prefix}_{name}"]
                for name in ("project_id", "task_id", "comment_id", "section_id")
                if f"{prefix}_{name}" in route.both.world.ids
            }
            url = route.both.path(route.template + QUERIES.get(route.name, ""), other)
            await route.send(url=url, content=route.valid_body({**route.both.ids, **other}))

    async def test_actors(self, route: Route) -> None:
        for actor in ACTORS:
            credential = pairs(route.both.world.headers_of(actor))
            own = route.both.world.own_ids[actor.person or "owner"]
            typed = [header for header in route.headers if header[0] == b"content-type"]
            url = route.both.path(route.template + QUERIES.get(route.name, ""), own)
            await route.send(headers=[*credential, *typed], url=url)
            await route.send(headers=credential, url=f"{url}{'&' if '?' in url else '?'}unknown=1", content=b"{")


@pytest.mark.parametrize(("method", "template"), COMPILED)
async def test_preconditions(route: Route) -> None:
    takes = (route.method, route.template) in WITH_IF_MATCH
    given = (
        *(
            (b"*", 200),
            (b'"77"', 412),
            (b"no quotes", 400),
            (b'W/"77"', 412),
            (b'"1-x"', 412),
            (b'"77", "1", "2"', 200),
        ),
        *((b'W/"1", W/"2"', 200), (b'"1-gzip", "2-gzip"', 200), (b'W/"1--br", W/"2;gz"', 200)),
    )
    for tags, status in given if takes else share(given, route.number):
        found = await route.send((b"if-match", tags))
        assert not takes or found == status or found < 300 > status
        await route.send((b"if-match", tags), (b"if-match", b'"1"'))


@pytest.mark.parametrize(("method", "template"), KEYED)
async def test_keys(route: Route) -> None:
    for key, good in (
        (b"a-key", True),
        (b'"a key"', True),
        (b"a b", False),
        (b"", False),
        (b"\xff", False),
        (b'"', False),
    ):
        status = await route.send((b"idempotency-key", key))
        assert status < 300 if good else status == 400, (key, status)
        await route.send((b"idempotency-key", key), (b"idempotency-key", key))
    identity = RequestIdentity(route.caller_id, route.method, route.url.partition("?")[0], "runs", b"")
    async with open_transaction(route.both.database) as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": identity.lock_id})
        assert await route.send((b"idempotency-key", b"runs")) == 409


@pytest.fixture(scope="module")
async def demanding(settings: Settings) -> AsyncIterator[Clients]:
    """Clients of applications, the second without compiled handlers, that demand an If-Match."""
    async with both_started(settings, require_if_match=True) as clients:
        yield clients


@pytest.mark.parametrize(("method", "template"), COMPILED)
async def test_demanded_preconditions(
    demanding: Clients, app: FastAPI, world: World, method: str, template: str
) -> None:
    both = Both(demanding, app.state.database, world)
    await both.restore()
    async with compared(both):
        route = Route(both, method, template)
        expected = 428 if (method, template) in WITH_IF_MATCH or route.name == ("PATCH", "/tasks/bulk") else 0
        assert await route.send() == expected or not expected
        await route.send((b"if-match", b"*"))

"""Compiled handlers answer exactly as FastAPI does, for every GET route and every unusual request."""

import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.http.binding import BoundRoute
from taskmanager.http.dispatch import RouteTable
from taskmanager.http.front import Front
from taskmanager.main import create_app
from tests.conftest import client_for
from tests.support.access_world import ACTORS, World, build_world
from tests.support.applications import started
from tests.support.rows import execute, wipe
from tests.support.unusual_requests import HEADERS, IDS, QUERIES, Pairs, credentials, pairs

# GET routes that have no compiled handler: they know no caller, or one of another kind.
FASTAPI_S = {
    "/",
    "/api/v1/admin/users",
    "/docs",
    "/docs/assets/{name}",
    "/health",
    "/livez",
    "/metrics",
    "/openapi.json",
    "/readyz",
    "/redoc",
}
COMPILED = {
    "/api/v1/notifications",
    "/api/v1/projects",
    "/api/v1/projects/{project_id}",
    "/api/v1/projects/{project_id}/activity",
    "/api/v1/projects/{project_id}/members",
    "/api/v1/projects/{project_id}/members/{user_id}",
    "/api/v1/projects/{project_id}/tasks",
    "/api/v1/projects/{project_id}/tasks/{task_id}",
    "/api/v1/tasks",
    "/api/v1/tasks/{task_id}",
    "/api/v1/tasks/{task_id}/activity",
    "/api/v1/tasks/{task_id}/comments",
    "/api/v1/tasks/{task_id}/comments/{comment_id}",
    "/api/v1/users/me",
    "/api/v1/users/me/api-keys",
    "/api/v1/users/me/sessions",
}
# What it does not answer the same way twice.
_VARYING = {"/metrics"}
ROUTES = sorted(COMPILED | FASTAPI_S - _VARYING)
_OWN_HEADERS = {b"x-process-time", b"server-timing"}


@pytest.fixture(scope="module")
async def world(app: FastAPI) -> AsyncIterator[World]:
    """People and what they have, in the database for the whole module, with a login that was revoked."""
    built = await build_world(app)
    database = app.state.database
    await built.snapshot.restore(database)
    await execute(
        database,
        "UPDATE sessions SET revoked_at = now() WHERE id = :id",
        id=built.own_ids["partner"]["session_id"],
    )
    yield built
    await wipe(database)


class Both:
    """An application with compiled handlers and one without, on the same database."""

    def __init__(self, compiled: httpx.AsyncClient, ordinary: httpx.AsyncClient, world: World) -> None:
        self.clients = compiled, ordinary
        for client in self.clients:
            client.event_hooks = {}  # a body that is too long is no documented answer of a GET
        self.world = world
        self.statuses = set[int]()
        self.differences: list[Any] = []

    async def compare(self, path: str, headers: Pairs, method: str = "GET") -> None:
        """Ask both the same; what differs is remembered."""
        answers = []
        for client in self.clients:
            given = [(b"x-request-id", b"the-same"), *headers]
            answers.append(await client.request(method, path, headers=given))
        short, ordinary = (
            (
                answer.status_code,
                sorted((name.lower(), value) for name, value in answer.headers.raw if name not in _OWN_HEADERS),
                answer.content,
            )
            for answer in answers
        )
        self.statuses.add(answers[0].status_code)
        if short != ordinary:
            self.differences.append((method, path, [(name, value[:12], value[-6:]) for name, value in headers]))
            self.differences += [part for part in zip(short, ordinary, strict=True) if part[0] != part[1]]

    def path(self, template: str) -> str:
        """Return a route's path to what the owner may see."""
        return template.format_map({**self.world.ids, "name": "favicon.svg"})

    @property
    def owner(self) -> Pairs:
        """The owner's login."""
        return pairs(self.world.logins["owner"].headers)


@pytest.fixture(scope="module")
async def ordinary(database_url: str, settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application without compiled handlers, and without shared statements."""
    async with started(create_app(settings.model_copy(update={"share_statements": False}))) as client:
        yield client


@pytest.fixture
async def both(app: FastAPI, ordinary: httpx.AsyncClient, world: World) -> AsyncIterator[Both]:
    """Both applications; whatever they answered differently fails the test."""
    both = Both(client_for(app), ordinary, world)
    yield both
    assert both.differences == []


def handlers(app: FastAPI) -> dict[str, BoundRoute | None]:
    """Return the compiled handler of each GET route, by its path."""
    front = next(layer for layer in _layers(app.middleware_stack) if isinstance(layer, Front))
    return {endpoint.template: front.bound.get(endpoint) for method, endpoint in front.table if method == "GET"}


def _layers(layer: Any) -> Iterable[Any]:
    while layer is not None:
        yield layer
        layer = getattr(layer, "app", None)


async def test_the_routes_that_are_compiled_are_exactly_these(app: FastAPI, ordinary: httpx.AsyncClient) -> None:
    await client_for(app).get("/livez")
    found = handlers(app)
    assert {path for path, handler in found.items() if handler is not None} == COMPILED
    assert {path for path, handler in found.items() if handler is None} == FASTAPI_S
    transport: Any = ordinary._transport
    await ordinary.get("/livez")
    assert set(handlers(transport.app).values()) == {None}


async def test_the_table_knows_every_get_route(app: FastAPI) -> None:
    assert {endpoint.template for method, endpoint in RouteTable(app) if method == "GET"} == COMPILED | FASTAPI_S


TASK_LISTS = ("/api/v1/tasks", "/api/v1/projects/{project_id}/tasks")
PAGES = (
    *("/api/v1/projects", "/api/v1/notifications", "/api/v1/tasks/{task_id}/comments"),
    *("/api/v1/tasks/{task_id}/activity", "/api/v1/projects/{project_id}/activity", *TASK_LISTS),
)
SINGLE = [
    *((template, name, value) for template in PAGES for name, value in (("limit", "1"), ("cursor", "x"))),
    *(
        (template, name, value)
        for template in TASK_LISTS
        for name, value in (
            *(("skip", "0"), ("sort_by", "title"), ("order", "asc"), ("count", "none"), ("search", "a")),
            *(("overdue", "true"), ("due_after", "2030-01-01T00:00:00Z"), ("due_before", "2030-01-01T00:00:00Z")),
        )
    ),
    ("/api/v1/notifications", "unread", "true"),
]


class TestRepeatedParameters:
    """A query parameter that has a single value may be given once."""

    @pytest.mark.parametrize(("template", "name", "value"), SINGLE)
    async def test_one_with_a_single_value_is_refused(self, both: Both, template: str, name: str, value: str) -> None:
        path = both.path(template)
        for query in (f"{name}={value}&{name}={value}", f"{name}={value}&tag=x&{name}=", f"{name}&{name}&{name}"):
            if "tag" in query and template not in TASK_LISTS:
                continue
            answer = await both.clients[0].get(f"{path}?{query}", headers=both.owner)
            assert answer.status_code == 422, query
            assert [(error["loc"], error["type"]) for error in answer.json()["errors"]] == [
                (["query", name], "repeated")
            ]
            await both.compare(f"{path}?{query}", both.owner)

    async def test_all_that_are_repeated_are_named(self, both: Both) -> None:
        query = "skip=0&limit=1&tag=a&skip=0&tag=b&limit=1&sort_by=title"
        for client in both.clients:
            answer = await client.get(f"/api/v1/tasks?{query}", headers=both.owner)
            assert answer.status_code == 422
            assert [error["loc"] for error in answer.json()["errors"]] == [["query", "limit"], ["query", "skip"]]

    @pytest.mark.parametrize("template", TASK_LISTS)
    async def test_a_list_may_be_repeated(self, both: Both, template: str) -> None:
        filters = ["status=pending&status=completed", "priority=1&priority=1", "tag=a&tag=b", "assignee=me&assignee=1"]
        if template == "/api/v1/tasks":
            filters.append("project_id=1&project_id=1")
        for query in (*filters, "&".join(filters)):
            await both.compare(f"{both.path(template)}?{query}", both.owner)
        assert both.statuses == {200}


@pytest.mark.parametrize("template", ROUTES)
class TestBothWays:
    """The same answer, byte for byte, whoever reads the request."""

    async def test_headers(self, both: Both, template: str) -> None:
        for headers in HEADERS:
            for method in ("GET", "HEAD"):
                await both.compare(both.path(template), [*both.owner, *headers], method)
        assert 200 in both.statuses or template.startswith("/api/v1/admin")

    async def test_queries(self, both: Both, template: str) -> None:
        for query in QUERIES:
            await both.compare(f"{both.path(template)}?{query}", both.owner)
        await both.compare(f"{both.path(template)}?limit=1", both.owner, "HEAD")

    async def test_pages(self, both: Both, template: str) -> None:
        path = f"{both.path(template)}?limit=1"
        for _ in range(3):
            answer = await both.clients[0].get(path, headers=both.owner)
            await both.compare(path, both.owner)
            if (link := answer.headers.get("link")) is None:
                break
            path = link.partition("<")[2].partition(">")[0]

    async def test_ids(self, both: Both, template: str) -> None:
        for name in re.findall(r"{(\w+)}", template):
            for number in IDS:
                await both.compare(both.path(template.replace(f"{{{name}}}", number)), both.owner)
            for prefix in ("foreign", "side", "archived", "removed", "owner"):
                if (other := both.world.ids.get(f"{prefix}_{name}")) is not None:
                    await both.compare(both.path(template.replace(f"{{{name}}}", str(other))), both.owner)
        for path in (f"{both.path(template)}/", f"/{both.path(template)}", both.path(template).upper()):
            await both.compare(path, both.owner)

    async def test_actors(self, both: Both, template: str) -> None:
        for actor in ACTORS:
            for query in ("", "?limit=1", "?unknown=1", "?limit=x"):
                await both.compare(both.path(template) + query, pairs(both.world.headers_of(actor)))
        # The last ones found nothing there.
        await both.compare(both.path(re.sub(r"{\w+}", "999999", template)), [])

    async def test_credentials(self, both: Both, template: str) -> None:
        for headers in credentials(both.world):
            for query in ("", "?unknown=1"):
                await both.compare(both.path(template) + query, headers)

"""Compiled handlers answer exactly as FastAPI does, for every GET route and every unusual request."""

import re

import pytest

from tests.support.access_world import ACTORS
from tests.support.both_ways import ALL_ROUTES, Both
from tests.support.credentials import API
from tests.support.unusual_requests import HEADERS, IDS, QUERIES, Pairs, credentials, pairs, share
from tests.support.valid_requests import QUERIES as VALID

# What is not the same each time.
_VARYING = {"/metrics"}
ROUTES = sorted(path for method, path in ALL_ROUTES if method == "GET" and path not in _VARYING)

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
        filters = ["include=people&include=counts", "include=counts&include=counts&include="]
        filters += ["status=pending&status=completed", "priority=1&priority=1", "tag=a&tag=b", "assignee=me&assignee=1"]
        if template == "/api/v1/tasks":
            filters.append("project_id=1&project_id=1")
        for query in (*filters, "&".join(filters)):
            await both.compare(f"{both.path(template)}?{query}", both.owner)
        assert both.statuses == {200}


@pytest.fixture
def credential(both: Both, template: str) -> Pairs:
    """The headers of one who may use the route."""
    return both.entitled(template)[1]


@pytest.mark.parametrize("template", ROUTES)
class TestBothWays:
    """The same answer, byte for byte, whoever reads the request."""

    async def test_headers(self, both: Both, template: str, credential: Pairs) -> None:
        path = both.path(template + VALID.get(("GET", template.removeprefix(API)), ""))
        for headers in HEADERS:
            for method in ("GET", "HEAD"):
                await both.compare(path, [*credential, *headers], method)
        assert 200 in both.statuses

    async def test_queries(self, both: Both, template: str, credential: Pairs) -> None:
        for query in QUERIES:
            await both.compare(f"{both.path(template)}?{query}", credential)
        await both.compare(f"{both.path(template)}?limit=1", credential, "HEAD")

    async def test_pages(self, both: Both, template: str, credential: Pairs) -> None:
        path = f"{both.path(template)}?limit=1"
        for _ in range(3):
            answer = await both.clients[0].get(path, headers=credential)
            await both.compare(path, credential)
            if (link := answer.headers.get("link")) is None:
                break
            path = link.partition("<")[2].partition(">")[0]

    async def test_ids(self, both: Both, template: str, credential: Pairs) -> None:
        for name in re.findall(r"{(\w+)}", template):
            for number in IDS:
                await both.compare(both.path(template.replace(f"{{{name}}}", number)), credential)
            for prefix in ("foreign", "side", "archived", "removed", "owner"):
                if (other := both.world.ids.get(f"{prefix}_{name}")) is not None:
                    await both.compare(both.path(template.replace(f"{{{name}}}", str(other))), credential)
        for path in (f"{both.path(template)}/", f"/{both.path(template)}", both.path(template).upper()):
            await both.compare(path, credential)

    async def test_actors(self, both: Both, template: str) -> None:
        for actor in ACTORS:
            for query in ("", "?limit=1", "?unknown=1", "?limit=x"):
                await both.compare(both.path(template) + query, pairs(both.world.headers_of(actor)))
        # The last ones found nothing there.
        await both.compare(both.path(re.sub(r"{\w+}", "999999", template)), [])

    async def test_credentials(self, both: Both, template: str) -> None:
        for headers in share(list(credentials(both.world)), ROUTES.index(template)):
            for query in ("", "?unknown=1"):
                await both.compare(both.path(template) + query, headers)

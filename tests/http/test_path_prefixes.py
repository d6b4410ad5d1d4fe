"""Links that hold below a prefix which a proxy strips."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from pydantic import ValidationError

from taskmanager.http.client_addresses import ClientAddresses
from taskmanager.http.path_prefixes import PathPrefixes
from taskmanager.main import create_app
from tests.conftest import Person, make_settings
from tests.support.applications import started

TOKEN_URL = "/api/v1/token"


def scope(peer: str | None, *prefixes: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-prefix", prefix.encode("latin-1")) for prefix in prefixes]
    return {"client": None if peer is None else (peer, 1), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "given", "prefix"),
    [
        ("10.0.0.5", ("/tasks",), "/tasks"),
        ("10.0.0.5", ("/tasks/",), "/tasks"),
        ("10.0.0.5", (" /a/b-c.d_e~f ",), "/a/b-c.d_e~f"),
        ("10.0.0.5", (), "/root"),
        ("10.0.0.5", ("",), "/root"),
        ("10.0.0.5", ("/a", "/b"), "/root"),
        ("203.0.113.1", ("/tasks",), "/root"),
        (None, ("/tasks",), "/root"),
        # Nothing that leads to another host, up, or out of the header.
        *(
            ("10.0.0.5", (value,), "/root")
            for value in (
                *(
                    "/",
                    "//evil.example",
                    "/a//b",
                    "https://evil.example",
                    "evil",
                    "/..",
                    "/a/../b",
                    "/.",
                    "/a?b",
                    "/a#b",
                ),
                *("/a b", "/a,/b", "/a>; rel=x", "/a\\b", "/%2e", "/ä", "/a\n", "/" + "a" * 200),
            )
        ),
    ],
)
def test_only_a_trusted_proxy_names_a_prefix(peer: str | None, given: tuple[str, ...], prefix: str) -> None:
    assert PathPrefixes("/root", ClientAddresses(["10.0.0.0/8"])).find(scope(peer, *given)) == prefix


def test_a_proxy_on_a_unix_socket_may_be_trusted() -> None:
    assert PathPrefixes("", ClientAddresses(["unix"])).find(scope(None, "/tasks")) == "/tasks"


@pytest.mark.parametrize(("value", "prefix"), [("", None), ("/", None), ("/tasks", "/tasks"), ("/a/b/", "/a/b")])
def test_the_setting_is_a_path(value: str, prefix: str | None) -> None:
    assert make_settings(root_path=value).root_path == prefix


@pytest.mark.parametrize(
    "value", ["tasks", "//tasks", "/a b", "https://example.com/tasks", "/..", "/a/./b", "/tasks?x"]
)
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        make_settings(root_path=value)


class Below:
    """A client below a prefix, with a proxy in between that strips it."""

    def __init__(self, client: httpx.AsyncClient, prefix: str, headers: dict[str, str]) -> None:
        self._client, self.prefix, self._headers = client, prefix, headers

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        assert url.startswith(f"{self.prefix}/"), url
        headers = {**self._headers, **options.pop("headers", {})}
        return await self._client.request(method, url.removeprefix(self.prefix), headers=headers, **options)


@asynccontextmanager
async def below(database_url: str, person: Person, how: str) -> AsyncIterator[Below]:
    """Run the application below /here, and yield a client of it."""
    values = {"root_path": "/here"} if how == "ROOT_PATH" else {"trusted_proxies": "127.0.0.1"}
    app = create_app(make_settings(database_url=database_url, **values))
    async with started(app) as client:
        headers = {"Authorization": f"Bearer {person.token}"}
        if how != "ROOT_PATH":
            headers["X-Forwarded-Prefix"] = "/here"
        yield Below(client, "/here", headers)


@pytest.fixture(params=["ROOT_PATH", "X-Forwarded-Prefix"])
async def way(request: pytest.FixtureRequest, database_url: str, alice: Person) -> AsyncIterator[Below]:
    """A client below a prefix."""
    async with below(database_url, alice, request.param) as client:
        yield client


async def test_what_was_made_is_found_by_its_location(way: Below, alice: Person) -> None:
    for path, body in (
        ("/tasks", {"title": "A task"}),
        (f"/projects/{alice.inbox_id}/tasks", {"title": "A task"}),
        ("/projects", {"name": "A project"}),
    ):
        url = f"/here/api/v1{path}"
        # By a compiled handler, then by FastAPI, which reads what a signature does not name; and what was kept of each.
        for number, unusual in enumerate(({}, {"If-None-Match": '"1"'})):
            headers = {"Idempotency-Key": f"{path}-{number}", **unusual}
            made, again = [await way.request("POST", url, json=body, headers=headers) for _ in range(2)]
            assert (made.status_code, again.status_code) == (201, 201)
            assert again.headers["Idempotency-Replayed"] == "true"
            assert made.headers["Location"] == again.headers["Location"]
            assert made.headers["Location"].startswith("/here/api/v1/")
            found = await way.request("GET", urljoin(url, made.headers["Location"]))
            assert (found.status_code, found.json()) == (200, made.json())


async def test_the_next_page_is_found_by_its_link(way: Below, alice: Person) -> None:
    for number in range(3):
        await alice.new_task(title=f"Number {number}")
    url = "/here/api/v1/tasks?limit=1&sort_by=title&order=asc"
    found = []
    while True:
        page = await way.request("GET", url)
        found += [task["title"] for task in page.json()["tasks"]]
        if "Link" not in page.headers:
            break
        target = page.headers["Link"].partition(">")[0].removeprefix("<")
        assert target.startswith("?")
        url = urljoin(url, target)
    assert found == ["Number 0", "Number 1", "Number 2"]


async def test_the_description_names_the_prefix(way: Below, client: httpx.AsyncClient) -> None:
    described = (await way.request("GET", "/here/openapi.json")).json()
    assert described["servers"] == [{"url": "/here"}]
    flow = described["components"]["securitySchemes"]["Login"]["flows"]["password"]
    assert flow["tokenUrl"] == f"/here{TOKEN_URL}"
    plain = (await client.get("/openapi.json")).json()
    assert plain["servers"] == [{"url": "/"}]
    assert plain["components"]["securitySchemes"]["Login"]["flows"]["password"]["tokenUrl"] == TOKEN_URL
    assert described["paths"] == plain["paths"]


async def test_a_client_that_names_a_prefix_itself_is_not_believed(alice: Person) -> None:
    headers = {"X-Forwarded-Prefix": "/evil"}
    made = await alice.post("/tasks", {"title": "A task"}, headers=headers)
    assert made.headers["Location"] == f"/api/v1/tasks/{made.json()['id']}"
    assert (await alice.client.get("/openapi.json", headers=headers)).json()["servers"] == [{"url": "/"}]

"""nginx that compresses and strips a prefix: what it rewrites is recognised, and links lead back through it."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urljoin

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import SECRET, Person
from tests.support.live_server import LiveServer
from tests.support.nginx import BELOW_PREFIX, nginx

GZIP = "gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;"


@pytest.fixture(scope="module")
def strict_server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A service that demands If-Match and trusts the proxy."""
    settings = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET, "REQUIRE_IF_MATCH": "true"}
    log = tmp_path_factory.mktemp("strict") / "log"
    server = LiveServer({**settings, "TRUSTED_PROXIES": "127.0.0.1"}, log)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def front(strict_server: LiveServer) -> Iterator[str]:
    """The address of an nginx that compresses and strips a prefix, with that prefix."""
    with nginx(strict_server.port, *BELOW_PREFIX, more=GZIP) as url:
        yield f"{url}/tasks"


@pytest.fixture
async def client(front: str, alice: Person, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Alice, below the prefix."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {alice.token}"}, timeout=30) as client:
        yield client


async def test_what_was_read_compressed_can_be_written_and_known(front: str, client: httpx.AsyncClient) -> None:
    made = await client.post(f"{front}/api/v1/tasks", json={"title": "x" * 200})
    url = urljoin(str(made.url), made.headers["Location"])
    read = await client.get(url)
    assert (read.status_code, read.json(), read.headers["Content-Encoding"]) == (200, made.json(), "gzip")
    tag = read.headers["ETag"]
    assert tag == 'W/"1"'
    assert (await client.get(url, headers={"If-None-Match": tag})).status_code == 304
    # As Apache would have it.
    assert (await client.get(url, headers={"If-None-Match": '"1-gzip"'})).status_code == 304
    assert (await client.patch(url, json={"priority": 2})).status_code == 428
    changed = await client.patch(url, json={"priority": 2}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    stale = await client.patch(url, json={"priority": 3}, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["changed_fields"]) == (412, ["priority"])
    assert (await client.delete(url, headers={"If-Match": '"2-gzip"'})).status_code == 204


async def test_links_lead_on_below_the_prefix(front: str, client: httpx.AsyncClient) -> None:
    project = await client.post(f"{front}/api/v1/projects", json={"name": "A project"})
    project_url = urljoin(str(project.url), project.headers["Location"])
    for number in range(3):
        key = {"Idempotency-Key": f"number-{number}"}
        for _ in range(2):
            made = await client.post(f"{project_url}/tasks", json={"title": f"Number {number}"}, headers=key)
            found = await client.get(urljoin(str(made.url), made.headers["Location"]))
            assert (found.status_code, found.json()) == (200, made.json())
    url: str | None = f"{project_url}/tasks?limit=1&sort_by=title&order=asc"
    titles = []
    while url is not None:
        page = await client.get(url)
        titles += [task["title"] for task in page.json()["tasks"]]
        link = page.links.get("next")
        url = None if link is None else urljoin(url, link["url"])
    assert titles == ["Number 0", "Number 1", "Number 2"]


async def test_the_description_leads_to_the_service(front: str, client: httpx.AsyncClient) -> None:
    described = await client.get(f"{front}/openapi.json")
    (server,) = described.json()["servers"]
    assert (await client.get(f"{urljoin(front, server['url'])}/api/v1/users/me")).status_code == 200
    page = await client.get(f"{front}/docs")
    assert page.status_code == 200
    assert (await client.get(urljoin(f"{front}/docs", "docs/assets/pages.css"))).status_code == 200
    for path in ("/metrics", "/readyz"):
        assert (await client.get(front + path)).status_code == 404
        assert (await client.get(front.removesuffix("/tasks") + path)).status_code == 404

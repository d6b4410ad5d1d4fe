"""The interactive documentation: complete, self-contained, and under a strict policy."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from unittest.mock import Mock
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.documentation.pages import MEDIA_TYPES, add_documentation
from taskmanager.http.client_addresses import ClientAddresses
from taskmanager.http.path_prefixes import PathPrefixes

PAGES = ["/docs", "/redoc"]
ASSETS = files("taskmanager.documentation").joinpath("assets")


class PageParser(HTMLParser):
    """Collects what a page loads, and whatever runs or styles inline."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self.title = ""
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.loaded += [value or "" for name, value in attrs if name == "src" or (tag == "link" and name == "href")]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "title":
            self.title += data
        if self._open in {"script", "style"}:
            self.inline.append(data)


def policy_of(response: httpx.Response) -> dict[str, list[str]]:
    directives = (part.split() for part in response.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in directives}


@pytest.mark.parametrize("path", PAGES)
async def test_page_is_html_under_a_strict_policy(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers.get_list("cache-control") == ["no-cache"]
    assert len(response.headers.get_list("content-security-policy")) == 1
    policy = policy_of(response)
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == ["'self'"]
    assert policy["connect-src"] == ["'self'"]
    assert policy["img-src"] == ["'self'", "data:"]
    assert policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["form-action"] == ["'self'"]
    assert policy["style-src"][0] == "'self'"
    assert "unsafe" not in response.headers["content-security-policy"]


async def test_redoc_may_add_two_known_style_elements_and_a_worker(client: httpx.AsyncClient) -> None:
    assert policy_of(await client.get("/docs"))["style-src"] == ["'self'"]
    policy = policy_of(await client.get("/redoc"))
    empty = b64encode(sha256(b"").digest()).decode()
    assert policy["style-src"][:2] == ["'self'", f"'sha256-{empty}'"]
    assert len(policy["style-src"]) == 3
    assert policy["style-src"][2].startswith("'sha256-")
    assert policy["worker-src"] == ["blob:"]


@pytest.mark.parametrize("path", PAGES)
async def test_page_loads_only_files_that_are_there(client: httpx.AsyncClient, path: str) -> None:
    page = PageParser((await client.get(path)).text)
    assert not page.inline
    assert len(page.loaded) >= 4
    for reference in page.loaded:
        url = urljoin(path, reference)
        assert url.startswith("/docs/assets/")
        response = await client.get(url)
        name = url.rpartition("/")[2].partition("?")[0]
        expected = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
        assert response.status_code == 200, url
        assert response.headers["content-type"] == expected[name.rpartition(".")[2]]
        assert response.headers["cache-control"] == "public, max-age=86400"
        assert response.content == ASSETS.joinpath(name).read_bytes()


@pytest.mark.parametrize("path", [*PAGES, "/docs/assets/swagger-init.js", "/docs/assets/redoc-init.js"])
async def test_what_we_wrote_names_no_other_host(client: httpx.AsyncClient, path: str) -> None:
    text = (await client.get(path)).text
    assert not re.search(r"https?://|[\"'(]//", text)


async def test_vendored_files_fetch_nothing_from_outside(client: httpx.AsyncClient) -> None:
    for name in ("swagger-ui-bundle.js", "redoc.standalone.js", "swagger-ui.css"):
        text = (await client.get(f"/docs/assets/{name}")).text
        assert not re.search(r"sourceMappingURL=[\w.-]+\.map", text), name
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//", text), name
        assert not re.search(r"src:\"(?:https?:)?//", text), name
    assert "validatorUrl: null" in (await client.get("/docs/assets/swagger-init.js")).text


@pytest.mark.parametrize("name", sorted(MEDIA_TYPES))
async def test_asset_is_sent_again_only_when_it_changed(client: httpx.AsyncClient, name: str) -> None:
    first = await client.get(f"/docs/assets/{name}")
    etag = first.headers["etag"]
    for sent in (etag, f"W/{etag}", f'"other", {etag}'):
        again = await client.get(f"/docs/assets/{name}", headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert again.headers["cache-control"] == "public, max-age=86400"
    assert (await client.get(f"/docs/assets/{name}", headers={"If-None-Match": '"other"'})).content == first.content


@pytest.mark.parametrize(
    "path",
    [
        "/docs/assets/",
        "/docs/assets/missing.js",
        "/docs/assets/VERSIONS.md",
        "/docs/assets/../pages.py",
        "/docs/assets/..%2Fpages.py",
        "/docs/assets/%2e%2e%2fpages.py",
        "/docs/assets/..%5Cpages.py",
        "/docs/assets/%2Fetc%2Fpasswd",
        "/docs/assets/pages.css%00",
        "/docs/",
        "/redoc/",
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    # As raw bytes: the client would resolve the dots itself.
    url = httpx.URL("http://test").copy_with(raw_path=path.encode())
    assert (await client.get(url)).status_code == 404


@pytest.mark.parametrize("path", [*PAGES, "/docs/assets/pages.css"])
async def test_documentation_takes_only_get_and_head(client: httpx.AsyncClient, path: str) -> None:
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == (await client.get(path)).headers["content-type"]
    assert (await client.post(path)).status_code == 405


async def test_documentation_is_not_part_of_the_schema(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path.startswith(("/docs", "/redoc"))]


async def test_the_schema_is_written_once_for_each_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI(title="An API", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.path_prefixes = PathPrefixes("", ClientAddresses(["127.0.0.1"]))
    add_documentation(app)
    describe = Mock(wraps=app.openapi)
    monkeypatch.setattr(app, "openapi", describe)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        for prefixes in (["", "/one", "/other"], ["", "/one", "/other"]):
            for prefix in prefixes:
                answer = await client.get("/openapi.json", headers={"X-Forwarded-Prefix": prefix} if prefix else {})
                assert answer.headers["content-type"] == "application/json"
                assert [server["url"] for server in answer.json().get("servers", [])] == ([prefix] if prefix else [])
    assert describe.call_count == 3


async def test_pages_work_below_a_prefix_and_escape_the_title() -> None:
    app = FastAPI(title="</title><script>alert('1')</script> & co", docs_url=None, redoc_url=None)
    add_documentation(app)
    transport = httpx.ASGITransport(app=app, root_path="/prefix")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/prefix/docs", "/prefix/redoc"):
            page = PageParser((await client.get(path)).text)
            assert page.title.startswith(app.title)
            assert not page.inline
            for reference in page.loaded:
                assert (await client.get(urljoin(path, reference))).status_code == 200


def test_vendored_files_are_shipped_as_recorded() -> None:
    table = ASSETS.joinpath("VERSIONS.md").read_text(encoding="utf-8")
    recorded = re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", table, re.MULTILINE)
    assert len(recorded) == 9
    for name, digest in recorded:
        assert sha256(ASSETS.joinpath(name).read_bytes()).hexdigest() == digest, name
    own = {"favicon.svg", "pages.css", "redoc-init.js", "swagger-init.js"}
    vendored = {name for name, _ in recorded}
    assert vendored | own | {"VERSIONS.md"} == {entry.name for entry in ASSETS.iterdir()}
    assert set(MEDIA_TYPES) <= vendored | own

"""The page at /app: complete, self-contained, under a strict policy, and gone where it is turned off."""

import gzip
import re
from importlib.resources import files
from urllib.parse import urljoin

import httpx
import pytest

from taskmanager.main import create_app
from tests.conftest import client_for, make_settings

ASSETS = files("taskmanager.webapp").joinpath("assets")
MEDIA_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
FIRST_LOAD_BYTES = 100_000


def loaded(page: str) -> list[str]:
    """Return the addresses that a page loads."""
    return re.findall(r'(?:src|href)="([^"]+)"', page)


async def test_page_is_html_under_a_strict_policy(client: httpx.AsyncClient) -> None:
    response = await client.get("/app")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers.get_list("cache-control") == ["no-cache"]
    (policy,) = response.headers.get_list("content-security-policy")
    rules = {name: sources for name, *sources in (part.split() for part in policy.split(";"))}
    for name in ("script-src", "style-src", "connect-src", "img-src", "form-action"):
        assert rules.pop(name) == ["'self'"]
    assert set(rules) == {"default-src", "base-uri", "frame-ancestors"}
    assert all(sources == ["'none'"] for sources in rules.values())
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=", response.text)


async def test_page_loads_three_files_of_its_own_and_they_are_small(client: httpx.AsyncClient) -> None:
    response = await client.get("/app")
    addresses = loaded(response.text)
    assert len(addresses) == 3
    size = len(gzip.compress(response.content))
    for address in addresses:
        url = urljoin("/app", address)
        assert re.fullmatch(r"/app/assets/[\w.-]+\?v=[0-9a-f]{8}", url)
        file = await client.get(url)
        name = url.rpartition("/")[2].partition("?")[0]
        assert file.status_code == 200
        assert file.headers["content-type"] == MEDIA_TYPES[name.rpartition(".")[2]]
        assert file.headers["cache-control"] == "public, max-age=86400"
        assert file.content == ASSETS.joinpath(name).read_bytes()
        again = await client.get(url, headers={"If-None-Match": file.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        size += len(gzip.compress(file.content))
    assert size <= FIRST_LOAD_BYTES
    assert {entry.name for entry in ASSETS.iterdir()} == {"LICENSES.txt", "board-style.css", "board.js", "favicon.svg"}


async def test_page_names_no_other_host(client: httpx.AsyncClient) -> None:
    # Names of XML, which nobody asks for.
    names = "http://www.w3.org/"
    for address in ["", *loaded((await client.get("/app")).text)]:
        text = (await client.get(urljoin("/app", address))).text
        assert not [url for url in re.findall(r"https?://[^\"'`\s)]*", text) if not url.startswith(names)], address


@pytest.mark.parametrize(
    "path",
    [
        "/app/",
        "/app/assets/",
        "/app/assets/missing.js",
        "/app/assets/../pages.py",
        "/app/assets/..%2Fpages.py",
        "/app/x",
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    # As raw bytes: the client would resolve the dots itself.
    url = httpx.URL("http://test").copy_with(raw_path=path.encode())
    assert (await client.get(url)).status_code == 404


@pytest.mark.parametrize("path", ["/app", "/app/assets/board.js"])
async def test_page_takes_only_get_and_head(client: httpx.AsyncClient, path: str) -> None:
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert (await client.post(path)).status_code == 405


async def test_page_is_not_part_of_the_schema(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path.startswith("/app")]


@pytest.mark.parametrize("path", ["/app", "/app/assets/board.js"])
async def test_page_is_turned_off_by_a_setting(database_url: str, path: str) -> None:
    app = create_app(make_settings(database_url=database_url, web_app=False))
    async with client_for(app) as client:
        assert (await client.get(path)).status_code == 404
        assert (await client.get("/docs")).status_code == 200

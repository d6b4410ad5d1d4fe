"""The pages of docs/stream.md in a real browser, through a restart of the service and a sleep: `make browser-test`."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.tabs import Tab
from tests.conftest import Person
from tests.support.live_server import LiveServer
from tests.support.nginx import nginx

# One of ALLOWED_ORIGINS; the page itself comes from the test.
ORIGIN = "http://localhost:3000"
_DOCUMENT = (Path(__file__).parents[2] / "docs/stream.md").read_text()


def written_page(name: str, url: str, token: str) -> str:
    """Return a page of the document with its two lines filled in."""
    found = re.search(rf"<!-- {name} -->\n```html\n(.*?)```", _DOCUMENT, re.DOTALL)
    assert found is not None
    page = found[1]
    for before, after in (('"http://127.0.0.1:8000/api/v1"', f'"{url}/api/v1"'), ('"..."', f'"{token}"')):
        assert page.count(before) == 1
        page = page.replace(before, after)
    return page


async def open_page(page: Page, name: str, url: str, person: Person) -> None:
    """Open a page of the document."""
    body = written_page(name, url, person.token)
    await page.route(f"{ORIGIN}/", lambda route: route.fulfill(body=body, content_type="text/html"))
    await page.goto(f"{ORIGIN}/")
    await expect(page.get_by_text("ready").first).to_be_visible()


async def heard(page: Page) -> list[str]:
    """Return the tasks of which the page has heard."""
    lines = await page.locator("#heard li").all_inner_texts()
    return [line.partition(" ")[2] for line in lines if line.startswith("task.")]


@pytest.fixture(params=["directly", "through nginx"])
async def address(server: LiveServer, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Where the browser finds the service."""
    if request.param == "directly":
        yield server.url
    else:
        with nginx(server.port) as url:
            yield url


@pytest.mark.parametrize("name", ["fetch", "eventsource"])
async def test_a_page_hears_everything_once(
    tab: Tab, server: LiveServer, address: str, alice: Person, name: str
) -> None:
    page = tab.page
    await open_page(page, name, address, alice)
    await alice.new_task(title="First")
    await expect(page.get_by_text("First")).to_be_visible()
    await asyncio.to_thread(server.stop)
    await alice.new_task(title="Missed")
    await asyncio.to_thread(server.start)
    await alice.new_task(title="Last")
    await expect(page.get_by_text("Last")).to_be_visible()
    await asyncio.to_thread(server.kill)
    await alice.new_task(title="Killed")
    await asyncio.to_thread(server.start)
    await expect(page.get_by_text("Killed")).to_be_visible()
    assert await heard(page) == ["First", "Missed", "Last", "Killed"]


@pytest.mark.parametrize("name", ["fetch", "eventsource"])
async def test_a_page_that_slept_hears_what_it_missed(tab: Tab, server: LiveServer, alice: Person, name: str) -> None:
    page = tab.page
    await open_page(page, name, server.url, alice)
    devtools = await page.context.new_cdp_session(page)
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    await devtools.send("Network.enable")
    await devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    await devtools.send("Network.emulateNetworkConditions", offline)
    await alice.new_task(title="Slept through")
    await devtools.send("Network.emulateNetworkConditions", {**offline, "offline": False, "downloadThroughput": -1})
    await devtools.send("Page.setWebLifecycleState", {"state": "active"})
    await alice.new_task(title="Awake")
    await expect(page.get_by_text("Awake")).to_be_visible()
    assert await heard(page) == ["Slept through", "Awake"]

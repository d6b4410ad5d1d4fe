"""A tab for every test of pages, and a server whose streams last."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from taskmanager.database.database import Database
from tests.browser.tabs import Tab, chromium, open_tab
from tests.conftest import SECRET
from tests.support.live_server import LiveServer

expect.set_options(timeout=30_000)
_LASTING = {"taskmanager.stream.feed.LONGEST_SECONDS": 3_600.0}


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    """A tab of a browser without any history."""
    async with chromium() as browser:
        yield await open_tab(browser, viewport={"width": 1280, "height": 1600})


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser that knows this machine by a name for which pages are no secure context."""
    async with chromium("--host-resolver-rules=MAP tasks.lan 127.0.0.1") as started:
        yield started


@pytest.fixture
def url(server: LiveServer) -> str:
    """The address of the service as in a network without certificates."""
    return f"http://tasks.lan:{server.port}"


@pytest.fixture
def server(database: Database, database_url: str, tmp_path: Path) -> Iterator[LiveServer]:
    """A process of its own, whose streams last; it ends before the rows of the test are deleted."""
    server = LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET}, tmp_path / "log", constants=_LASTING)
    server.start()
    yield server
    server.kill()

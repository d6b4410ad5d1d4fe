"""A tab for every test of pages."""

from collections.abc import AsyncIterator

import pytest

from tests.browser.tabs import Tab, chromium, open_tab


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    """A tab of a browser without any history."""
    async with chromium() as browser:
        yield await open_tab(browser, viewport={"width": 1280, "height": 1600})

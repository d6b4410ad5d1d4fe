"""Tabs of a real browser, and what the pages in them asked for and complained about."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, async_playwright

PICTURES = Path(__file__).parents[2] / ".screenshots"
NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", event =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Tab:
    """A page, and what it asked for and complained about."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    async def assert_content(self, url: str) -> None:
        """Check that it needed no other host and broke no rule of its policy."""
        assert self.hosts == {urlsplit(url).netloc}
        assert self.complaints == []
        assert await self.page.evaluate("window.violations") == []


@asynccontextmanager
async def chromium(*options: str) -> AsyncIterator[Browser]:
    """Yield the Chromium of this machine; CHROMIUM names another binary."""
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert binary, "Chromium is not installed: apt-get install chromium"
    async with async_playwright() as playwright:
        # As root, in a container, Chromium cannot set up its sandbox.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        # A page that a test has written comes from no address, and would have to ask before it calls this machine.
        local = "--disable-features=LocalNetworkAccessChecks"
        browser = await playwright.chromium.launch(executable_path=binary, args=[*sandbox, local, *options])
        yield browser
        await browser.close()


async def open_tab(browser: Browser, **options: Any) -> Tab:
    """Open a tab without any history; `options` are those of a browser's context."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    tab = Tab(page)
    await page.add_init_script(NOTE_VIOLATIONS)
    page.on(
        "request", lambda request: tab.hosts.add(urlsplit(request.url).netloc) if request.url[:4] == "http" else None
    )
    page.on("console", lambda line: tab.complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    return tab


async def keep(page: Page, name: str) -> None:
    """Keep a picture of the page."""
    PICTURES.mkdir(exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png")

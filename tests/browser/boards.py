"""What tests of the page at /app have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.tabs import Tab, open_tab
from tests.conftest import PASSWORD, Person

AXE = Path(__file__).parents[2] / "clients" / "board" / "node_modules" / "axe-core" / "axe.min.js"


async def log_in(page: Page, url: str, username: str, fragment: str = "") -> None:
    """Log a person in on the page, and wait for what the fragment names."""
    await page.goto(f"{url}/app{fragment}")
    await page.get_by_label("User name").fill(username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("main#page")).to_be_visible()


async def open_board(browser: Browser, url: str, person: Person, project_id: int) -> Tab:
    """Open a board as somebody."""
    tab = await open_tab(browser, viewport={"width": 1440, "height": 900})
    async with tab.page.expect_response(lambda response: "/api/v1/events" in response.url):
        await log_in(tab.page, url, person.username, f"#/p/{project_id}")
    await expect(tab.page.locator(".board .column").first).to_be_visible()
    return tab


async def make_project(owner: Person, *titles: str, **fields: Any) -> int:
    """Make a project with these tasks, and return its id."""
    project = (await owner.post("/projects", {"name": "Website", **fields})).json()
    for title in titles:
        await owner.post(f"/projects/{project['id']}/tasks", {"title": title})
    return int(project["id"])


def column(page: Page, name: str) -> Locator:
    """Return a column of the board."""
    return page.locator(".column").filter(has=page.get_by_role("heading", name=name, exact=True))


def card(page: Page, title: str) -> Locator:
    """Return a card of the board."""
    return page.locator("[data-card]").filter(has_text=title)


async def titles(page: Page, name: str) -> list[str]:
    """Return the titles of a column's cards, in order."""
    found: list[str] = await column(page, name).locator(".card-title").all_inner_texts()
    return found


async def violations(page: Page) -> list[Mapping[str, Any]]:
    """Return what axe finds on the page, by the rules of WCAG 2.2 AA and its best practices."""
    await page.evaluate(AXE.read_text())
    found: list[Mapping[str, Any]] = await page.evaluate(
        "async () => (await axe.run(document)).violations.map(v => ({id: v.id, nodes: v.nodes.map(n => n.html + ' ' +"
        " n.failureSummary)}))"
    )
    return found

"""The documentation pages in a real browser: `make browser-test`.

It needs Chromium and nginx: `apt-get install chromium nginx-light`; CHROMIUM names another binary. The pages are
kept as pictures in `.screenshots`.
"""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.browser.tabs import Tab, keep
from tests.conftest import PASSWORD, Person
from tests.support.live_server import LiveServer
from tests.support.nginx import BELOW_PREFIX, nginx
from tests.support.sessions import open_session

# Redoc takes seconds to draw its page, many on a busy machine.


@pytest.fixture(params=["", "/tasks"], ids=["at the root", "below a prefix"])
def url(live_server: LiveServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the browser finds the service, which does not know of the prefix that nginx strips."""
    if not request.param:
        yield live_server.url
    else:
        with nginx(live_server.port, *BELOW_PREFIX) as front:
            yield front + request.param


async def test_a_task_is_made_on_the_page(tab: Tab, url: str, alice: Person, database: Database) -> None:
    page = tab.page
    response = await page.goto(f"{url}/docs")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    await expect(page.locator(".opblock")).not_to_have_count(0)

    await page.locator(".auth-wrapper .btn.authorize").click()
    form = page.locator(".auth-container", has_text="OAuth2, password")
    await form.locator("#oauth_username").fill("alice")
    await form.locator("#oauth_password").fill(PASSWORD)
    await keep(page, "docs-authorize")
    await form.locator("button.authorize").click()
    await expect(form.get_by_text("Logout")).to_be_visible()
    await page.locator(".auth-container .btn-done").first.click()

    operation = page.locator("#operations-tasks-createTask")
    await operation.locator(".opblock-summary").click()
    await operation.locator("textarea.body-param__text").fill('{"title": "Made in a browser", "priority": 3}')
    await operation.locator("button.execute").click()
    await expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("201")
    await expect(operation.locator(".live-responses-table")).to_contain_text("Made in a browser")
    await operation.scroll_into_view_if_needed()
    await keep(page, "docs-task")

    async with open_session(database) as reader:
        rows = (await reader.execute(text("SELECT project_id, title, priority FROM tasks"))).all()
    assert [tuple(row) for row in rows] == [(alice.inbox_id, "Made in a browser", 3)]
    await tab.assert_content(url)


async def test_a_wrong_password_is_told(tab: Tab, live_server: LiveServer, alice: Person) -> None:
    page = tab.page
    await page.goto(f"{live_server.url}/docs")
    await page.locator(".auth-wrapper .btn.authorize").click()
    form = page.locator(".auth-container", has_text="OAuth2, password")
    await form.locator("#oauth_username").fill("alice")
    await form.locator("#oauth_password").fill("not her password")
    await form.locator("button.authorize").click()
    await expect(form.locator(".errors")).to_be_visible()
    await keep(page, "docs-wrong-password")
    # The browser itself notes the 401.
    assert len(tab.complaints) == 1
    assert "401" in tab.complaints[0]


async def test_the_reference_is_shown(tab: Tab, url: str) -> None:
    await tab.page.goto(f"{url}/redoc")
    await expect(tab.page.get_by_role("heading", name="Task Manager API")).to_be_visible()
    await expect(tab.page.locator("[role=search] input")).to_be_visible()
    await tab.page.locator("[role=search] input").fill("comment")
    await expect(tab.page.locator("[data-role='search:results'] [role=menuitem]").first).to_be_visible()
    await keep(tab.page, "redoc")
    await tab.assert_content(url)

"""The page at /app without a network, and at the end of a login."""

from playwright.async_api import Browser, expect

from tests.browser.boards import card, column, log_in, make_project, open_board
from tests.conftest import Person
from tests.support.live_server import LiveServer


async def test_what_was_loaded_is_read_without_a_network(
    browser: Browser, url: str, server: LiveServer, alice: Person
) -> None:
    project_id = await make_project(alice, "Sketch")
    page = (await open_board(browser, url, alice, project_id)).page
    await expect(card(page, "Sketch")).to_be_visible()
    await page.context.set_offline(True)
    server.kill()
    await expect(page.get_by_text("You are offline.")).to_be_visible()
    await page.get_by_role("link", name="My tasks").click()
    await page.get_by_role("link", name="Website").click()
    await card(page, "Sketch").click()
    await expect(page.get_by_label("Title")).to_have_value("Sketch")
    server.start()
    await page.context.set_offline(False)
    await expect(page.get_by_text("You are offline.")).to_be_hidden()
    # And from the copy that was stored, as after a restart of the browser, while the server does not answer the API.
    await page.route("**/api/v1/**", lambda route: route.abort())
    await page.reload()
    await expect(page.get_by_label("Title")).to_have_value("Sketch")


async def test_a_login_that_has_ended(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice, "Sketch")
    page = (await open_board(browser, url, alice, project_id)).page
    for login in (await alice.get("/users/me/sessions")).json()["sessions"]:
        if not login["current"]:
            await alice.request("DELETE", f"/users/me/sessions/{login['id']}", 204)
    await column(page, "To do").get_by_role("button", name="Add task").click()
    await page.get_by_label("Title of a new task in To do").fill("Write")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Your login has ended.")).to_be_visible()
    await log_in(page, url, alice.username, f"#/p/{project_id}")
    await expect(card(page, "Sketch")).to_be_visible()


async def test_logging_out_leaves_nothing_in_the_browser(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice, "Sketch")
    page = (await open_board(browser, url, alice, project_id)).page
    await expect(card(page, "Sketch")).to_be_visible()
    names = "indexedDB.databases().then(all => all.map(({name}) => name))"
    copy = f"task-manager / {alice.id}"
    assert copy in await page.evaluate(names)
    await page.get_by_role("link", name=alice.username).click()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert copy not in await page.evaluate(names)
    assert alice.username not in await page.evaluate("JSON.stringify(localStorage)")
    assert "eyJ" not in await page.evaluate("JSON.stringify(localStorage)")
    await log_in(page, url, alice.username, f"#/p/{project_id}")
    await expect(card(page, "Sketch")).to_be_visible()

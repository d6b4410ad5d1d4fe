"""The page at /app without a network, and at the end of a login."""

from playwright.async_api import Browser, expect

from tests.browser.boards import card, column, log_in, make_project, open_board
from tests.conftest import PASSWORD, Person
from tests.support.live_server import LiveServer

PROBLEM = "application/problem+json"
REFUSAL = '{"type": "/docs/problems#invalid", "code": "invalid", "title": "x", "status": 422, "detail": "Not now."}'


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
    await column(page, "To do").get_by_role("button", name="Add task").click()
    await page.get_by_label("Title of a new task in To do").fill("Write")
    for login in (await alice.get("/users/me/sessions")).json()["sessions"]:
        if not login["current"]:
            await alice.request("DELETE", f"/users/me/sessions/{login['id']}", 204)
    # If the page has not noticed it by itself, it does now.
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


async def test_another_person_of_the_browser_sees_nothing_of_the_one_before(
    browser: Browser, url: str, alice: Person, bob: Person
) -> None:
    project_id = await make_project(alice, "Sketch")
    page = (await open_board(browser, url, alice, project_id)).page
    await expect(card(page, "Sketch")).to_be_visible()
    for login in (await alice.get("/users/me/sessions")).json()["sessions"]:
        if not login["current"]:
            await alice.request("DELETE", f"/users/me/sessions/{login['id']}", 204)
    await expect(page.get_by_text("Your login has ended.")).to_be_visible()
    await page.route("**/api/v1/users/me", lambda route: route.fulfill(status=503))
    await page.get_by_label("User name").fill(bob.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_timeout(6_000)  # longer than the page waits where it knows who it was
    await expect(card(page, "Sketch")).to_have_count(0)
    await expect(page.get_by_role("link", name=alice.username)).to_have_count(0)
    await page.unroute("**/api/v1/users/me")
    await expect(page.get_by_role("link", name=bob.username)).to_be_visible()


async def test_what_was_typed_stays_when_it_cannot_be_saved(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice, "Sketch")
    page = (await open_board(browser, url, alice, project_id)).page
    await card(page, "Sketch").click()
    await page.route("**/api/v1/tasks/*", lambda route: route.fulfill(status=422, content_type=PROBLEM, body=REFUSAL))
    await page.get_by_label("Description").fill("As long as it took to write it")
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Not now.")).to_be_visible()
    await expect(page.get_by_label("Description")).to_have_value("As long as it took to write it")
    await page.unroute("**/api/v1/tasks/*")
    await page.get_by_label("Description").focus()
    async with page.expect_response(lambda response: response.request.method == "PATCH" and response.ok):
        await page.keyboard.press("Tab")
    (task,) = (await alice.get(f"/projects/{project_id}/tasks")).json()["tasks"]
    assert (task["description"], task["version"]) == ("As long as it took to write it", 2)


async def test_changes_in_one_breath_do_not_contradict_each_other(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice, "Sketch")
    page = (await open_board(browser, url, alice, project_id)).page
    await card(page, "Sketch").click()
    await page.get_by_label("Title").fill("Sketch it")
    await page.keyboard.press("Enter")
    tags = page.get_by_role("textbox", name="Tags")
    for tag in ("one", "two", "three"):
        await tags.fill(tag)
        await tags.press("Enter")
    for tag in ("one", "two", "three"):
        await expect(page.get_by_role("button", name=f"Remove the tag {tag}")).to_be_visible()
    await expect(page.get_by_text("Somebody else changed this too")).to_have_count(0)
    (task,) = (await alice.get(f"/projects/{project_id}/tasks")).json()["tasks"]
    assert (task["title"], sorted(task["tags"]), task["version"]) == ("Sketch it", ["one", "three", "two"], 5)

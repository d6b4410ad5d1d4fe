"""The page at /app in a real browser, used by two people at once: `make browser-test`.

It needs Chromium (`apt-get install chromium`) and `npm ci` in clients/board. Pictures are kept in `.screenshots`.
"""

import asyncio
import time

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.boards import card, column, log_in, make_project, open_board, titles, violations
from tests.browser.tabs import keep, open_tab
from tests.conftest import Person
from tests.support.live_server import LiveServer


async def drag(page: Page, title: str, target: str) -> None:
    """Drag a card by mouse to the top of a column."""
    await card(page, title).hover()
    await page.mouse.down()
    box = await column(page, target).locator(".cards").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + 4
    await page.mouse.move(x - 20, y + 30, steps=4)
    await page.mouse.move(x, y, steps=4)
    await expect(column(page, target).locator(".drop-line")).to_be_visible()
    await page.mouse.up()


async def test_somebody_registers_and_makes_a_first_task(browser: Browser, url: str) -> None:
    tab = await open_tab(browser, viewport={"width": 1280, "height": 800})
    page = tab.page
    await page.goto(f"{url}/app")
    assert await page.evaluate("isSecureContext") is False
    await page.get_by_role("button", name="Create an account").click()
    await page.get_by_label("User name").fill("newcomer")
    await page.get_by_label("E-mail").fill("newcomer@example.com")
    await page.get_by_label("Password").fill("a few good words")
    await page.get_by_role("button", name="Create account").click()
    await page.get_by_label("New task in your Inbox").fill("Try the board")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name="Try the board")).to_be_visible()
    await page.get_by_role("button", name="New project").click()
    await page.get_by_label("Name", exact=True).fill("Garden")
    await page.get_by_role("button", name="Create project").click()
    await expect(page.get_by_role("heading", name="Garden")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("n")
    await page.get_by_label("Title").fill("Prune the apple tree")
    await page.get_by_label("Priority").last.select_option("4")
    await page.get_by_role("button", name="Create task").click()
    await expect(column(page, "To do").locator(".card-title")).to_have_text(["Prune the apple tree"])
    await tab.assert_content(url)


async def test_two_people_see_each_other_s_moves(
    browser: Browser, url: str, server: LiveServer, alice: Person, bob: Person
) -> None:
    project_id = await make_project(alice, "Sketch", "Write", "Launch")
    await alice.post(f"/projects/{project_id}/members", {"username": bob.username, "role": "editor"})
    mine, theirs = [await open_board(browser, url, person, project_id) for person in (alice, bob)]
    await expect(card(theirs.page, "Sketch")).to_be_visible()

    await drag(mine.page, "Write", "In progress")
    moved_at = time.monotonic()
    await expect(column(theirs.page, "In progress").locator(".card-title")).to_have_text(["Write"])
    seconds = time.monotonic() - moved_at
    print(f"seen by the other after {seconds:.2f} s")
    assert seconds < 1
    assert await titles(mine.page, "In progress") == ["Write"]
    await expect(mine.page).to_have_url(f"{url}/app#/p/{project_id}")  # the drop opened no card

    server.kill()
    await asyncio.sleep(1)
    server.start()
    await drag(theirs.page, "Launch", "In progress")
    await expect(column(mine.page, "In progress").locator(".card-title")).to_have_text(["Launch", "Write"])
    found = (await alice.get(f"/projects/{project_id}/tasks?sort_by=position&status=in_progress")).json()
    assert [task["title"] for task in found["tasks"]] == ["Launch", "Write"]
    await keep(mine.page, "app-board")


async def test_cards_are_moved_by_keyboard(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice, "First", "Second", "Third")
    page = (await open_board(browser, url, alice, project_id)).page
    await card(page, "First").focus()
    await page.keyboard.press("Space")
    await expect(page.locator("[role=log]")).to_contain_text("Picked up First")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("[role=log]")).to_contain_text("To do, place 3 of 3")
    await page.keyboard.press("Space")
    await expect(column(page, "To do").locator(".card-title")).to_have_text(["Second", "Third", "First"])
    await expect(card(page, "First")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(card(page, "Third")).to_be_focused()
    await page.keyboard.press("Space")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    await expect(column(page, "In progress").locator(".card-title")).to_have_text(["Third"])
    await page.keyboard.press("Space")
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Escape")
    await expect(column(page, "In progress").locator(".card-title")).to_have_text(["Third"])


async def test_cards_are_moved_by_touch(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice, "First", "Second")
    tab = await open_tab(browser, viewport={"width": 1000, "height": 800}, has_touch=True)
    page = tab.page
    await log_in(page, url, alice.username, f"#/p/{project_id}")
    source = await card(page, "First").bounding_box()
    target = await column(page, "In progress").locator(".cards").bounding_box()
    assert source is not None
    assert target is not None
    touch = await page.context.new_cdp_session(page)

    async def send(kind: str, *points: tuple[float, float]) -> None:
        spots = [{"x": x, "y": y} for x, y in points]
        await touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    x, y = source["x"] + 40, source["y"] + 15
    await send("touchStart", (x, y))
    await expect(page.locator(".ghost-card")).to_be_visible()
    for step in range(1, 9):
        await send("touchMove", (x + (target["x"] + 60 - x) * step / 8, y + (target["y"] + 8 - y) * step / 8))
    await expect(column(page, "In progress").locator(".drop-line")).to_be_visible()
    async with page.expect_response(lambda response: response.url.endswith("/move") and response.ok):
        await send("touchEnd")
    await expect(column(page, "In progress").locator(".card-title")).to_have_text(["First"])
    assert (await alice.get(f"/projects/{project_id}/tasks?status=in_progress")).json()["total"] == 1


async def test_columns_of_a_project_s_own(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice, "Sketch")
    page = (await open_board(browser, url, alice, project_id)).page
    for name in ("Ideas", "Doing"):
        await page.get_by_role("button", name="Add column").first.click()
        await page.get_by_label("Name").fill(name)
        await page.locator("dialog").get_by_role("button", name="Add column").click()
        await expect(column(page, name)).to_be_visible()
    await drag(page, "Sketch", "Doing")
    await expect(column(page, "Doing").locator(".card-title")).to_have_text(["Sketch"])
    await page.get_by_role("button", name="Column Doing").click()
    await page.get_by_role("menuitem", name="Move left").click()
    await expect(page.locator(".column-head h2")).to_have_text(["Doing", "Ideas"])
    await page.get_by_role("button", name="Column Doing").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await page.get_by_role("button", name="Delete column").click()
    await expect(column(page, "No section").locator(".card-title")).to_have_text(["Sketch"])


async def test_a_conflict_is_shown_and_resolved(browser: Browser, url: str, alice: Person, bob: Person) -> None:
    project_id = await make_project(alice, "Sketch")
    await alice.post(f"/projects/{project_id}/members", {"username": bob.username, "role": "editor"})
    page = (await open_board(browser, url, alice, project_id)).page
    await card(page, "Sketch").click()
    title = page.get_by_label("Title")
    await title.fill("Sketch the start page")
    task = (await bob.get(f"/projects/{project_id}/tasks")).json()["tasks"][0]
    await bob.request("PATCH", f"/tasks/{task['id']}", 200, json={"title": "Draw the start page"})
    await page.get_by_label("Description").focus()
    conflict = page.get_by_role("dialog", name="Somebody else changed this too")
    await expect(conflict).to_contain_text("Sketch the start page")
    await expect(conflict).to_contain_text("Draw the start page")
    await keep(page, "app-conflict")
    assert await violations(page) == []
    await conflict.get_by_role("button", name="Save mine").click()
    await expect(title).to_have_value("Sketch the start page")
    # Two who change different fields are no conflict.
    await page.get_by_label("Description").fill("In pencil")
    await bob.request("PATCH", f"/tasks/{task['id']}", 200, json={"priority": 5})
    await title.focus()
    await expect(page.get_by_label("Priority")).to_have_value("5")
    await expect(page.get_by_label("Description")).to_have_value("In pencil")
    found = (await alice.get(f"/tasks/{task['id']}")).json()
    assert (found["title"], found["description"], found["priority"]) == ("Sketch the start page", "In pencil", 5)


async def test_comments_and_activity(browser: Browser, url: str, alice: Person, bob: Person) -> None:
    project_id = await make_project(alice, "Sketch")
    await alice.post(f"/projects/{project_id}/members", {"username": bob.username, "role": "editor"})
    mine, theirs = [await open_board(browser, url, person, project_id) for person in (alice, bob)]
    for tab in (mine, theirs):
        await card(tab.page, "Sketch").click()
    await mine.page.get_by_label("New comment").fill(f"@{bob.username} please look")
    await mine.page.get_by_role("button", name="Comment", exact=True).click()
    await expect(theirs.page.locator(".comment .prose")).to_have_text([f"@{bob.username} please look"])
    await theirs.page.get_by_label("Status").select_option("in_progress")
    await mine.page.get_by_role("tab", name="Activity").click()
    await expect(mine.page.locator(".activity")).to_contain_text("set the status to In progress")
    await expect(mine.page.get_by_label("Status")).to_have_value("in_progress")
    await expect(card(mine.page, "Sketch").locator("xpath=ancestor::section")).to_have_attribute(
        "data-column", "status:in_progress"
    )
    await theirs.page.get_by_role("button", name="Close").click()
    await expect(theirs.page.get_by_role("link", name="Notifications")).to_contain_text("1")
    await theirs.page.get_by_role("link", name="Notifications").click()
    await expect(theirs.page.locator(".notifications .unread")).to_contain_text("mentioned you in")
    await keep(mine.page, "app-task")


async def test_a_thousand_cards_are_scrolled(browser: Browser, url: str, alice: Person) -> None:
    project_id = await make_project(alice)
    for start in range(0, 1000, 100):
        new = [{"title": f"Task {number}", "tags": ["one", "two"]} for number in range(start, start + 100)]
        await alice.post("/tasks/bulk", {"tasks": [{**task, "project_id": project_id} for task in new]})
    page = (await open_board(browser, url, alice, project_id)).page
    await expect(column(page, "To do").locator(".count").first).to_have_text("1000")
    pauses = await page.evaluate(
        """async () => {
          const cards = document.querySelector(".cards");
          const tasks = [];
          new PerformanceObserver(list => tasks.push(...list.getEntries().map(entry => entry.duration)))
            .observe({type: "longtask"});
          for (let last = -1; last !== cards.scrollTop;) {
            last = cards.scrollTop;
            for (let step = 0; step < 10; step++) {
              cards.scrollTop += 400;
              await new Promise(requestAnimationFrame);
            }
          }
          await new Promise(done => setTimeout(done, 200));
          return tasks;
        }"""
    )
    assert await column(page, "To do").locator("[data-card]").count() == 1000
    print(f"long tasks while scrolling: {pauses} ms")
    assert [pause for pause in pauses if pause > 100] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_view_in_three_widths(browser: Browser, url: str, alice: Person, bob: Person, scheme: str) -> None:
    project_id = await make_project(alice, "Sketch the start page", "Write the copy", description="The new site")
    await alice.post(f"/projects/{project_id}/members", {"username": bob.username, "role": "editor"})
    tasks = (await alice.get(f"/projects/{project_id}/tasks")).json()["tasks"]
    change = {"tags": ["design", "copy"], "priority": 5, "assignee_id": bob.id, "due_at": "2026-01-31T12:00:00Z"}
    await alice.request("PATCH", f"/tasks/{tasks[0]['id']}", 200, json=change)
    await bob.post(f"/tasks/{tasks[0]['id']}/comments", {"body": f"@{alice.username} what do you think?"})
    for width in (360, 768, 1440):
        tab = await open_tab(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = tab.page
        await page.goto(f"{url}/app")
        assert await violations(page) == []
        await log_in(page, url, alice.username, f"#/p/{project_id}")
        views = {
            "board": f"#/p/{project_id}",
            "list": f"#/p/{project_id}/list",
            "filter": f"#/p/{project_id}?assignee=me",
            "task": f"#/p/{project_id}/t/{tasks[0]['id']}",
            "mine": "#/",
            "notifications": "#/inbox",
            "search": "#/search?q=copy",
            "settings": "#/settings",
            "missing": "#/p/999999999",
        }
        for name, fragment in views.items():
            await page.evaluate("fragment => { location.hash = fragment; }", fragment)
            await expect(page.locator("[aria-busy=true]")).to_have_count(0)
            await asyncio.sleep(0.3)  # until what slides in has come
            await keep(page, f"app-{name}-{width}-{scheme}")
            assert await violations(page) == [], (name, width)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        assert tab.complaints == []
        assert await page.evaluate("window.violations") == []

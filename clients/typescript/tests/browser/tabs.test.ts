import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import type { Client, Store, StoreStatus } from "../../src/index.js";
import { hasChromium, launch, PLAIN_HOST, servePage } from "../support/browser.js";
import { Gateway } from "../support/gateway.js";
import { newPerson } from "../support/people.js";
import { until } from "../support/service.js";

declare const taskManager: typeof import("../../src/index.js");
declare global {
  var client: Client;
  var store: Store;
  var logins: boolean[];
}

const TABS = 10;
const places = [
  { place: "a secure context", host: "127.0.0.1", isSecure: true },
  { place: "plain http", host: PLAIN_HOST, isSecure: false },
];

describe.skipIf(!hasChromium).each(places)("in $place", ({ host, isSecure }) => {
  let browser: Browser;
  let gateway: Gateway;
  let context: BrowserContext;
  let person: Awaited<ReturnType<typeof newPerson>>;

  beforeAll(async () => {
    gateway = await Gateway.start(inject("url"));
    await servePage(gateway);
    browser = await launch();
  });
  afterAll(async () => {
    await browser.close();
    await gateway.stop();
  });
  beforeEach(async () => {
    person = await newPerson();
    context = await browser.newContext();
    gateway.seen.length = 0;
  });
  afterEach(async () => {
    gateway.rule = () => undefined;
    await context.close();
  });

  async function openTab(): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`http://${host}:${gateway.port}/app/page`);
    await page.evaluate(() => {
      globalThis.client = taskManager.createClient({ baseUrl: "..", storage: localStorage });
      globalThis.logins = [];
      client.onLogin((loggedIn) => logins.push(loggedIn));
    });
    return page;
  }

  async function logIn(): Promise<Page> {
    const page = await openTab();
    await page.evaluate(([username, password]) => client.login(username, password), [
      person.username,
      person.password,
    ] as const);
    return page;
  }

  /** Let all tabs ask at the same moment. */
  function askTogether(tabs: Page[]): Promise<string[]> {
    const at = Date.now() + 500;
    const ask = async (moment: number) => {
      await new Promise((resolve) => setTimeout(resolve, moment - Date.now()));
      return (await client.get("/api/v1/users/me")).username;
    };
    return Promise.all(tabs.map((tab) => tab.evaluate(ask, at)));
  }

  const statusOf = (page: Page): Promise<StoreStatus> => page.evaluate(() => store.status);
  const titles = (page: Page): Promise<string[]> =>
    page.evaluate(() =>
      store
        .all("task")
        .map(({ title }) => title)
        .sort(),
    );
  const newTask = (title: string) => person.client.post("/api/v1/tasks", { body: { title } });

  async function startStore(page: Page, hiddenSeconds: number): Promise<void> {
    await page.evaluate((seconds) => {
      globalThis.store = client.store({ storage: taskManager.indexedCopy("copy"), hiddenSeconds: seconds });
      return store.start();
    }, hiddenSeconds);
  }

  test("ten tabs that need an access token at once ask for one", async () => {
    const first = await logIn();
    expect(await first.evaluate(() => [isSecureContext, "locks" in navigator, "randomUUID" in crypto])).toEqual([
      isSecure,
      isSecure,
      isSecure,
    ]);
    await first.close();
    const tabs = await Promise.all(Array.from({ length: TABS }, openTab));
    expect(new Set(await askTogether(tabs))).toEqual(new Set([person.username]));
    expect(gateway.count("POST", /token\/refresh/)).toBe(1);

    // Half an hour later in each of them.
    const later = () => {
      const now = Date.now;
      Date.now = () => now() + 31 * 60_000;
    };
    await Promise.all(tabs.map((tab) => tab.evaluate(later)));
    const ask = () => client.get("/api/v1/users/me").then(({ username }) => username);
    expect(new Set(await Promise.all(tabs.map((tab) => tab.evaluate(ask))))).toEqual(new Set([person.username]));
    expect(gateway.count("POST", /token\/refresh/)).toBe(2);
  });

  test("tabs log in and out together", async () => {
    const [one, other] = [await logIn(), await openTab()];
    expect(await other.evaluate(() => client.get("/api/v1/users/me").then(({ username }) => username))).toBe(
      person.username,
    );
    await one.evaluate(() => client.logout());
    await until(() => other.evaluate(() => logins.includes(false) && !client.loggedIn));
    await one.evaluate(([username, password]) => client.login(username, password), [
      person.username,
      person.password,
    ] as const);
    await until(() => other.evaluate(() => logins.includes(true) && client.loggedIn));
    expect(await other.evaluate(() => client.get("/api/v1/users/me").then(({ username }) => username))).toBe(
      person.username,
    );
  });

  test("a tab that closes while it asks leaves nobody waiting", async () => {
    await (await logIn()).close();
    let held = 0;
    gateway.rule = ({ path }) => path.endsWith("/token/refresh") && held++ === 0;
    const [closing, waiting] = [await openTab(), await openTab()];
    void closing.evaluate(() => client.get("/api/v1/users/me")).catch(() => undefined);
    await until(() => held === 1);
    const answer = waiting.evaluate(() => client.get("/api/v1/users/me").then(({ username }) => username));
    await closing.close();
    expect(await answer).toBe(person.username);
  });

  test("a store goes on after sleep", async () => {
    await newTask("Before");
    const page = await logIn();
    await startStore(page, 30);
    const control = await context.newCDPSession(page);
    await control.send("Page.setWebLifecycleState", { state: "frozen" });
    await newTask("Asleep");
    gateway.cut();
    await control.send("Page.setWebLifecycleState", { state: "active" });
    await page.evaluate(() => {
      const now = Date.now;
      Date.now = () => now() + 3 * 3_600_000;
    });
    await until(async () => (await titles(page)).length === 2);
    await newTask("Awake");
    await until(async () => (await titles(page)).length === 3);
    expect(await titles(page)).toEqual(["Asleep", "Awake", "Before"]);
  });

  test("a store has its rows without a network, and goes on when there is one", async () => {
    const task = await newTask("Kept");
    const page = await logIn();
    await startStore(page, 30);
    await context.setOffline(true);
    gateway.cut();
    await until(async () => (await statusOf(page)) === "offline");
    await person.client.update("task", task, { title: "Changed" });
    await context.setOffline(false);
    await until(async () => (await titles(page)).includes("Changed"));
    await page.close();

    await newTask("Meanwhile");
    gateway.rule = (_seen, response) => (response.destroy(), true);
    const next = await openTab();
    await startStore(next, 30);
    expect(await titles(next)).toEqual(["Changed"]);
    gateway.rule = () => undefined;
    await until(async () => (await titles(next)).includes("Meanwhile"));
    const bootstraps = gateway.seen.filter(
      ({ path }) => path.startsWith("/api/v1/changes") && !path.includes("since="),
    );
    expect(bootstraps).toHaveLength(1);
  });

  test("two tabs that keep one copy leave it whole", async () => {
    const [one, other] = [await logIn(), await openTab()];
    await Promise.all([startStore(one, 30), startStore(other, 30)]);
    for (let number = 0; number < 10; number++) await newTask(`Task ${number}`);
    for (const tab of [one, other]) await until(async () => (await titles(tab)).length === 10);
    await one.close();
    await newTask("Last");
    await until(async () => (await titles(other)).length === 11);
    await other.close();
    const next = await openTab();
    await startStore(next, 30);
    await until(async () => (await titles(next)).length === 11);
  });

  test("a hidden tab gives up its connection", async () => {
    const page = await logIn();
    await startStore(page, 0.2);
    const show = (state: string) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    };
    await page.evaluate(show, "hidden");
    await until(async () => (await statusOf(page)) === "paused");
    await newTask("Unseen");
    expect(await titles(page)).toEqual([]);
    await page.evaluate(show, "visible");
    await until(async () => (await titles(page)).includes("Unseen"));
  });
});

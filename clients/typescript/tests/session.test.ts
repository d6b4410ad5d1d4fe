import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { ApiError, createClient, memoryStorage, type TokenStorage } from "../src/index.js";
import { Gateway, refuse } from "./support/gateway.js";
import { newPerson } from "./support/people.js";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await Gateway.start(inject("url"));
});
afterAll(() => gateway.stop());

/** Another program with the same login, that has no access token yet. */
async function secondClient(): Promise<{
  client: ReturnType<typeof createClient>;
  storage: TokenStorage;
  username: string;
}> {
  const storage = memoryStorage();
  const { username } = await newPerson({ baseUrl: gateway.url, storage });
  gateway.seen.length = 0;
  return { client: createClient({ baseUrl: gateway.url, storage }), storage, username };
}

test("registers, logs in, logs out", async () => {
  const { client, username, password } = await newPerson();
  const heard: boolean[] = [];
  const forget = client.onLogin((loggedIn) => heard.push(loggedIn));
  expect((await client.get("/api/v1/users/me")).username).toBe(username);
  await client.logout();
  await expect(client.get("/api/v1/users/me")).rejects.toMatchObject({ status: 401, kind: "unauthenticated" });
  await client.login(username, password);
  forget();
  await client.logout();
  expect(heard).toEqual([false, true]);
});

test("a wrong password is an error of its kind, and no login", async () => {
  const { username } = await newPerson();
  const client = createClient({ baseUrl: inject("url") });
  await expect(client.login(username, "wrong password")).rejects.toMatchObject({ kind: "wrong-login" });
  expect(client.loggedIn).toBe(false);
});

test("requests that begin together wait for one refresh", async () => {
  const { client, username } = await secondClient();
  const names = await Promise.all(
    Array.from({ length: 20 }, async () => (await client.get("/api/v1/users/me")).username),
  );
  expect(new Set(names)).toEqual(new Set([username]));
  expect(gateway.count("POST", /token\/refresh/)).toBe(1);
});

test("a refused access token is replaced, and the request sent again", async () => {
  const { client } = await secondClient();
  await client.get("/api/v1/users/me");
  const old = gateway.seen.at(-1)?.headers.authorization;
  gateway.rule = ({ headers }, response) => headers.authorization === old && refuse(response, 401, "invalid-token");
  await client.post("/api/v1/projects", { body: { name: "Again" } });
  gateway.rule = () => undefined;
  expect(gateway.count("POST", /token\/refresh/)).toBe(2);
  const [refused, taken] = gateway.seen.filter(({ path }) => path === "/api/v1/projects");
  expect(refused?.headers["idempotency-key"]).toBe(taken?.headers["idempotency-key"]);
});

test("an access token is replaced before it ends", async () => {
  const storage = memoryStorage();
  const { client } = await newPerson({ baseUrl: gateway.url, storage });
  gateway.seen.length = 0;
  const now = Date.now;
  Date.now = () => now() + 31 * 60_000;
  try {
    await client.get("/api/v1/users/me");
  } finally {
    Date.now = now;
  }
  expect(gateway.seen.map(({ path }) => path)).toEqual(["/api/v1/token/refresh", "/api/v1/users/me"]);
});

test("a login that the server has ended is forgotten", async () => {
  const { client, storage } = await secondClient();
  await createClient({ baseUrl: gateway.url, storage: { ...storage, removeItem: () => undefined } }).logout();
  const heard: boolean[] = [];
  client.onLogin((loggedIn) => heard.push(loggedIn));
  expect(client.loggedIn).toBe(true);
  await expect(client.get("/api/v1/users/me")).rejects.toBeInstanceOf(ApiError);
  expect(client.loggedIn).toBe(false);
  expect(heard).toEqual([false]);
});

test("a refresh whose answer gets lost is repeated", async () => {
  const { client } = await secondClient();
  let lost = 0;
  gateway.rule = ({ path }) => (path.endsWith("/token/refresh") && lost++ === 0 ? "lose-answer" : undefined);
  await client.get("/api/v1/users/me");
  gateway.rule = () => undefined;
  expect(gateway.count("POST", /token\/refresh/)).toBe(2);
  expect(client.loggedIn).toBe(true);
});

test("a request waits for a refresh as long as for itself", async () => {
  const { client } = await secondClient();
  const until = Date.now() + 6000; // longer than one refresh is tried
  gateway.rule = (_seen, response) => Date.now() < until && (response.destroy(), true);
  await client.get("/api/v1/users/me");
  expect(Date.now()).toBeGreaterThan(until);
  gateway.rule = () => undefined;
});

test("an API key takes the place of a login", async () => {
  const { client, username } = await newPerson();
  const { key } = await client.post("/api/v1/users/me/api-keys", { body: { name: "script", scopes: ["account"] } });
  const script = createClient({ baseUrl: inject("url"), apiKey: key });
  expect((await script.get("/api/v1/users/me")).username).toBe(username);
});

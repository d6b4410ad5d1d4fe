import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import { ApiError, type Client, createClient, UnreachableError } from "../src/index.js";
import { takesKey } from "../src/sending.js";
import { Gateway, refuse } from "./support/gateway.js";
import { inboxOf, newPerson } from "./support/people.js";
import { Service } from "./support/service.js";

let gateway: Gateway;
let client: Client;
beforeAll(async () => {
  gateway = await Gateway.start(inject("url"));
  ({ client } = await newPerson({ baseUrl: gateway.url, retrySeconds: 8 }));
});
beforeEach(() => void (gateway.seen.length = 0));
afterEach(() => void (gateway.rule = () => undefined));
afterAll(() => gateway.stop());

test("a write whose answer gets lost is done once", async () => {
  let lost = 0;
  gateway.rule = ({ method }) => (method === "POST" && lost++ < 2 ? "lose-answer" : undefined);
  const project = await client.post("/api/v1/projects", { body: { name: "Once" } });
  expect(gateway.count("POST", /projects/)).toBe(3);
  const found = [];
  for await (const one of client.items("/api/v1/projects")) if (one.name === "Once") found.push(one.id);
  expect(found).toEqual([project.id]);
});

test.each([429, 503])("%i is tried again when Retry-After says", async (status) => {
  let refused = 0;
  let at = 0;
  gateway.rule = (_seen, response) => {
    if (refused++ > 0) return;
    at = Date.now();
    return refuse(response, status, "overloaded", { "Retry-After": "1" });
  };
  await client.post("/api/v1/projects", { body: { name: "Later" } });
  expect(Date.now() - at).toBeGreaterThanOrEqual(1000);
  const keys = gateway.seen.map(({ headers }) => headers["idempotency-key"]);
  expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(keys[1]).toBe(keys[0]);
});

test("a Retry-After beyond the time there is is an error at once", async () => {
  gateway.rule = (_seen, response) => refuse(response, 429, "rate-limited", { "Retry-After": "59" });
  const began = Date.now();
  await expect(client.get("/api/v1/tasks")).rejects.toMatchObject({ kind: "rate-limited", retryAfter: 59 });
  expect(Date.now() - began).toBeLessThan(1000);
});

test("an answer that breaks off in the middle is none", async () => {
  let broken = 0;
  gateway.rule = (_seen, response) => {
    if (broken++ > 0) return;
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": "1000" });
    response.write('{"projects": [', () => response.destroy());
    return true;
  };
  expect((await client.get("/api/v1/projects")).projects.length).toBeGreaterThan(0);
});

test("a registration is not sent twice", async () => {
  gateway.rule = () => "lose-answer";
  const account = { username: "nobody7", email: "nobody7@example.com", password: "correct horse 7" };
  await expect(createClient({ baseUrl: gateway.url }).register(account)).rejects.toBeInstanceOf(UnreachableError);
  expect(gateway.seen).toHaveLength(1);
});

test("a signal ends the tries", async () => {
  gateway.rule = (_seen, response) => refuse(response, 503, "overloaded", { "Retry-After": "5" });
  const began = Date.now();
  await expect(client.get("/api/v1/tasks", { signal: AbortSignal.timeout(300) })).rejects.toMatchObject({
    name: "TimeoutError",
  });
  expect(Date.now() - began).toBeLessThan(2000);
});

test("workers are killed, and every write is done once", async () => {
  const service = await Service.start(inject("databaseUrl"), 2);
  try {
    const { client: writer } = await newPerson({ baseUrl: service.url });
    const project_id = await inboxOf(writer);
    const titles = Array.from({ length: 120 }, (_, number) => `Task ${number}`);
    const waiting = [...titles];
    const write = async () => {
      for (let title = waiting.pop(); title !== undefined; title = waiting.pop()) {
        await writer.post("/api/v1/projects/{project_id}/tasks", { path: { project_id }, body: { title } });
        if (waiting.length === 90 || waiting.length === 40) service.killWorker();
      }
    };
    await Promise.all([write(), write(), write(), write()]);
    const found = [];
    for await (const task of writer.items("/api/v1/tasks", { query: { limit: 100 } })) found.push(task.title);
    expect(found.sort()).toEqual(titles.sort());
  } finally {
    await service.stop();
  }
});

test("a list is walked by pages and by elements", async () => {
  const { client: reader } = await newPerson();
  const project_id = await inboxOf(reader);
  const titles = Array.from({ length: 7 }, (_, number) => `Task ${number}`);
  const bulk = titles.map((title) => ({ title, project_id }));
  await reader.post("/api/v1/tasks/bulk", { body: { tasks: bulk } });
  const query = { limit: 3, sort_by: "created_at", order: "asc" } as const;
  const lengths = [];
  for await (const page of reader.pages("/api/v1/tasks", { query })) lengths.push(page.tasks.length);
  expect(lengths).toEqual([3, 3, 1]);
  const found = [];
  for await (const task of reader.items("/api/v1/projects/{project_id}/tasks", { path: { project_id }, query }))
    found.push(task.title);
  expect(found).toEqual(titles);
});

test("a version that is replaced is refused, and one that is right deleted", async () => {
  const task = await client.post("/api/v1/tasks", { body: { title: "Old" } });
  await client.patch("/api/v1/tasks/{task_id}", { path: { task_id: task.id }, body: { title: "New" } });
  const path = { task_id: task.id };
  const error = await client
    .delete("/api/v1/tasks/{task_id}", { path, version: 1 })
    .catch((refusal: unknown) => refusal);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ kind: "stale-version", problem: { current_version: 2, changed_fields: ["title"] } });
  expect(await client.delete("/api/v1/tasks/{task_id}", { path, version: 2 })).toBeUndefined();
});

test("a key is sent with whatever takes one by the document", async () => {
  const text = await readFile(new URL("../../../docs/openapi.json", import.meta.url), "utf8");
  const { paths } = JSON.parse(text) as { paths: Record<string, Record<string, { parameters?: { name: string }[] }>> };
  const wrong = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([, { parameters = [] }]) => !path.startsWith("/api/v1/admin/") && Array.isArray(parameters))
      .filter(([method, { parameters = [] }]) => {
        const takes = parameters.some(({ name }) => name === "Idempotency-Key");
        return takesKey(method.toUpperCase(), path) !== takes;
      })
      .map(([method]) => `${method} ${path}`),
  );
  expect(wrong).toEqual([]);
});

test("below a prefix, as a proxy may have it", async () => {
  const { client: prefixed } = await newPerson();
  const asked: string[] = [];
  const elsewhere = createClient({
    baseUrl: "http://example.test/tools/tasks/",
    fetch: (input) => {
      asked.push(String(input));
      return Promise.resolve(Response.json({ projects: [], next_cursor: null }));
    },
  });
  await elsewhere.get("/api/v1/projects");
  expect(asked).toEqual(["http://example.test/tools/tasks/api/v1/projects"]);
  expect(prefixed.loggedIn).toBe(true);
});

test("what openapi-fetch answers can be had as it is", async () => {
  const { response, error } = await client.raw.GET("/api/v1/tasks/{task_id}", {
    params: { path: { task_id: 9_000_000_000 } },
  });
  expect(response.status).toBe(404);
  expect(error?.status).toBe(404);
});

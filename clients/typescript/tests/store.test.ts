import type { ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { type Client, type CopyStorage, type Store, type Task } from "../src/index.js";
import { Gateway, refuse } from "./support/gateway.js";
import { keptCopy } from "./support/kept-copy.js";
import { newPerson } from "./support/people.js";
import { run, Service, until } from "./support/service.js";
import { Told } from "./support/told-stream.js";

let gateway: Gateway;
let mine: Client;
let theirs: Client;
let theirName: string;
let project_id: number;
const started: Store[] = [];

beforeAll(async () => {
  gateway = await Gateway.start(inject("url"));
});
beforeEach(async () => {
  ({ client: mine } = await newPerson({ baseUrl: gateway.url }));
  ({ client: theirs, username: theirName } = await newPerson());
  ({ id: project_id } = await mine.post("/api/v1/projects", { body: { name: "Shared" } }));
  await mine.post("/api/v1/projects/{project_id}/members", {
    path: { project_id },
    body: { username: theirName, role: "owner" },
  });
});
afterEach(() => {
  for (const store of started.splice(0)) store.stop();
  gateway.rule = () => undefined;
  gateway.seen.length = 0;
});
afterAll(() => gateway.stop());

const newTask = (title: string, client = theirs): Promise<Task> =>
  client.post("/api/v1/projects/{project_id}/tasks", { path: { project_id }, body: { title } });

async function follow(client = mine, storage?: CopyStorage): Promise<Store> {
  const store = client.store(storage && { storage });
  started.push(store);
  await store.start();
  return store;
}

/** All that the server shows to a client, by kind and id. */
async function everything(client: Client): Promise<Map<string, unknown>> {
  const found = new Map<string, unknown>();
  for await (const project of client.items("/api/v1/projects")) {
    found.set(`project ${project.id}`, project);
    const path = { project_id: project.id };
    for await (const task of client.items("/api/v1/projects/{project_id}/tasks", { path })) {
      found.set(`task ${task.id}`, task);
      for await (const comment of client.items("/api/v1/tasks/{task_id}/comments", { path: { task_id: task.id } })) {
        found.set(`comment ${comment.id}`, comment);
      }
    }
  }
  return found;
}

function copied(store: Store): Map<string, unknown> {
  const kinds = ["project", "task", "comment"] as const;
  return new Map(kinds.flatMap((kind) => store.all(kind).map((row) => [`${kind} ${row.id}`, row] as const)));
}

const ways: [string, (response: ServerResponse) => true | undefined][] = [
  ["by the stream where there is one", () => undefined],
  ["without a stream (404)", (response) => refuse(response, 404, "not-found")],
  ["where streams cannot be (501)", (response) => refuse(response, 501, "streams-unsupported")],
  ["where there are too many streams (503)", (response) => refuse(response, 503, "overloaded", { "Retry-After": "1" })],
];

describe.each(ways)("%s", (_way, answer) => {
  beforeEach(() => {
    gateway.rule = ({ path }, response) => path.startsWith("/api/v1/events") && answer(response);
  });

  test("a store has what the server has, and follows", async () => {
    const first = await newTask("First");
    const store = await follow();
    expect(copied(store)).toEqual(await everything(mine));
    const changes: string[] = [];
    store.subscribe((all) =>
      changes.push(...all.map(({ entity, id, row }) => `${entity} ${id} ${row ? "put" : "gone"}`)),
    );

    const second = await newTask("Second");
    await until(() => store.get("task", second.id));
    await theirs.update("task", first, { title: "Changed" });
    const path = { task_id: first.id };
    const comment = await theirs.post("/api/v1/tasks/{task_id}/comments", { path, body: { body: "Look" } });
    await until(() => store.get("comment", comment.id));
    expect(store.get("task", first.id)?.title).toBe("Changed");
    expect(store.all("task", project_id).map(({ title }) => title)).toEqual(["Changed", "Second"]);
    await theirs.delete("/api/v1/tasks/{task_id}", { path });
    await until(() => !store.get("task", first.id));
    expect(copied(store)).toEqual(await everything(mine));
    expect(changes).toContain(`task ${second.id} put`);
    expect(changes).toContain(`task ${first.id} gone`);
    expect(changes).toContain(`comment ${comment.id} gone`);
  });

  test("a project that is gained comes with all that is in it, and goes when it is lost", async () => {
    const store = await follow();
    const { id } = await theirs.post("/api/v1/projects", { body: { name: "Gained" } });
    const task = await theirs.post("/api/v1/projects/{project_id}/tasks", {
      path: { project_id: id },
      body: { title: "Old" },
    });
    const { username, id: user_id } = await mine.get("/api/v1/users/me");
    await theirs.post("/api/v1/projects/{project_id}/members", {
      path: { project_id: id },
      body: { username, role: "viewer" },
    });
    await until(() => store.get("task", task.id) && store.get("member", user_id, id));
    await theirs.delete("/api/v1/projects/{project_id}/members/{user_id}", { path: { project_id: id, user_id } });
    await until(() => !store.get("project", id));
    expect(store.get("task", task.id)).toBeUndefined();
    expect(copied(store)).toEqual(await everything(mine));
  });
});

test("others' changes come by the stream alone, where the server has one", async ({ skip }) => {
  const { paths } = (await (await fetch(`${inject("url")}/openapi.json`)).json()) as { paths: object };
  if (!("/api/v1/events" in paths)) skip("this server has no stream");
  const store = await follow();
  await until(() => store.status === "live");
  gateway.seen.length = 0;
  const task = await newTask("First");
  const began = Date.now();
  await until(() => store.get("task", task.id), 1);
  console.info(`shown ${Date.now() - began} ms after the answer to who wrote it`);
  await theirs.update("task", task, { title: "Changed" });
  await until(() => store.get("task", task.id)?.title === "Changed", 1);
  await theirs.delete("/api/v1/tasks/{task_id}", { path: { task_id: task.id } });
  await until(() => !store.get("task", task.id), 1);
  expect(gateway.seen).toEqual([]);
});

test("a task that is moved out of sight and back comes with its comments", async () => {
  const store = await follow();
  const task = await newTask("Moving");
  const path = { task_id: task.id };
  const comment = await theirs.post("/api/v1/tasks/{task_id}/comments", { path, body: { body: "Look" } });
  await until(() => store.get("comment", comment.id));
  const { id } = await theirs.post("/api/v1/projects", { body: { name: "Theirs" } });
  await theirs.patch("/api/v1/tasks/{task_id}", { path, body: { project_id: id } });
  await until(() => !store.get("task", task.id) && !store.get("comment", comment.id));
  await theirs.patch("/api/v1/tasks/{task_id}", { path, body: { project_id } });
  await until(() => store.get("task", task.id) && store.get("comment", comment.id));
  expect(store.all("comment", project_id)).toHaveLength(1);
  expect(store.all("task", id)).toEqual([]);
});

test("an error of a listener is its own", async () => {
  const store = await follow();
  const errors: unknown[] = [];
  const caught = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").on("uncaughtException", (error) => errors.push(error));
  try {
    const forget = store.subscribe(() => {
      throw new Error("of the page");
    });
    const task = await newTask("First");
    await until(() => store.get("task", task.id) && errors.length);
    forget();
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of caught) process.on("uncaughtException", listener);
  }
  expect(store.status).not.toBe("stopped");
  expect(errors[0]).toMatchObject({ message: "of the page" });
});

test("frames are applied as they are, and a stream goes on where it has ended", async () => {
  const told = new Told();
  gateway.rule = ({ path, headers }, response) =>
    path.startsWith("/api/v1/events") && told.accept(headers["last-event-id"], response);
  const task = await newTask("First");
  const store = await follow();
  await until(() => store.status === "live");
  gateway.seen.length = 0;

  const page = await mine.get("/api/v1/changes", { query: { limit: 1000 } });
  const changed = { ...task, title: "By the stream", version: 2 };
  const frame = (action: string, row: Task | null) =>
    `id: ${page.cursor}\nevent: task.${action}\ndata: ${JSON.stringify({ entity: "task", id: task.id, project_id, version: 2, action, task: row })}\n\n`;
  const updated = frame("updated", changed);
  told.say(updated.slice(0, 40));
  told.say(updated.slice(40));
  await until(() => store.get("task", task.id)?.title === "By the stream");
  told.say(frame("updated", task)); // an older row changes nothing
  told.say(frame("updated", null)); // it is gone, which a later frame says
  told.say("id: moved-on\n\n", 'event: bye\ndata: {"reason":"drain"}\n\n');
  // `moved-on` is no cursor, so the server refuses it, and everything is loaded anew.
  await until(() => told.positions.length === 2);
  expect(gateway.count("GET", /changes\?since=moved-on/)).toBe(1);
  expect(store.get("task", task.id)?.title).toBe("First");

  told.say(frame("deleted", null));
  await until(() => !store.get("task", task.id));
  gateway.cut();
  await until(() => told.positions.length === 3);
  expect(told.positions.at(-1)).toBe(page.cursor);
  store.stop();
  await until(() => told.listeners === 0);
});

test("a stream that has fallen silent is opened again", async () => {
  const told = new Told();
  gateway.rule = ({ path, headers }, response) =>
    path.startsWith("/api/v1/events") && told.accept(headers["last-event-id"], response);
  const store = await follow();
  await until(() => store.status === "live");
  const now = Date.now;
  Date.now = () => now() + 60_000; // as after sleep
  try {
    await until(() => told.positions.length === 2);
  } finally {
    Date.now = now;
  }
  expect(store.status).toBe("live");
});

test("a stream that a proxy holds back is done without", async () => {
  gateway.rule = ({ path }, response) => {
    if (!path.startsWith("/api/v1/events")) return;
    response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
    return true;
  };
  const store = await follow();
  await until(() => store.status === "polling");
  const task = await newTask("Polled");
  await until(() => store.get("task", task.id), 2);
});

test("a copy is there at once after a restart, offline too, and goes on from its cursor", async () => {
  const storage = keptCopy();
  const task = await newTask("Kept");
  const before = await follow(mine, storage);
  before.stop();
  const cursor = storage.cursor;
  const meanwhile = await newTask("Meanwhile");
  await theirs.update("task", task, { title: "Changed" });

  gateway.seen.length = 0;
  gateway.rule = (_seen, response) => (response.destroy(), true);
  const after = await follow(mine, storage);
  expect(after.get("task", task.id)?.title).toBe("Kept");
  await until(() => after.status === "offline");
  gateway.rule = () => undefined;
  await until(() => after.get("task", meanwhile.id));
  expect(after.get("task", task.id)?.title).toBe("Changed");
  const [first] = gateway.seen.filter(({ path }) => path.startsWith("/api/v1/changes"));
  expect(first?.path).toContain(`since=${cursor}`);
});

test("what a request has answered can be shown at once", async () => {
  const store = await follow();
  const task = await newTask("Mine", mine);
  store.put("task", { ...task, version: 7, title: "Newer" });
  store.put("task", task);
  expect(store.get("task", task.id)?.title).toBe("Newer");
});

test("the end of the login stops the store, and without one it does not start", async () => {
  const store = await follow();
  const { id } = await mine.get("/api/v1/users/me");
  await mine.logout();
  expect(store.status).toBe("stopped");
  await newTask("Unseen");
  await expect(mine.store().start()).rejects.toMatchObject({ status: 401 });
  expect(store.get("member", id, project_id)?.role).toBe("owner");
});

test("a login that the server has ended stops the store", async () => {
  const store = await follow();
  await theirs.get("/api/v1/users/me");
  const refused = { status: 401, kind: "invalid-token" };
  gateway.rule = (_seen, response) => refuse(response, refused.status, refused.kind);
  gateway.cut();
  await until(() => store.status === "stopped");
  expect(mine.loggedIn).toBe(false);
});

test("a new epoch of the log loads everything anew", async () => {
  const store = await follow();
  const task = await newTask("Before");
  await until(() => store.get("task", task.id));
  run(inject("databaseUrl"), "log", "new-epoch");
  const after = await newTask("After");
  await until(() => store.get("task", after.id), 40);
  expect(copied(store)).toEqual(await everything(mine));
});

test("a store goes on when the service is killed and started again", async () => {
  const service = await Service.start(inject("databaseUrl"));
  try {
    const { client: watcher, username } = await newPerson({ baseUrl: service.url });
    await theirs.post("/api/v1/projects/{project_id}/members", {
      path: { project_id },
      body: { username, role: "viewer" },
    });
    const store = await follow(watcher);
    await service.stop("SIGKILL");
    const task = await newTask("Meanwhile");
    await until(() => store.status === "offline");
    await service.start();
    await until(() => store.get("task", task.id), 30);
    expect(copied(store)).toEqual(await everything(watcher));
  } finally {
    await service.stop();
  }
});

import { beforeAll, expect, test } from "vitest";
import { type Client, ConflictError, type Task, type TaskChange } from "../src/index.js";
import { newPerson } from "./support/people.js";

let mine: Client;
let theirs: Client;
let project_id: number;
beforeAll(async () => {
  const [one, other] = [await newPerson(), await newPerson()];
  [mine, theirs] = [one.client, other.client];
  ({ id: project_id } = await mine.post("/api/v1/projects", { body: { name: "Shared" } }));
  await mine.post("/api/v1/projects/{project_id}/members", {
    path: { project_id },
    body: { username: other.username, role: "editor" },
  });
});

const newTask = (): Promise<Task> =>
  mine.post("/api/v1/projects/{project_id}/tasks", { path: { project_id }, body: { title: "First", tags: ["a"] } });
const read = (task: Task) => mine.get("/api/v1/tasks/{task_id}", { path: { task_id: task.id } });

test("changes of different fields are both kept", async () => {
  const task = await newTask();
  await theirs.update("task", task, { title: "Theirs" });
  const merged = await mine.update("task", task, { priority: 5 });
  expect(merged).toMatchObject({ title: "Theirs", priority: 5, version: 3 });
});

test("another value of the same field is a conflict that has both", async () => {
  const task = await newTask();
  await theirs.update("task", task, { title: "Theirs", priority: 1 });
  const error = await mine
    .update("task", task, { title: "Mine", status: "completed" })
    .catch((refusal: unknown) => refusal);
  expect(error).toBeInstanceOf(ConflictError);
  expect(error).toMatchObject({
    kind: "stale-version",
    base: { title: "First" },
    mine: { title: "Mine", status: "completed" },
    theirs: { title: "Theirs", priority: 1, status: "pending" },
    fields: ["title"],
  });
  expect(await read(task)).toMatchObject({ title: "Theirs", status: "pending", version: 2 });
});

test("the same value, or one that was changed back, is no conflict", async () => {
  const task = await newTask();
  const due = await theirs.update("task", task, { title: "Same", due_at: "2027-01-01T01:00:00+01:00", priority: 5 });
  await theirs.update("task", due, { priority: task.priority });
  const merged = await mine.update("task", task, { title: "Same", due_at: "2027-01-01T00:00:00Z", priority: 1 });
  expect(merged).toMatchObject({ title: "Same", priority: 1 });
});

test("many people at once lose nothing", async () => {
  const task = await newTask();
  const changes: TaskChange[] = [
    { title: "A" },
    { description: "B" },
    { status: "completed" },
    { priority: 4 },
    { tags: ["c"] },
  ];
  const people = [mine, theirs];
  await Promise.all(changes.map((change, at) => people[at % 2]?.update("task", task, change)));
  expect(await read(task)).toMatchObject({
    title: "A",
    description: "B",
    status: "completed",
    priority: 4,
    tags: ["c"],
    version: 6,
  });
});

test("what is gone is not found, and a change of nothing writes nothing", async () => {
  const task = await newTask();
  expect(await mine.update("task", task, { title: "First" })).toEqual(task);
  await theirs.delete("/api/v1/tasks/{task_id}", { path: { task_id: task.id } });
  await expect(mine.update("task", task, { title: "Late" })).rejects.toMatchObject({ kind: "not-found" });
});

test("projects and comments merge as well", async () => {
  const project = await mine.get("/api/v1/projects/{project_id}", { path: { project_id } });
  await mine.update("project", project, { name: "Renamed" });
  expect(await mine.update("project", project, { description: "Ours" })).toMatchObject({
    name: "Renamed",
    description: "Ours",
  });
  const { id: task_id } = await newTask();
  const comment = await mine.post("/api/v1/tasks/{task_id}/comments", { path: { task_id }, body: { body: "First" } });
  await mine.update("comment", comment, { body: "Second" });
  await expect(mine.update("comment", comment, { body: "Third" })).rejects.toMatchObject({
    fields: ["body"],
    theirs: { body: "Second" },
  });
});

import { expect, test } from "vitest";
import { Copy } from "../src/copy.js";

const task = (version: number) => ({ id: 1, project_id: 7, title: "Dig", version });
const comment = { id: 5, project_id: 7, task_id: 1, body: "Deep", version: 1 };
const shown = (entity: string, row: { id: number }) => ({
  entity,
  id: row.id,
  project_id: 7,
  deleted: false,
  [entity]: row,
});
const gone = (entity: string, id: number, version: number) => ({ entity, id, project_id: 7, deleted: true, version });

test("an answer that comes after the deletion brings nothing back", async () => {
  const copy = new Copy(undefined);
  await copy.apply([shown("task", task(4)), shown("comment", comment)], "a");
  await copy.apply([gone("task", 1, 6)], "b");
  expect(copy.put("task", 1, 7, task(5))).toBeUndefined();
  expect(copy.put("comment", 5, 7, comment)).toBeUndefined();
  expect(copy.put("comment", 6, 7, { ...comment, id: 6, version: 9 })).toBeUndefined();
  expect(copy.rows.size).toBe(0);
});

test("what is moved out of sight comes back by a later answer, or by the log", async () => {
  const copy = new Copy(undefined);
  await copy.apply([shown("task", task(4))], "a");
  await copy.apply([gone("task", 1, 5)], "b");
  expect(copy.put("task", 1, 7, task(6))).toMatchObject({ row: { version: 6 } });
  await copy.apply([gone("task", 1, 7)], "c");
  await copy.apply([shown("task", task(7))], "d");
  expect(copy.rows.get("task:1")?.row.version).toBe(7);
});

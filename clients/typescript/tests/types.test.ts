import { expectTypeOf, test } from "vitest";
import type { Client, Comment, Task } from "../src/index.js";

/** Never run: the compiler decides. */
export async function typed(client: Client): Promise<void> {
  const task_id = 1;
  expectTypeOf(await client.get("/api/v1/tasks/{task_id}", { path: { task_id } })).toEqualTypeOf<Task>();
  expectTypeOf(await client.delete("/api/v1/tasks/{task_id}", { path: { task_id } })).toEqualTypeOf<undefined>();
  for await (const comment of client.items("/api/v1/tasks/{task_id}/comments", { path: { task_id } })) {
    expectTypeOf(comment.body).toEqualTypeOf<Comment["body"]>();
  }
  await client.get("/api/v1/tasks");
  // @ts-expect-error There is no such path.
  await client.get("/api/v1/chores");
  // @ts-expect-error The path needs an id.
  await client.get("/api/v1/tasks/{task_id}");
  // @ts-expect-error There is no such parameter.
  await client.get("/api/v1/tasks", { query: { colour: "red" } });
  // @ts-expect-error There is no such member: openapi-fetch would ignore it.
  await client.get("/api/v1/tasks", { params: { query: { limit: 1 } } });
  // @ts-expect-error A title is text.
  await client.post("/api/v1/tasks", { body: { title: 1 } });
  // @ts-expect-error A task is needed.
  await client.post("/api/v1/tasks");
  // @ts-expect-error This is no list.
  client.items("/api/v1/users/me");
  // @ts-expect-error Comments have no priority.
  await client.update("comment", {} as Comment, { priority: 1 });
}

test("the types of answers are those of the document", () => {
  expectTypeOf<Task["version"]>().toEqualTypeOf<number>();
});

import createClient from "openapi-fetch";
import type { paths } from "../build/openapi-typescript/schema.js";
import { baseUrl, person, required, same } from "./person.js";

const api = createClient<paths>({ baseUrl });
await api.POST("/api/v1/users", { body: person });
const login = await api.POST("/api/v1/token", { body: { username: person.username, password: person.password } });
api.use({
  onRequest: ({ request }) => {
    request.headers.set("Authorization", `Bearer ${required(login.data, "token").access_token}`);
  },
});
const project = required((await api.POST("/api/v1/projects", { body: { name: "Website" } })).data, "project");
const task = required(
  (await api.POST("/api/v1/tasks", { body: { title: "Write the copy", project_id: project.id } })).data,
  "task",
);
const params = { path: { task_id: task.id }, header: { "If-Match": `"${task.version}"` } };
await api.PATCH("/api/v1/tasks/{task_id}", { params, body: { status: "completed" } });
const stale = await api.PATCH("/api/v1/tasks/{task_id}", { params, body: { status: "pending" } });
const problem = required(stale.error, "problem");
if (problem.code !== "stale-version") throw new Error(problem.code);
same(problem.status, 412);
await api.POST("/api/v1/tasks/{task_id}/comments", {
  params: { path: { task_id: task.id } },
  body: { body: "Done." },
});
const list = required((await api.GET("/api/v1/tasks", { params: { query: { project_id: [project.id] } } })).data, "list");
same(list.tasks[0]?.status, "completed");
const changes = required((await api.GET("/api/v1/changes")).data, "changes");
for (const change of changes.changes) {
  if (change.entity === "comment") same(required(change.comment, "comment").body, "Done.");
}

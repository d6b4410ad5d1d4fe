import { client } from "../build/hey-api/client.gen.js";
import {
  createComment,
  createProject,
  createTask,
  createToken,
  listTasks,
  register,
  updateTask,
} from "../build/hey-api/index.js";
import { baseUrl, person, required, same } from "./person.js";

client.setConfig({ baseUrl });
await register({ body: person });
const login = await createToken({ body: { username: person.username, password: person.password } });
client.setConfig({ auth: required(login.data, "token").access_token });
const project = required((await createProject({ body: { name: "Website" } })).data, "project");
const made = await createTask({ body: { title: "Write the copy", project_id: project.id } });
const task = required(made.data, "task");
const request = { path: { task_id: task.id }, headers: { "If-Match": `"${task.version}"` } };
await updateTask({ ...request, body: { status: "completed" } });
const stale = await updateTask({ ...request, body: { status: "pending" } });
same(required(stale.error, "problem").code, "stale-version");
await createComment({ path: { task_id: task.id }, body: { body: "Done." } });
const list = required((await listTasks({ query: { project_id: [project.id] } })).data, "list");
same(list.tasks[0]?.status, "completed");

import {
  createComment,
  createProject,
  createTask,
  createToken,
  listTasks,
  register,
  updateTask,
} from "../build/orval/client.js";
import { baseUrl, person, same } from "./person.js";

// What orval makes asks for paths, as a page of the same origin would.
const fetchFrom = globalThis.fetch;
globalThis.fetch = (input, init) => fetchFrom(new URL(String(input), baseUrl), init);

await register(person);
const login = await createToken({ username: person.username, password: person.password });
if (login.status !== 200) throw new Error(login.data.code);
const headers = { Authorization: `Bearer ${login.data.access_token}` };
const project = await createProject({ name: "Website" }, { headers });
if (project.status !== 201) throw new Error(project.data.code);
const task = await createTask({ title: "Write the copy", project_id: project.data.id }, { headers });
if (task.status !== 201) throw new Error(task.data.code);
const known = { headers: { ...headers, "If-Match": `"${task.data.version}"` } };
await updateTask(task.data.id, { status: "completed" }, undefined, known);
const stale = await updateTask(task.data.id, { status: "pending" }, undefined, known);
same(stale.status, 412);
await createComment(task.data.id, { body: "Done." }, { headers });
const list = await listTasks({ project_id: [project.data.id] }, { headers });
if (list.status !== 200) throw new Error(list.data.code);
same(list.data.tasks[0]?.status, "completed");

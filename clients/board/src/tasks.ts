import type { Task } from "task-manager-client";
import type { Column, Place } from "./model/columns.js";
import { client } from "./service.js";

/** Create a task at the end of a column. */
export function createTask(projectId: number, title: string, column?: Column): Promise<Task> {
  return client.post("/api/v1/projects/{project_id}/tasks", {
    path: { project_id: projectId },
    body: {
      title,
      ...(column?.status && { status: column.status }),
      ...(column?.sectionId && { section_id: column.sectionId }),
    },
  });
}

/** Move a card to a place, whatever others have moved meanwhile. */
export function moveTask(task: Task, { column, ...next }: Place): Promise<Task> {
  return client.post("/api/v1/tasks/{task_id}/move", {
    path: { task_id: task.id },
    body: {
      ...next,
      ...(column.status !== undefined && { status: column.status }),
      ...(column.sectionId !== undefined && { section_id: column.sectionId }),
    },
  });
}

export function deleteTask(task: Task): Promise<void> {
  return client.delete("/api/v1/tasks/{task_id}", { path: { task_id: task.id } });
}

import type { Task } from "task-manager-client";

export type Status = Task["status"];

export const STATUSES: Status[] = ["pending", "in_progress", "completed", "cancelled"];
export const STATUS_NAMES: Record<Status, string> = {
  pending: "To do",
  in_progress: "In progress",
  completed: "Done",
  cancelled: "Cancelled",
};
export const PRIORITIES = [5, 4, 3, 2, 1];
export const PRIORITY_NAMES: Record<number, string> = { 1: "Lowest", 2: "Low", 3: "Medium", 4: "High", 5: "Urgent" };

export function isOpen(task: Task): boolean {
  return task.status === "pending" || task.status === "in_progress";
}

/** When a task is due, and whether an hour was named; a task that is due on a day is due at its end. */
export function dueOf(task: Task): { at: Date; hasTime: boolean } | undefined {
  const day = (task as { due_on?: string | null }).due_on;
  if (day) {
    const [year = 0, month = 1, date = 1] = day.split("-").map(Number);
    return { at: new Date(year, month - 1, date, 23, 59, 59, 999), hasTime: false };
  }
  return task.due_at ? { at: new Date(task.due_at), hasTime: true } : undefined;
}

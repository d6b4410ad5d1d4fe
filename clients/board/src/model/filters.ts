import type { Task } from "task-manager-client";
import { daysBetween } from "./dates.js";
import { dueOf, isOpen } from "./tasks.js";

/** What a board or list shows; kept in the address, so that it can be shared. */
export interface Filters {
  text: string;
  assignee: "" | "me" | "none" | number;
  priority: number;
  tag: string;
  due: "" | "overdue" | "today" | "week" | "none";
}

export function readFilters(query: URLSearchParams): Filters {
  const assignee = query.get("assignee") ?? "";
  const due = query.get("due") ?? "";
  return {
    text: query.get("q") ?? "",
    assignee: assignee === "me" || assignee === "none" ? assignee : Number(assignee) || "",
    priority: Number(query.get("priority")) || 0,
    tag: query.get("tag") ?? "",
    due: due === "overdue" || due === "today" || due === "week" || due === "none" ? due : "",
  };
}

export function writeFilters(filters: Filters): URLSearchParams {
  const query = new URLSearchParams();
  const values = { q: filters.text, assignee: filters.assignee, priority: filters.priority, tag: filters.tag, due: filters.due };
  for (const [name, value] of Object.entries(values)) if (value) query.set(name, String(value));
  return query;
}

export function isFiltered(filters: Filters): boolean {
  return writeFilters(filters).size > 0;
}

/** Return whether a task passes, for a user. */
export function passes(task: Task, filters: Filters, userId: number, now = new Date()): boolean {
  const { text, assignee, priority, tag, due } = filters;
  if (assignee === "none" ? task.assignee_id !== null : assignee && task.assignee_id !== (assignee === "me" ? userId : assignee)) {
    return false;
  }
  if (priority && task.priority !== priority) return false;
  if (tag && !task.tags.includes(tag)) return false;
  if (due && !isDue(task, due, now)) return false;
  return !text || contains(task, text.toLocaleLowerCase());
}

function contains(task: Task, text: string): boolean {
  return task.title.toLocaleLowerCase().includes(text) || (task.description ?? "").toLocaleLowerCase().includes(text);
}

function isDue(task: Task, due: Exclude<Filters["due"], "">, now: Date): boolean {
  const end = dueOf(task)?.at;
  if (due === "none" || end === undefined) return due === "none" && end === undefined;
  if (due === "overdue") return isOpen(task) && end < now;
  const days = daysBetween(now, end);
  const untilSunday = (7 - now.getDay()) % 7;
  return due === "today" ? days === 0 : days >= untilSunday - 6 && days <= untilSunday;
}

import type { Person } from "./people.js";
import { exact } from "./dates.js";
import { PRIORITY_NAMES, STATUS_NAMES, type Status } from "./tasks.js";

/** A change as the API answers it. */
export interface Event {
  id: number;
  entity: string;
  action: string;
  actor: Person | null;
  created_at: string;
  changes: Record<string, { old?: unknown; new?: unknown }>;
}

/** Names that the text needs. */
export interface Names {
  person(id: number): string;
  section(id: number): string;
}

const FIELDS: Record<string, string> = {
  title: "title",
  description: "description",
  status: "status",
  priority: "priority",
  tags: "tags",
  due_at: "due date",
  due_on: "due date",
  start_at: "start",
  assignee_id: "assignee",
  section_id: "section",
  position: "place",
  project_id: "project",
};

/** Say in words what happened, without who did it: `set the status to Done`. */
export function inWords(event: Event, names: Names): string {
  if (event.entity === "comment") return { created: "commented", updated: "edited a comment", deleted: "deleted a comment" }[event.action] ?? event.action;
  if (event.action === "created") return "created this task";
  if (event.action === "moved_in" || event.action === "moved_out") return "moved it between projects";
  const parts = Object.entries(event.changes)
    .filter(([field]) => field in FIELDS && !(field === "position" && "section_id" in event.changes))
    .map(([field, { new: value }]) => {
      if (field === "position") return "moved it within its column";
      if (field === "description") return "edited the description";
      const shown = show(field, value, names);
      return shown ? `set the ${FIELDS[field]} to ${shown}` : `cleared the ${FIELDS[field]}`;
    });
  return parts.length ? parts.join(", ") : "changed it";
}

function show(field: string, value: unknown, names: Names): string {
  if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) return "";
  if (field === "status") return STATUS_NAMES[value as Status] ?? String(value);
  if (field === "priority") return PRIORITY_NAMES[value as number] ?? String(value);
  if (field === "assignee_id") return names.person(value as number);
  if (field === "section_id") return names.section(value as number);
  if (field.endsWith("_at")) return exact(new Date(value as string));
  if (Array.isArray(value)) return value.join(", ");
  return `“${String(value)}”`;
}

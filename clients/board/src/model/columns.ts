import type { Section, Task } from "task-manager-client";
import { STATUS_NAMES, STATUSES, type Status } from "./tasks.js";

/** A column of a board: a section, what is in none, or a status where a project has no sections. */
export interface Column {
  key: string;
  name: string;
  section: Section | undefined;
  sectionId: number | null | undefined;
  status: Status | undefined;
}

/** Where a card is put: into a column, next to another card or at an end. */
export type Place = { column: Column } & ({ before: number } | { after: number } | { at: "top" | "bottom" });

/** The columns of a project, from its sections in order. */
export function columnsOf(sections: Section[]): Column[] {
  if (sections.length === 0) {
    return STATUSES.map((status) => ({
      key: `status:${status}`,
      name: STATUS_NAMES[status],
      section: undefined,
      sectionId: undefined,
      status,
    }));
  }
  const none: Column = { key: "section:none", name: "No section", section: undefined, sectionId: null, status: undefined };
  return [
    none,
    ...sections.map((section) => ({
      key: `section:${section.id}`,
      name: section.name,
      section,
      sectionId: section.id,
      status: undefined,
    })),
  ];
}

export function isIn(task: Task, column: Column): boolean {
  return column.status === undefined ? task.section_id === column.sectionId : task.status === column.status;
}

/** Cards and sections as people have ordered them. */
export function byPosition(one: Task | Section, other: Task | Section): number {
  return compare(one.position, other.position) || one.id - other.id;
}

/** Say where the card at `index` of a column without it comes to stand. */
export function placeAt(column: Column, others: Task[], index: number): Place {
  const before = others[index];
  const after = others[index - 1];
  if (after) return { column, after: after.id };
  if (before) return { column, before: before.id };
  return { column, at: "bottom" };
}

// Positions are compared byte by byte, as the server does.
function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

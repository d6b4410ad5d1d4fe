import type { Task } from "task-manager-client";
import { byPosition, type Column, isIn, type Place } from "./columns.js";

/** Moves that were made here, by task, each until the version of the task that has it. */
export type Pending = ReadonlyMap<number, { place: Place; until: number }>;

/** Fill the columns with tasks, those that are being moved where they are put. */
export function fill(columns: Column[], tasks: Task[], pending: Pending): Map<string, Task[]> {
  const moving: Task[] = [];
  const filled = new Map<string, Task[]>(columns.map((column) => [column.key, []]));
  for (const task of tasks) {
    if (task.version < (pending.get(task.id)?.until ?? 0)) moving.push(task);
    else {
      const column = columns.find((one) => isIn(task, one));
      if (column) filled.get(column.key)?.push(task);
    }
  }
  for (const cards of filled.values()) cards.sort(byPosition);
  for (const task of moving) {
    const place = pending.get(task.id)?.place;
    const cards = place && filled.get(place.column.key);
    if (place && cards) cards.splice(indexOf(place, cards), 0, task);
  }
  return filled;
}

function indexOf(place: Place, cards: Task[]): number {
  const find = (id: number) => cards.findIndex((card) => card.id === id);
  if ("after" in place) return find(place.after) + 1 || cards.length;
  if ("before" in place) return Math.max(find(place.before), 0);
  return place.at === "top" ? 0 : cards.length;
}

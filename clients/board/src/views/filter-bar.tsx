import { useMemo } from "preact/hooks";
import type { Task } from "task-manager-client";
import { useMembers } from "../desk.js";
import { type Filters, isFiltered, readFilters } from "../model/filters.js";
import { nameOf } from "../model/people.js";
import { PRIORITIES, PRIORITY_NAMES } from "../model/tasks.js";

interface FilterBarProps {
  projectId: number;
  tasks: Task[];
  filters: Filters;
  found: number;
  onChange: (filters: Filters) => void;
}

/** What a board or list is narrowed to. */
export function FilterBar({ projectId, tasks, filters, found, onChange }: FilterBarProps) {
  const members = useMembers(projectId);
  const tags = useMemo(() => [...new Set(tasks.flatMap((task) => task.tags))].sort(), [tasks]);
  const set = (part: Partial<Filters>) => onChange({ ...filters, ...part });
  return (
    <search class="filter-bar" aria-label="Filter">
      <input
        type="search"
        placeholder="Filter by text"
        aria-label="Text"
        value={filters.text}
        autofocus={!isFiltered(filters)}
        onInput={(event) => set({ text: event.currentTarget.value })}
      />
      <select
        aria-label="Assignee"
        value={String(filters.assignee)}
        onChange={(event) => set({ assignee: readFilters(new URLSearchParams({ assignee: event.currentTarget.value })).assignee })}
      >
        <option value="">Anybody</option>
        <option value="me">Me</option>
        <option value="none">Nobody</option>
        {members.map((member) => (
          <option key={member.user_id} value={String(member.user_id)}>
            {nameOf({ ...member, id: member.user_id })}
          </option>
        ))}
      </select>
      <select aria-label="Due" value={filters.due} onChange={(event) => set({ due: event.currentTarget.value as Filters["due"] })}>
        <option value="">Due at any time</option>
        <option value="overdue">Overdue</option>
        <option value="today">Today</option>
        <option value="week">This week</option>
        <option value="none">Without a date</option>
      </select>
      <select aria-label="Priority" value={String(filters.priority)} onChange={(event) => set({ priority: Number(event.currentTarget.value) })}>
        <option value="0">Any priority</option>
        {PRIORITIES.map((priority) => (
          <option key={priority} value={String(priority)}>
            {PRIORITY_NAMES[priority]}
          </option>
        ))}
      </select>
      {(tags.length > 0 || filters.tag) && (
        <select aria-label="Tag" value={filters.tag} onChange={(event) => set({ tag: event.currentTarget.value })}>
          <option value="">Any tag</option>
          {[...new Set([...tags, ...(filters.tag ? [filters.tag] : [])])].map((tag) => (
            <option key={tag} value={tag}>
              {tag}
            </option>
          ))}
        </select>
      )}
      <span class="found" role="status">
        {isFiltered(filters) && `${found} of ${tasks.length}`}
      </span>
      {isFiltered(filters) && (
        <button type="button" class="quiet" onClick={() => onChange(readFilters(new URLSearchParams()))}>
          Clear
        </button>
      )}
    </search>
  );
}

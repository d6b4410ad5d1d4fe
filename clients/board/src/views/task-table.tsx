import { useMemo, useState } from "preact/hooks";
import type { Task } from "task-manager-client";
import { useDesk, useProjects } from "../desk.js";
import { nameOf, type Person } from "../model/people.js";
import { dueOf, isOpen, STATUS_NAMES, STATUSES } from "../model/tasks.js";
import { hrefOf, type Route } from "../routes.js";
import { client } from "../service.js";
import { Avatar } from "../ui/avatar.js";
import { Icon } from "../ui/icons.js";
import { attempt } from "../ui/messages.js";
import { Due, Priority, Tags } from "./card.js";

type Sort = "title" | "status" | "priority" | "due";

const FIRST_ROWS = 100;
const NAMES: Record<Sort, string> = { title: "Title", status: "Status", priority: "Priority", due: "Due" };

interface TaskTableProps {
  tasks: Task[];
  route: Partial<Route>;
  /** Tasks of several projects are shown with the project's name. */
  projectId?: number;
  emptyText: string;
  /** Without a visible head, such as below the heading of a group. */
  isPlain?: boolean;
}

/** Tasks in rows, sorted by a column. */
export function TaskTable({ tasks, route, projectId, emptyText, isPlain = false }: TaskTableProps) {
  const { store } = useDesk();
  const projects = useProjects();
  const [sort, setSort] = useState<{ by: Sort; isDown: boolean }>({ by: "due", isDown: false });
  const [drawn, setDrawn] = useState(FIRST_ROWS);
  const sorted = useMemo(() => [...tasks].sort(orderBy(sort.by, sort.isDown)), [tasks, sort]);

  if (tasks.length === 0) return <p class="empty">{emptyText}</p>;

  const personOf = (task: Task): Person | undefined => {
    const member = task.assignee_id === null ? undefined : store.get("member", task.assignee_id, task.project_id);
    return member && { ...member, id: member.user_id };
  };
  const toggle = (task: Task) => {
    const status = task.status === "completed" ? "pending" : "completed";
    void attempt(client.update("task", task, { status }).then((changed) => store.put("task", changed)));
  };
  const column = (name: string, kind: string) => (
    <th class={kind}>
      <span class={isPlain ? "unseen" : ""}>{name}</span>
    </th>
  );
  const head = (by: Sort) =>
    isPlain ? (
      column(NAMES[by], by)
    ) : (
      <th class={by} aria-sort={sort.by === by ? (sort.isDown ? "descending" : "ascending") : undefined}>
        <button type="button" class="quiet" onClick={() => setSort({ by, isDown: sort.by === by && !sort.isDown })}>
          {NAMES[by]}
        </button>
      </th>
    );
  return (
    <div class="table-frame">
      <table class={isPlain ? "tasks plain-head" : "tasks"}>
        <thead>
          <tr>
            <th class="done">
              <span class="unseen">Done</span>
            </th>
            {head("title")}
            {projectId === undefined && column("Project", "extra")}
            {head("status")}
            {head("priority")}
            {head("due")}
            {column("Assignee", "extra")}
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, drawn).map((task) => {
            const project = projects.find((one) => one.id === task.project_id);
            const assignee = personOf(task);
            const canWrite = project !== undefined && project.role !== "viewer" && !project.archived;
            return (
              <tr key={task.id} class={isOpen(task) ? "" : "closed"}>
                <td>
                  <button
                    type="button"
                    class="tick"
                    role="checkbox"
                    aria-checked={task.status === "completed"}
                    aria-label={`Done: ${task.title}`}
                    disabled={!canWrite}
                    onClick={() => toggle(task)}
                  >
                    <Icon name="check" />
                  </button>
                </td>
                <td class="title">
                  <a href={hrefOf({ ...route, taskId: task.id })}>{task.title}</a>
                  {task.tags.length > 0 && <Tags tags={task.tags} />}
                </td>
                {projectId === undefined && <td class="extra">{project?.name}</td>}
                <td class="status">
                  <span class={`chip status ${task.status}`}>{STATUS_NAMES[task.status]}</span>
                </td>
                <td class="priority">
                  <Priority task={task} />
                </td>
                <td>
                  <Due task={task} />
                </td>
                <td class="extra">
                  {assignee && (
                    <span class="person">
                      <Avatar person={assignee} named />
                      {nameOf(assignee)}
                    </span>
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {drawn < sorted.length && (
        <button type="button" class="quiet add" onClick={() => setDrawn(drawn + FIRST_ROWS)}>
          Show more ({sorted.length - drawn})
        </button>
      )}
    </div>
  );
}

function orderBy(by: Sort, isDown: boolean): (one: Task, other: Task) => number {
  const sign = isDown ? -1 : 1;
  return (one, other) => {
    if (by === "due") {
      const [mine, theirs] = [dueOf(one)?.at.getTime(), dueOf(other)?.at.getTime()];
      if (mine !== theirs) return mine === undefined ? 1 : theirs === undefined ? -1 : sign * (mine - theirs);
    } else if (by === "title") {
      const order = one.title.localeCompare(other.title);
      if (order) return sign * order;
    } else {
      const rank = (task: Task) => (by === "priority" ? -task.priority : STATUSES.indexOf(task.status));
      if (rank(one) !== rank(other)) return sign * (rank(one) - rank(other));
    }
    return other.priority - one.priority || one.id - other.id;
  };
}

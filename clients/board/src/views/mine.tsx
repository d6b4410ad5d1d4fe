import { useEffect, useMemo, useState } from "preact/hooks";
import type { Task } from "task-manager-client";
import { useDesk, useProjects, useTasks } from "../desk.js";
import { daysBetween } from "../model/dates.js";
import { dueOf, isOpen } from "../model/tasks.js";
import { createTask } from "../tasks.js";
import { Icon } from "../ui/icons.js";
import { attempt } from "../ui/messages.js";
import { TaskTable } from "./task-table.js";

const GROUPS = ["Overdue", "Today", "This week", "Later", "Without a date"] as const;

/** What the user has to do, in all projects, by when it is due. */
export function Mine() {
  const { user, store } = useDesk();
  const projects = useProjects();
  const tasks = useTasks();
  const [title, setTitle] = useState("");
  const inbox = projects.find((project) => project.personal);

  useEffect(() => {
    document.title = "My tasks · Tasks";
  }, []);

  const groups = useMemo(() => {
    const active = new Set(projects.filter((project) => !project.archived).map((project) => project.id));
    const isMine = (task: Task) => task.assignee_id === user.id || (task.assignee_id === null && task.project_id === inbox?.id);
    const found = new Map<string, Task[]>(GROUPS.map((group) => [group, []]));
    const now = new Date();
    for (const task of tasks) {
      if (isOpen(task) && active.has(task.project_id) && isMine(task)) found.get(groupOf(task, now))?.push(task);
    }
    return found;
  }, [tasks, projects, user.id, inbox?.id]);
  const total = [...groups.values()].reduce((sum, group) => sum + group.length, 0);

  async function add(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const text = title.trim();
    if (!text || !inbox) return;
    setTitle("");
    if (!(await attempt(createTask(inbox.id, text).then((task) => store.put("task", task))))) setTitle(text);
  }

  return (
    <>
      <header class="page-head">
        <div class="page-title">
          <h1>My tasks</h1>
          <span class="count">{total}</span>
        </div>
      </header>
      <div class="narrow">
        <form class="add-line" onSubmit={(event) => void add(event)}>
          <Icon name="plus" />
          <input
            value={title}
            onInput={(event) => setTitle(event.currentTarget.value)}
            maxLength={200}
            placeholder="Add a task to your Inbox"
            aria-label="New task in your Inbox"
          />
          <button class="primary" disabled={!title.trim()}>
            Add
          </button>
        </form>
        {total === 0 && (
          <div class="empty">
            <h2>Nothing waits for you</h2>
            <p>Tasks that are assigned to you, and those of your Inbox, are listed here by their due date.</p>
          </div>
        )}
        {GROUPS.map((group) => {
          const list = groups.get(group) ?? [];
          return (
            list.length > 0 && (
              <section key={group} class="group">
                <h2 class={group === "Overdue" ? "overdue" : ""}>
                  {group} <span class="count">{list.length}</span>
                </h2>
                <TaskTable tasks={list} route={{ page: "mine" }} emptyText="" isPlain />
              </section>
            )
          );
        })}
      </div>
    </>
  );
}

function groupOf(task: Task, now: Date): (typeof GROUPS)[number] {
  const due = dueOf(task)?.at;
  if (!due) return "Without a date";
  if (due < now) return "Overdue";
  const days = daysBetween(now, due);
  if (days === 0) return "Today";
  return days < 7 ? "This week" : "Later";
}

import { memo } from "preact/compat";
import type { Task } from "task-manager-client";
import { exact, shortDue, urgencyOf } from "../model/dates.js";
import type { Person } from "../model/people.js";
import { dueOf, isOpen, PRIORITY_NAMES, STATUS_NAMES } from "../model/tasks.js";
import { Avatar } from "../ui/avatar.js";
import { Icon } from "../ui/icons.js";

interface CardProps {
  task: Task;
  href: string;
  assignee: Person | undefined;
  comments: number;
  isLifted: boolean;
  isFixed: boolean;
  showsStatus: boolean;
}

/** A task on the board. */
export const Card = memo(function Card({ task, href, assignee, comments, isLifted, isFixed, showsStatus }: CardProps) {
  return (
    <a
      href={href}
      class={`card${isLifted ? " lifted" : ""}${isOpen(task) ? "" : " closed"}`}
      data-card={task.id}
      data-fixed={isFixed ? "" : undefined}
      data-priority={task.priority}
      draggable={false}
      aria-describedby={isFixed ? undefined : "card-help"}
    >
      <span class="card-title">{task.title}</span>
      {task.tags.length > 0 && <Tags tags={task.tags} />}
      <span class="card-foot">
        <Priority task={task} />
        {showsStatus && <Progress task={task} />}
        <Due task={task} />
        {comments > 0 && (
          <span class="chip bare">
            <Icon name="comment" />
            {comments}
            <span class="unseen">{comments === 1 ? " comment" : " comments"}</span>
          </span>
        )}
        <span class="spring" />
        {assignee && <Avatar person={assignee} />}
      </span>
    </a>
  );
});

/** A status that the column does not say; what is open needs no words. */
function Progress({ task }: { task: Task }) {
  const name = STATUS_NAMES[task.status];
  if (task.status === "pending") return null;
  if (task.status !== "in_progress") return <span class={`chip status ${task.status}`}>{name}</span>;
  return (
    <span class="chip bare progress" title={name}>
      <span class="unseen">{name}</span>
    </span>
  );
}

export function Tags({ tags }: { tags: string[] }) {
  return (
    <span class="tags">
      {tags.map((tag) => (
        <span class="tag" key={tag}>
          {tag}
        </span>
      ))}
    </span>
  );
}

export function Priority({ task }: { task: Task }) {
  if (task.priority <= 1) return null;
  const name = PRIORITY_NAMES[task.priority];
  return (
    <span class="chip bare priority" data-priority={task.priority} title={`${name} priority`}>
      <Icon name="flag" />
      <span class="unseen">{name} priority</span>
    </span>
  );
}

export function Due({ task }: { task: Task }) {
  const due = dueOf(task);
  if (!due) return null;
  const urgency = isOpen(task) ? urgencyOf(due.at) : "later";
  return (
    <time class={`chip due ${urgency}`} dateTime={due.at.toISOString()} title={exact(due.at)}>
      <Icon name="calendar" />
      {urgency === "overdue" && <span class="unseen">Overdue: </span>}
      {shortDue(due.at, due.hasTime)}
    </time>
  );
}

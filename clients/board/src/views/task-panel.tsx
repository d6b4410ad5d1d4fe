import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, ConflictError, type Task, type TaskChange } from "task-manager-client";
import { useChanges, useDesk, useMembers, useProjects, useSections } from "../desk.js";
import { ago, exact } from "../model/dates.js";
import { nameOf } from "../model/people.js";
import { PRIORITIES, PRIORITY_NAMES, STATUS_NAMES, STATUSES, type Status } from "../model/tasks.js";
import { client } from "../service.js";
import { deleteTask } from "../tasks.js";
import { Dialog } from "../ui/dialog.js";
import { Field } from "../ui/field.js";
import { Icon } from "../ui/icons.js";
import { Menu } from "../ui/menu.js";
import { attempt, reasonOf, say, sayError } from "../ui/messages.js";
import { Activity } from "./activity.js";
import { Comments } from "./comments.js";
import { Conflict } from "./conflict.js";
import { DueField } from "./due-field.js";
import { TagField } from "./tag-field.js";

interface TaskPanelProps {
  taskId: number;
  known: Task | undefined;
  onClose: () => void;
}

/** A task with all that belongs to it, at the side of the page. */
export function TaskPanel({ taskId, known, onClose }: TaskPanelProps) {
  const { store } = useDesk();
  useChanges(["task"]);
  const [read, setRead] = useState(known);
  const [fault, setFault] = useState("");
  const copied = store.get("task", taskId);
  const wasCopied = useRef(known !== undefined);
  if (copied) wasCopied.current = true;
  const isGone = wasCopied.current && !copied;
  const task = copied ?? read;

  useEffect(() => {
    if (known) return;
    client.get("/api/v1/tasks/{task_id}", { path: { task_id: taskId } }).then(
      (found) => {
        store.put("task", found);
        setRead(found);
      },
      (error: unknown) => setFault(error instanceof ApiError && error.status === 404 ? "This task was deleted, or you may not see it." : reasonOf(error)),
    );
  }, [taskId]);

  if (isGone || fault || !task) {
    return (
      <Dialog kind="panel" title={fault || isGone ? "Not here" : "Loading…"} onClose={onClose}>
        {fault || isGone ? <p>{fault || "Somebody has deleted this task."}</p> : <div class="ghost-rows" aria-busy="true" />}
      </Dialog>
    );
  }
  return <OpenTask task={task} onClose={onClose} />;
}

function OpenTask({ task, onClose }: { task: Task; onClose: () => void }) {
  const { store } = useDesk();
  const projects = useProjects();
  const members = useMembers(task.project_id);
  const sections = useSections(task.project_id);
  const [conflict, setConflict] = useState<ConflictError<Task, TaskChange>>();
  const [tab, setTab] = useState<"comments" | "activity">("comments");
  const project = projects.find((one) => one.id === task.project_id);
  // What the last change was answered, so that changes of one person do not contradict each other.
  const last = useRef<Promise<Task | undefined>>(Promise.resolve(undefined));
  const canWrite = project !== undefined && project.role !== "viewer" && !project.archived;

  /** Change fields, one change after the other, from the row that the user saw. Returns whether nothing is lost. */
  function change(changes: TaskChange | ((row: Task) => TaskChange), base = task): Promise<boolean> {
    const made = last.current.then((answered) => make(changes, answered && answered.version > base.version ? answered : base));
    last.current = made.then(({ answered }) => answered);
    return made.then(({ isKept }) => isKept);
  }

  async function make(changes: TaskChange | ((row: Task) => TaskChange), base: Task): Promise<{ answered?: Task; isKept: boolean }> {
    try {
      const answered = await client.update("task", base, typeof changes === "function" ? changes(base) : changes, { notify: true });
      store.put("task", answered);
      return { answered, isKept: true };
    } catch (error) {
      if (error instanceof ConflictError) {
        const found = error as unknown as ConflictError<Task, TaskChange>;
        store.put("task", found.theirs);
        setConflict(found);
        return { isKept: true };
      }
      sayError(error);
      return { isKept: false };
    }
  }

  async function remove(): Promise<void> {
    if (await attempt(deleteTask(task))) {
      say(`Deleted “${task.title}”.`);
      onClose();
    }
  }

  const targets = projects.filter((one) => !one.archived && one.role !== "viewer");
  return (
    <Dialog
      kind="panel"
      title={project?.name ?? "Task"}
      onClose={onClose}
      actions={
        canWrite && (
          <Menu label="More of this task" items={[{ label: "Delete this task", onSelect: () => void remove(), danger: true }]}>
            <Icon name="more" />
          </Menu>
        )
      }
    >
      <TextField
        label="Title"
        value={task.title}
        version={task.version}
        maxLength={200}
        isTitle
        disabled={!canWrite}
        onSave={(title) => (title.trim() ? change({ title }, task) : Promise.resolve(true))}
      />
      <div class="fields">
        <Field name="Status">
          <select value={task.status} disabled={!canWrite} onChange={(event) => void change({ status: event.currentTarget.value as Status })}>
            {STATUSES.map((status) => (
              <option key={status} value={status}>
                {STATUS_NAMES[status]}
              </option>
            ))}
          </select>
        </Field>
        {sections.length > 0 && (
          <Field name="Column">
            <select
              value={String(task.section_id ?? "")}
              disabled={!canWrite}
              onChange={(event) => void change({ section_id: Number(event.currentTarget.value) || null })}
            >
              <option value="">No section</option>
              {sections.map((section) => (
                <option key={section.id} value={String(section.id)}>
                  {section.name}
                </option>
              ))}
            </select>
          </Field>
        )}
        <Field name="Assignee">
          <select
            value={String(task.assignee_id ?? "")}
            disabled={!canWrite}
            onChange={(event) => void change({ assignee_id: Number(event.currentTarget.value) || null })}
          >
            <option value="">Nobody</option>
            {members.map((member) => (
              <option key={member.user_id} value={String(member.user_id)}>
                {nameOf({ ...member, id: member.user_id })}
              </option>
            ))}
          </select>
        </Field>
        <Field name="Priority">
          <select
            value={String(task.priority)}
            disabled={!canWrite}
            onChange={(event) => void change({ priority: Number(event.currentTarget.value) })}
          >
            {PRIORITIES.map((priority) => (
              <option key={priority} value={String(priority)}>
                {PRIORITY_NAMES[priority]}
              </option>
            ))}
          </select>
        </Field>
        <DueField task={task} disabled={!canWrite} onChange={(due) => void change(due)} />
        <TagField task={task} disabled={!canWrite} onChange={(edit) => void change((row) => ({ tags: edit(row.tags) }))} />
        {canWrite && targets.length > 1 && (
          <Field name="Project">
            <select
              value={String(task.project_id)}
              onChange={(event) => void change({ project_id: Number(event.currentTarget.value) } as TaskChange)}
            >
              {targets.map((one) => (
                <option key={one.id} value={String(one.id)}>
                  {one.name}
                </option>
              ))}
            </select>
          </Field>
        )}
      </div>
      <TextField
        label="Description"
        value={task.description ?? ""}
        version={task.version}
        maxLength={2000}
        disabled={!canWrite}
        onSave={(description) => change({ description: description || null }, task)}
      />
      <div class="tabs" role="tablist" aria-label="More of this task">
        {(["comments", "activity"] as const).map((name) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`tab-${name}`}
            aria-selected={tab === name}
            aria-controls={`panel-${name}`}
            onClick={() => setTab(name)}
          >
            {name === "comments" ? "Comments" : "Activity"}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`panel-${tab}`} aria-labelledby={`tab-${tab}`}>
        {tab === "comments" ? <Comments task={task} canWrite={canWrite} role={project?.role} /> : <Activity task={task} />}
      </div>
      <p class="stamp" title={exact(new Date(task.created_at))}>
        Created {ago(new Date(task.created_at))}, changed {ago(new Date(task.updated_at))}
      </p>
      {conflict && (
        <Conflict
          conflict={conflict}
          members={members}
          onClose={() => setConflict(undefined)}
          onKeepMine={() => {
            setConflict(undefined);
            void change(conflict.mine, conflict.theirs);
          }}
        />
      )}
    </Dialog>
  );
}

interface TextFieldProps {
  label: string;
  value: string;
  version: number;
  maxLength: number;
  isTitle?: boolean;
  disabled: boolean;
  /** Save it; the text stays in the field if that failed. */
  onSave: (text: string) => Promise<boolean>;
}

/** A text that is saved when it is left; what others change meanwhile does not overwrite what is being typed. */
function TextField({ label, value, maxLength, isTitle = false, disabled, onSave }: TextFieldProps) {
  const [draft, setDraft] = useState<{ text: string; onSave: TextFieldProps["onSave"]; before: string }>();
  const isSaving = useRef(false);
  const text = draft?.text ?? value;

  async function leave(): Promise<void> {
    if (!draft || isSaving.current) return;
    isSaving.current = true;
    // As it was when the typing began, so that a change by somebody else in between is a conflict.
    const isSaved = draft.text === draft.before || (await draft.onSave(draft.text));
    isSaving.current = false;
    if (isSaved) setDraft((now) => (now === draft ? undefined : now));
  }

  return (
    <textarea
      class={isTitle ? "title-input" : "text-input"}
      aria-label={label}
      placeholder={isTitle ? "Title" : "Add a description"}
      rows={isTitle ? 1 : 3}
      maxLength={maxLength}
      disabled={disabled}
      value={text}
      onInput={(event) => setDraft({ text: event.currentTarget.value, onSave: draft?.onSave ?? onSave, before: draft?.before ?? value })}
      onBlur={() => void leave()}
      onKeyDown={(event) => {
        if (event.key === "Escape" && draft) {
          event.stopPropagation();
          event.preventDefault();
          setDraft(undefined);
        } else if (event.key === "Enter" && !event.isComposing && (isTitle || event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          event.currentTarget.blur();
        }
      }}
    />
  );
}

import type { Project, Section } from "task-manager-client";
import { useDesk, useMembers } from "../desk.js";
import { columnsOf } from "../model/columns.js";
import { nameOf } from "../model/people.js";
import { PRIORITIES, PRIORITY_NAMES } from "../model/tasks.js";
import { client } from "../service.js";
import { Dialog } from "../ui/dialog.js";
import { Field } from "../ui/field.js";
import { attempt } from "../ui/messages.js";

/** A new task with all its fields. */
export function NewTask({ project, sections, onClose }: { project: Project; sections: Section[]; onClose: () => void }) {
  const { store } = useDesk();
  const members = useMembers(project.id);
  const columns = columnsOf(sections);

  async function create(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? "").trim();
    const column = columns.find((one) => one.key === text("column"));
    const task = await client.post("/api/v1/projects/{project_id}/tasks", {
      path: { project_id: project.id },
      body: {
        title: text("title"),
        description: text("description") || null,
        priority: Number(text("priority")),
        assignee_id: Number(text("assignee")) || null,
        ...(text("due") && { due_on: text("due") }),
        ...(column?.status && { status: column.status }),
        ...(column?.sectionId && { section_id: column.sectionId }),
      },
    });
    store.put("task", task);
    onClose();
  }

  return (
    <Dialog title="New task" onClose={onClose}>
      <form class="form" onSubmit={(event) => void attempt(create(event))}>
        <Field name="Title">
          <input name="title" required maxLength={200} autofocus />
        </Field>
        <Field name="Description">
          <textarea name="description" rows={3} maxLength={2000} />
        </Field>
        <div class="fields">
          <Field name="Column">
            <select name="column">
              {columns.map((column, at) => (
                <option key={column.key} value={column.key} selected={at === Math.min(sections.length, 1)}>
                  {column.name}
                </option>
              ))}
            </select>
          </Field>
          <Field name="Assignee">
            <select name="assignee">
              <option value="">Nobody</option>
              {members.map((member) => (
                <option key={member.user_id} value={String(member.user_id)}>
                  {nameOf({ ...member, id: member.user_id })}
                </option>
              ))}
            </select>
          </Field>
          <Field name="Priority">
            <select name="priority" defaultValue="1">
              {PRIORITIES.map((priority) => (
                <option key={priority} value={String(priority)} selected={priority === 1}>
                  {PRIORITY_NAMES[priority]}
                </option>
              ))}
            </select>
          </Field>
          <Field name="Due">
            <input type="date" name="due" />
          </Field>
        </div>
        <p class="form-end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary">Create task</button>
        </p>
      </form>
    </Dialog>
  );
}

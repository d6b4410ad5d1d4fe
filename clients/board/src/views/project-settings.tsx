import { useState } from "preact/hooks";
import type { Project } from "task-manager-client";
import { useDesk } from "../desk.js";
import { go } from "../routes.js";
import { client } from "../service.js";
import { Dialog } from "../ui/dialog.js";
import { Field } from "../ui/field.js";
import { attempt, say } from "../ui/messages.js";

/** Name and description of a project, and its end. */
export function ProjectSettings({ project, onClose }: { project: Project; onClose: () => void }) {
  const { store } = useDesk();
  const [name, setName] = useState("");

  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const change = { name: String(form.get("name")), description: String(form.get("description")) || null };
    store.put("project", await client.update("project", project, change));
    onClose();
  }

  async function remove(): Promise<void> {
    await client.delete("/api/v1/projects/{project_id}", { path: { project_id: project.id } });
    say(`Deleted “${project.name}”.`);
    onClose();
    go({ page: "mine" });
  }

  return (
    <Dialog title="Project" onClose={onClose}>
      <form class="form" onSubmit={(event) => void attempt(save(event))}>
        <Field name="Name">
          <input name="name" required maxLength={100} defaultValue={project.name} autofocus />
        </Field>
        <Field name="Description">
          <textarea name="description" rows={4} maxLength={2000} defaultValue={project.description ?? ""} />
        </Field>
        <p class="form-end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary">Save</button>
        </p>
      </form>
      <details class="danger-zone">
        <summary>Delete this project</summary>
        <p>The project is deleted for everybody, with all of its tasks and comments. This cannot be undone.</p>
        <Field name={`Write ${project.name} to confirm`}>
          <input value={name} onInput={(event) => setName(event.currentTarget.value)} autoComplete="off" />
        </Field>
        <button type="button" class="danger" disabled={name !== project.name} onClick={() => void attempt(remove())}>
          Delete the project
        </button>
      </details>
    </Dialog>
  );
}

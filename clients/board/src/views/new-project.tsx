import { client } from "../service.js";
import { useDesk } from "../desk.js";
import { go } from "../routes.js";
import { Dialog } from "../ui/dialog.js";
import { Field } from "../ui/field.js";
import { attempt } from "../ui/messages.js";

export function NewProject({ onClose }: { onClose: () => void }) {
  const { store } = useDesk();

  async function create(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const project = await client.post("/api/v1/projects", {
      body: { name: String(form.get("name")), description: String(form.get("description")) || null },
    });
    store.put("project", project);
    onClose();
    go({ page: "project", projectId: project.id });
  }

  return (
    <Dialog title="New project" onClose={onClose}>
      <form class="form" onSubmit={(event) => void attempt(create(event))}>
        <Field name="Name">
          <input name="name" required maxLength={100} autofocus />
        </Field>
        <Field name="Description">
          <textarea name="description" rows={3} maxLength={2000} />
        </Field>
        <p class="form-end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary">Create project</button>
        </p>
      </form>
    </Dialog>
  );
}

import type { Member, Project } from "task-manager-client";
import { useDesk, useMembers } from "../desk.js";
import { nameOf } from "../model/people.js";
import { go } from "../routes.js";
import { client } from "../service.js";
import { Avatar } from "../ui/avatar.js";
import { Dialog } from "../ui/dialog.js";
import { Field } from "../ui/field.js";
import { Icon } from "../ui/icons.js";
import { attempt } from "../ui/messages.js";

type Role = Member["role"];

const ROLES: Record<Role, string> = { owner: "Owner", editor: "May edit", viewer: "May look" };

/** Who is in a project, and what they may do. */
export function Sharing({ project, onClose }: { project: Project; onClose: () => void }) {
  const { store, user } = useDesk();
  const members = useMembers(project.id);
  const isOwner = project.role === "owner";

  async function add(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const values = new FormData(form);
    const who = String(values.get("who")).trim();
    const role = values.get("role") as Role;
    const person = /.@./.test(who) ? { email: who } : { username: who.replace(/^@/, "") };
    const member = await client.post("/api/v1/projects/{project_id}/members", { path: { project_id: project.id }, body: { ...person, role } });
    store.put("member", member, project.id);
    form.reset();
  }

  async function setRole(member: Member, role: Role): Promise<void> {
    const path = { project_id: project.id, user_id: member.user_id };
    const changed = await client.put("/api/v1/projects/{project_id}/members/{user_id}", { path, body: { role } });
    store.put("member", changed, project.id);
  }

  async function remove(member: Member): Promise<void> {
    await client.delete("/api/v1/projects/{project_id}/members/{user_id}", { path: { project_id: project.id, user_id: member.user_id } });
    if (member.user_id === user.id) {
      onClose();
      go({ page: "mine" });
    }
  }

  const options = Object.entries(ROLES).map(([role, name]) => (
    <option key={role} value={role}>
      {name}
    </option>
  ));
  return (
    <Dialog title={`People of ${project.name}`} onClose={onClose}>
      {isOwner && (
        <form class="invite" onSubmit={(event) => void attempt(add(event))}>
          <Field name="User name or e-mail">
            <input name="who" required autofocus autoCapitalize="none" autoComplete="off" spellcheck={false} />
          </Field>
          <Field name="Role">
            <select name="role" defaultValue="editor">
              {options}
            </select>
          </Field>
          <button class="primary">Add</button>
        </form>
      )}
      <ul class="plain members">
        {members.map((member) => {
          const person = { ...member, id: member.user_id };
          const isMe = member.user_id === user.id;
          return (
            <li key={member.user_id}>
              <Avatar person={person} named />
              <span class="member-name">
                {nameOf(person)}
                {isMe && " (you)"}
                {nameOf(person) !== member.username && <small>@{member.username}</small>}
              </span>
              {isOwner ? (
                <select
                  aria-label={`Role of ${nameOf(person)}`}
                  value={member.role}
                  onChange={(event) => void attempt(setRole(member, event.currentTarget.value as Role))}
                >
                  {options}
                </select>
              ) : (
                <span class="chip">{ROLES[member.role]}</span>
              )}
              {(isOwner || isMe) && (
                <button
                  type="button"
                  class="quiet square"
                  aria-label={isMe ? "Leave this project" : `Remove ${nameOf(person)}`}
                  title={isMe ? "Leave this project" : "Remove"}
                  onClick={() => void attempt(remove(member))}
                >
                  <Icon name={isMe ? "logout" : "close"} />
                </button>
              )}
            </li>
          );
        })}
      </ul>
    </Dialog>
  );
}

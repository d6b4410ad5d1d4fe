import type { ConflictError, Member, Task, TaskChange } from "task-manager-client";
import { exact } from "../model/dates.js";
import { nameOf } from "../model/people.js";
import { PRIORITY_NAMES, STATUS_NAMES, type Status } from "../model/tasks.js";
import { Dialog } from "../ui/dialog.js";

interface ConflictProps {
  conflict: ConflictError<Task, TaskChange>;
  members: Member[];
  onClose: () => void;
  onKeepMine: () => void;
}

/** Two people changed the same: both versions, and the choice. */
export function Conflict({ conflict, members, onClose, onKeepMine }: ConflictProps) {
  const { mine, theirs, fields } = conflict;
  const show = (field: string, value: unknown): string => {
    if (value === null || value === undefined || value === "") return "nothing";
    if (field === "status") return STATUS_NAMES[value as Status];
    if (field === "priority") return PRIORITY_NAMES[value as number] ?? String(value);
    if (field === "assignee_id") {
      const member = members.find((one) => one.user_id === value);
      return member ? nameOf({ ...member, id: member.user_id }) : "somebody";
    }
    if (field.endsWith("_at")) return exact(new Date(value as string));
    return Array.isArray(value) ? value.join(", ") : String(value);
  };
  return (
    <Dialog title="Somebody else changed this too" onClose={onClose}>
      <p>While you were editing, another person saved something else. Nothing of it is lost: choose what is to stay.</p>
      {fields.map((field) => (
        <div class="versions" key={field}>
          <h3>{field.replace(/_(id|at|on)$/, "").replace(/^\w/, (letter) => letter.toUpperCase())}</h3>
          <div>
            <h4>Yours</h4>
            <p>{show(field, mine[field])}</p>
          </div>
          <div>
            <h4>Theirs, saved now</h4>
            <p>{show(field, theirs[field as keyof Task])}</p>
          </div>
        </div>
      ))}
      <p class="form-end">
        <button type="button" onClick={onClose}>
          Keep theirs
        </button>
        <button type="button" class="primary" onClick={onKeepMine}>
          Save mine
        </button>
      </p>
    </Dialog>
  );
}

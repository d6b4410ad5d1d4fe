import type { Task, TaskChange } from "task-manager-client";
import { dateInput, timeInput } from "../model/dates.js";
import { dueOf } from "../model/tasks.js";
import { Field } from "../ui/field.js";

interface DueFieldProps {
  task: Task;
  disabled: boolean;
  onChange: (change: TaskChange) => void;
}

/** Whether a date or time is typed completely; browsers speak of a change at every digit of a year. */
function isWhole({ value, validity }: HTMLInputElement): boolean {
  return !validity.badInput && !/^0\d{3}-/.test(value);
}

/** A day, and a time of it if one is named. */
export function DueField({ task, disabled, onChange }: DueFieldProps) {
  const due = dueOf(task);
  const day = due ? dateInput(due.at) : "";
  const time = due?.hasTime ? timeInput(due.at) : "";

  function set(newDay: string, newTime: string): void {
    if (!newDay) onChange({ due_on: null, due_at: null });
    else if (newTime) onChange({ due_at: new Date(`${newDay}T${newTime}`).toISOString(), due_on: null });
    else onChange({ due_on: newDay, due_at: null });
  }

  return (
    <div class="pair">
      <Field name="Due">
        <input type="date" value={day} disabled={disabled} onChange={(event) => isWhole(event.currentTarget) && set(event.currentTarget.value, time)} />
      </Field>
      {day && (!disabled || time) && (
        <Field name="Time">
          <input type="time" value={time} disabled={disabled} onChange={(event) => isWhole(event.currentTarget) && set(day, event.currentTarget.value)} />
        </Field>
      )}
    </div>
  );
}

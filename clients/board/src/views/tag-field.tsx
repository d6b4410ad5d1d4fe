import type { Task } from "task-manager-client";
import { Icon } from "../ui/icons.js";

interface TagFieldProps {
  task: Task;
  disabled: boolean;
  /** What is to become of the tags that the task has when the change is sent. */
  onChange: (edit: (tags: string[]) => string[]) => void;
}

/** The tags of a task; Enter or a comma adds one. */
export function TagField({ task, disabled, onChange }: TagFieldProps) {
  function add(input: HTMLInputElement): void {
    const tags = input.value.split(",").map((tag) => tag.trim()).filter(Boolean);
    input.value = "";
    if (tags.length) onChange((before) => [...new Set([...before, ...tags])]);
  }
  return (
    <div class="field tag-field">
      <span class="field-name" id="tags-name">
        Tags
      </span>
      <div class="tag-box">
        {task.tags.map((tag) => (
          <span class="tag" key={tag}>
            {tag}
            {!disabled && (
              <button type="button" aria-label={`Remove the tag ${tag}`} onClick={() => onChange((before) => before.filter((one) => one !== tag))}>
                <Icon name="close" />
              </button>
            )}
          </span>
        ))}
        {!disabled && (
          <input
            aria-labelledby="tags-name"
            placeholder="Add a tag"
            maxLength={50}
            onKeyDown={(event) => {
              if (event.key === "Enter" || event.key === ",") {
                event.preventDefault();
                add(event.currentTarget);
              }
            }}
            onBlur={(event) => add(event.currentTarget)}
          />
        )}
      </div>
    </div>
  );
}

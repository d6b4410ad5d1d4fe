import type { ComponentChildren } from "preact";

/** A control below its name. */
export function Field({ name, hint, children }: { name: string; hint?: string | undefined; children: ComponentChildren }) {
  return (
    <label class="field">
      <span class="field-name">{name}</span>
      {children}
      {hint && <span class="field-hint">{hint}</span>}
    </label>
  );
}

import { useEffect, useState } from "preact/hooks";
import { ApiError, UnreachableError } from "task-manager-client";
import { Icon } from "./icons.js";

interface Message {
  id: number;
  text: string;
  isError: boolean;
}

const SHOWN_MILLISECONDS = 6000;
const listeners = new Set<(message: Message) => void>();
let last = 0;

/** Show a sentence for some seconds. */
export function say(text: string, isError = false): void {
  for (const listener of listeners) listener({ id: ++last, text, isError });
}

/** Show why something could not be done. */
export function sayError(error: unknown): void {
  say(reasonOf(error), true);
}

/** Return what went wrong, in a sentence for people. */
export function reasonOf(error: unknown): string {
  if (error instanceof ApiError) {
    const [first] = error.problem.errors ?? [];
    return first ? `${String(first.loc.at(-1) ?? "")}: ${first.msg}` : error.problem.detail;
  }
  if (error instanceof UnreachableError) return "The server cannot be reached. Nothing was changed.";
  return error instanceof Error ? error.message : String(error);
}

/** Run something that may be refused, and show why if it is. Returns whether it was done. */
export async function attempt(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    sayError(error);
    return false;
  }
}

export function Messages() {
  const [shown, setShown] = useState<Message[]>([]);
  useEffect(() => {
    const drop = (id: number) => setShown((before) => before.filter((message) => message.id !== id));
    const show = (message: Message) => {
      setShown((before) => [...before.slice(-2), message]);
      setTimeout(() => drop(message.id), SHOWN_MILLISECONDS);
    };
    listeners.add(show);
    return () => void listeners.delete(show);
  }, []);
  return (
    <div class="messages" role="status" aria-live="polite" popover="manual" ref={(element) => keepOnTop(element, shown.length)}>
      {shown.map(({ id, text, isError }) => (
        <p key={id} class={isError ? "message error" : "message"}>
          <span>{text}</span>
          <button
            type="button"
            class="quiet square"
            aria-label="Dismiss"
            onClick={() => setShown((before) => before.filter((message) => message.id !== id))}
          >
            <Icon name="close" />
          </button>
        </p>
      ))}
    </div>
  );
}

/** Shown as a popover, because a modal dialog would cover everything else. */
function keepOnTop(element: HTMLElement | null, count: number): void {
  if (!element?.showPopover) return;
  if (element.matches(":popover-open")) element.hidePopover();
  if (count) element.showPopover();
}

import { useEffect, useRef, useState } from "preact/hooks";
import { client } from "./service.js";
import { useChanges } from "./desk.js";

const listeners = new Set<() => void>();
const AGAIN_MILLISECONDS = 60_000;
const SOON_MILLISECONDS = 1_000;

function look(show: (unread: number) => void): void {
  if (document.visibilityState === "hidden") return;
  client.get("/api/v1/notifications", { query: { unread: true, limit: 1 } }).then(
    (page) => show(page.unread),
    () => undefined, // the number stays as it was
  );
}

/** Have the number of unread notifications looked up again. */
export function inboxChanged(): void {
  for (const listener of listeners) listener();
}

/** How many notifications are unread: asked for again when somebody comments or assigns, and each minute. */
export function useUnread(): number {
  const [unread, setUnread] = useState(0);
  const changes = useChanges(["comment", "task"]);
  const soon = useRef(0);
  useEffect(() => {
    look(setUnread);
    const again = () => look(setUnread);
    const timer = setInterval(again, AGAIN_MILLISECONDS);
    listeners.add(again);
    return () => {
      clearTimeout(soon.current);
      clearInterval(timer);
      listeners.delete(again);
    };
  }, []);
  useEffect(() => {
    // Once a second at most, however often something changes.
    if (changes === 0 || soon.current) return;
    soon.current = setTimeout(() => {
      soon.current = 0;
      look(setUnread);
    }, SOON_MILLISECONDS);
  }, [changes]);
  return unread;
}

import { useEffect, useState } from "preact/hooks";
import { client } from "./service.js";
import { useChanges } from "./desk.js";

const listeners = new Set<() => void>();
const AGAIN_MILLISECONDS = 60_000;

/** Have the number of unread notifications looked up again. */
export function inboxChanged(): void {
  for (const listener of listeners) listener();
}

/** How many notifications are unread: asked for again when somebody comments or assigns, and each minute. */
export function useUnread(): number {
  const [unread, setUnread] = useState(0);
  const changes = useChanges(["comment", "task"]);
  useEffect(() => {
    const look = () => {
      if (document.visibilityState === "hidden") return;
      client.get("/api/v1/notifications", { query: { unread: true, limit: 1 } }).then(
        (page) => setUnread(page.unread),
        () => undefined, // the number stays as it was
      );
    };
    const soon = setTimeout(look, changes ? 1000 : 0);
    const timer = setInterval(look, AGAIN_MILLISECONDS);
    listeners.add(look);
    return () => {
      clearTimeout(soon);
      clearInterval(timer);
      listeners.delete(look);
    };
  }, [changes]);
  return unread;
}

import { useEffect, useState } from "preact/hooks";
import type { Task } from "task-manager-client";
import { useDesk } from "../desk.js";
import { go, type Route } from "../routes.js";
import { client } from "../service.js";
import { Icon } from "../ui/icons.js";
import { TaskTable } from "./task-table.js";

const TYPING_MILLISECONDS = 250;
const MOST = 100;

/** Tasks of all projects by their text; without a network among those that were loaded. */
export function Search({ route }: { route: Route }) {
  const { store } = useDesk();
  const [text, setText] = useState(route.query.get("q") ?? "");
  const [found, setFound] = useState<{ text: string; tasks: Task[]; isLocal: boolean }>();

  useEffect(() => {
    document.title = "Search · Tasks";
  }, []);
  useEffect(() => {
    const wanted = text.trim();
    if (!wanted) {
      setFound(undefined);
      return;
    }
    const stopping = new AbortController();
    const timer = setTimeout(() => {
      go({ page: "search", query: new URLSearchParams({ q: wanted }), taskId: route.taskId }, true);
      client.get("/api/v1/tasks", { query: { search: wanted, limit: MOST }, signal: stopping.signal }).then(
        ({ tasks }) => setFound({ text: wanted, tasks, isLocal: false }),
        () => {
          if (!stopping.signal.aborted) setFound({ text: wanted, tasks: among(store.all("task"), wanted), isLocal: true });
        },
      );
    }, TYPING_MILLISECONDS);
    return () => {
      clearTimeout(timer);
      stopping.abort();
    };
  }, [text, store]);

  return (
    <>
      <header class="page-head">
        <h1 class="unseen">Search</h1>
        <search class="search-line">
          <Icon name="search" />
          <input
            type="search"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            maxLength={100}
            autofocus
            placeholder="Search in titles and descriptions"
            aria-label="Search in titles and descriptions"
          />
        </search>
      </header>
      <div class="narrow" aria-live="polite">
        {!found && <p class="empty">Type what you remember of the task.</p>}
        {found && found.isLocal && <p class="note">The server cannot be reached: these are among the tasks loaded before.</p>}
        {found && (
          <TaskTable tasks={found.tasks} route={{ page: "search", query: route.query }} emptyText={`Nothing has “${found.text}” in it.`} />
        )}
      </div>
    </>
  );
}

function among(tasks: Task[], text: string): Task[] {
  const wanted = text.toLocaleLowerCase();
  return tasks.filter((task) => `${task.title}\n${task.description ?? ""}`.toLocaleLowerCase().includes(wanted)).slice(0, MOST);
}

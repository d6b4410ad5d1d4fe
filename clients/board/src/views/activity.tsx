import { useEffect, useState } from "preact/hooks";
import type { Task } from "task-manager-client";
import { useDesk, useSections } from "../desk.js";
import { type Event, inWords } from "../model/activity.js";
import { ago, exact } from "../model/dates.js";
import { nameOf } from "../model/people.js";
import { client } from "../service.js";
import { Avatar } from "../ui/avatar.js";
import { attempt, reasonOf } from "../ui/messages.js";

/** What happened to a task, newest first. */
export function Activity({ task }: { task: Task }) {
  const { store } = useDesk();
  const sections = useSections(task.project_id);
  const [events, setEvents] = useState<Event[]>();
  const [next, setNext] = useState<string | null>(null);
  const [fault, setFault] = useState("");
  const path = { task_id: task.id };

  useEffect(() => {
    client.get("/api/v1/tasks/{task_id}/activity", { path, query: { limit: 30 } }).then(
      (page) => {
        setEvents(page.events as Event[]);
        setNext(page.next_cursor ?? null);
      },
      (error: unknown) => setFault(reasonOf(error)),
    );
  }, [task.id, task.version]);

  async function more(): Promise<void> {
    const page = await client.get("/api/v1/tasks/{task_id}/activity", { path, query: { limit: 30, ...(next && { cursor: next }) } });
    setEvents((before) => [...(before ?? []), ...(page.events as Event[])]);
    setNext(page.next_cursor ?? null);
  }

  const names = {
    person: (id: number) => {
      const member = store.get("member", id, task.project_id);
      return member ? nameOf({ ...member, id }) : "somebody";
    },
    section: (id: number) => sections.find((section) => section.id === id)?.name ?? "another column",
  };
  if (fault) return <p class="fault">{fault}</p>;
  if (!events) return <div class="ghost-rows" aria-busy="true" role="status" aria-label="Loading" />;
  return (
    <>
      <ol class="plain activity">
        {events.map((event) => (
          <li key={event.id}>
            {event.actor ? <Avatar person={event.actor} named /> : <span class="avatar" />}
            <span>
              <b>{event.actor ? nameOf(event.actor) : "Somebody"}</b> {inWords(event, names)}
            </span>
            <time dateTime={event.created_at} title={exact(new Date(event.created_at))}>
              {ago(new Date(event.created_at))}
            </time>
          </li>
        ))}
      </ol>
      {next && (
        <button type="button" class="quiet add" onClick={() => void attempt(more())}>
          Show older
        </button>
      )}
    </>
  );
}

import { useEffect, useState } from "preact/hooks";
import type { components } from "task-manager-client";
import { inboxChanged, useUnread } from "../inbox.js";
import { ago, exact } from "../model/dates.js";
import { nameOf } from "../model/people.js";
import { go, hrefOf } from "../routes.js";
import { client } from "../service.js";
import { Avatar } from "../ui/avatar.js";
import { attempt, reasonOf } from "../ui/messages.js";

type Notification = components["schemas"]["NotificationRead"];

const WORDS: Record<string, string> = {
  assigned: "assigned you",
  mentioned: "mentioned you in",
  updated: "changed or commented on",
};

/** What others did that concerns the user. */
export function Inbox() {
  const unread = useUnread();
  const [list, setList] = useState<Notification[]>();
  const [next, setNext] = useState<string | null>(null);
  const [fault, setFault] = useState("");

  useEffect(() => {
    document.title = "Notifications · Tasks";
  }, []);
  useEffect(() => {
    client.get("/api/v1/notifications", { query: { limit: 50 } }).then(
      (page) => {
        setList(page.notifications);
        setNext(page.next_cursor ?? null);
        setFault("");
      },
      (error: unknown) => setFault(reasonOf(error)),
    );
  }, [unread]);

  async function more(): Promise<void> {
    const page = await client.get("/api/v1/notifications", { query: { limit: 50, ...(next && { cursor: next }) } });
    setList((before) => [...(before ?? []), ...page.notifications]);
    setNext(page.next_cursor ?? null);
  }

  function open(notification: Notification): void {
    go({ page: "project", projectId: notification.project_id, taskId: notification.task_id });
    if (notification.read_at) return;
    const path = { notification_id: notification.id };
    void attempt(client.post("/api/v1/notifications/{notification_id}/read", { path })).then(inboxChanged);
  }

  const readAll = () => attempt(client.post("/api/v1/notifications/read")).then(inboxChanged);
  return (
    <>
      <header class="page-head">
        <div class="page-title">
          <h1>Notifications</h1>
        </div>
        <span class="spring" />
        <button type="button" onClick={() => void readAll()} disabled={unread === 0}>
          Mark all as read
        </button>
      </header>
      <div class="narrow">
        {fault && <p class="fault">{fault}</p>}
        {!list && !fault && <div class="ghost-rows" aria-busy="true" aria-label="Loading" role="status" />}
        {list?.length === 0 && (
          <div class="empty">
            <h2>Nothing new</h2>
            <p>Here you see who assigned you, mentioned you or commented on your tasks.</p>
          </div>
        )}
        <ul class="plain notifications">
          {list?.map((notification) => (
            <li key={notification.id} class={notification.read_at ? "" : "unread"}>
              <a
                href={hrefOf({ page: "project", projectId: notification.project_id, taskId: notification.task_id })}
                onClick={(event) => {
                  event.preventDefault();
                  open(notification);
                }}
              >
                {notification.actor ? <Avatar person={notification.actor} named /> : <span class="avatar" />}
                <span>
                  {!notification.read_at && <span class="unseen">Unread: </span>}
                  <b>{notification.actor ? nameOf(notification.actor) : "Somebody"}</b> {WORDS[notification.kind] ?? notification.kind} <q>{notification.task_title}</q>
                </span>
                <time dateTime={notification.created_at} title={exact(new Date(notification.created_at))}>
                  {ago(new Date(notification.created_at))}
                </time>
              </a>
            </li>
          ))}
        </ul>
        {next && (
          <button type="button" class="quiet add" onClick={() => void attempt(more())}>
            Show older ones
          </button>
        )}
      </div>
    </>
  );
}

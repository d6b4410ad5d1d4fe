import { useMemo, useState } from "preact/hooks";
import type { Comment, Project, Task } from "task-manager-client";
import { useChanges, useDesk } from "../desk.js";
import { ago, exact } from "../model/dates.js";
import { nameOf } from "../model/people.js";
import { client } from "../service.js";
import { Avatar } from "../ui/avatar.js";
import { Icon } from "../ui/icons.js";
import { Menu } from "../ui/menu.js";
import { attempt } from "../ui/messages.js";

interface CommentsProps {
  task: Task;
  canWrite: boolean;
  role: Project["role"] | undefined;
}

/** What people said about a task, oldest first. */
export function Comments({ task, canWrite, role }: CommentsProps) {
  const { store, user } = useDesk();
  const changes = useChanges(["comment"], task.project_id);
  const [text, setText] = useState("");
  const comments = useMemo(
    () =>
      store
        .all("comment", task.project_id)
        .filter((comment) => comment.task_id === task.id)
        .sort((one, other) => one.id - other.id),
    [store, changes, task.id, task.project_id],
  );

  async function send(): Promise<void> {
    const body = text.trim();
    if (!body) return;
    setText("");
    const path = { task_id: task.id };
    const sent = client.post("/api/v1/tasks/{task_id}/comments", { path, body: { body } }).then((comment) => store.put("comment", comment));
    if (!(await attempt(sent))) setText(body);
  }

  return (
    <div class="comments">
      {comments.length === 0 && <p class="quiet-text">No comments yet.</p>}
      <ol class="plain" aria-live="polite">
        {comments.map((comment) => (
          <OneComment
            key={comment.id}
            comment={comment}
            canEdit={canWrite && comment.author?.id === user.id}
            canDelete={canWrite && (comment.author?.id === user.id || role === "owner")}
          />
        ))}
      </ol>
      {canWrite && (
        <form
          class="comment-form"
          onSubmit={(event) => {
            event.preventDefault();
            void send();
          }}
        >
          <textarea
            rows={2}
            maxLength={2000}
            value={text}
            placeholder="Write a comment; @name tells that person"
            aria-label="New comment"
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void send();
            }}
          />
          <p class="form-end">
            <button class="primary" disabled={!text.trim()}>
              Comment
            </button>
          </p>
        </form>
      )}
    </div>
  );
}

function OneComment({ comment, canEdit, canDelete }: { comment: Comment; canEdit: boolean; canDelete: boolean }) {
  const { store } = useDesk();
  const [draft, setDraft] = useState<string>();
  const path = { task_id: comment.task_id, comment_id: comment.id };
  const items = [
    ...(canEdit ? [{ label: "Edit", onSelect: () => setDraft(comment.body) }] : []),
    ...(canDelete
      ? [
          {
            label: "Delete",
            danger: true,
            onSelect: () => void attempt(client.delete("/api/v1/tasks/{task_id}/comments/{comment_id}", { path })),
          },
        ]
      : []),
  ];

  async function save(): Promise<void> {
    const body = draft?.trim();
    if (body && (await attempt(client.update("comment", comment, { body }).then((changed) => store.put("comment", changed))))) {
      setDraft(undefined);
    }
  }

  return (
    <li class="comment">
      {comment.author ? <Avatar person={comment.author} named /> : <span class="avatar" />}
      <div>
        <p class="comment-head">
          <b>{comment.author ? nameOf(comment.author) : "Deleted account"}</b>
          <time dateTime={comment.created_at} title={exact(new Date(comment.created_at))}>
            {ago(new Date(comment.created_at))}
            {comment.updated_at !== comment.created_at && ", edited"}
          </time>
          <span class="spring" />
          {items.length > 0 && (
            <Menu label="This comment" items={items}>
              <Icon name="more" />
            </Menu>
          )}
        </p>
        {draft === undefined ? (
          <p class="prose">{comment.body}</p>
        ) : (
          <form
            class="form"
            onSubmit={(event) => {
              event.preventDefault();
              void save();
            }}
          >
            <textarea
              aria-label="Comment"
              rows={3}
              maxLength={2000}
              value={draft}
              autofocus
              onInput={(event) => setDraft(event.currentTarget.value)}
            />
            <p class="form-end">
              <button type="button" onClick={() => setDraft(undefined)}>
                Cancel
              </button>
              <button class="primary">Save</button>
            </p>
          </form>
        )}
      </div>
    </li>
  );
}

import { Fragment } from "preact";
import { memo } from "preact/compat";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Project, Section, Task } from "task-manager-client";
import { useDesk } from "../desk.js";
import type { Column } from "../model/columns.js";
import type { Person } from "../model/people.js";
import { hrefOf, type Route } from "../routes.js";
import { addSection, deleteSection, moveSection, renameSection } from "../sections.js";
import { createTask } from "../tasks.js";
import { Dialog } from "../ui/dialog.js";
import { Field } from "../ui/field.js";
import { Icon } from "../ui/icons.js";
import { Menu } from "../ui/menu.js";
import { attempt } from "../ui/messages.js";
import { Card } from "./card.js";

const FIRST_CARDS = 40;
const MORE_CARDS = 80;

interface ColumnProps {
  project: Project;
  column: Column;
  columns: Column[];
  cards: Task[];
  people: Map<number, Person>;
  comments: Map<number, number>;
  route: Route;
  canWrite: boolean;
  isFiltered: boolean;
  liftedId: number;
  lineAt: number;
}

/** A column of the board, which draws as many cards as have been scrolled to. */
export const BoardColumn = memo(function BoardColumn(props: ColumnProps) {
  const { project, column, cards, people, comments, route, canWrite, isFiltered, liftedId, lineAt } = props;
  const [drawn, setDrawn] = useState(FIRST_CARDS);
  const end = useRef<HTMLLIElement>(null);
  const hasMore = drawn < cards.length;

  useEffect(() => {
    if (!hasMore || !end.current) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (entry?.isIntersecting) setDrawn((before) => before + MORE_CARDS);
      },
      { rootMargin: "1200px" },
    );
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [hasMore, drawn]);

  const line = <li class="drop-line" aria-hidden="true" />;
  let place = 0;
  const rows = cards.slice(0, drawn).map((task) => {
    const isLifted = task.id === liftedId;
    const hasLine = !isLifted && place === lineAt;
    if (!isLifted) place++;
    return (
      <Fragment key={task.id}>
        {hasLine && line}
        <li>
          <Card
            task={task}
            href={hrefOf({ ...route, taskId: task.id })}
            assignee={task.assignee_id === null ? undefined : people.get(task.assignee_id)}
            comments={comments.get(task.id) ?? 0}
            isLifted={isLifted}
            isFixed={!canWrite}
            showsStatus={column.status === undefined}
          />
        </li>
      </Fragment>
    );
  });

  return (
    <section class="column" data-column={column.key} aria-label={`${column.name}, ${cards.length} ${cards.length === 1 ? "task" : "tasks"}`}>
      <header class="column-head" data-status={column.status}>
        <h2>{column.name}</h2>
        <span class="count">{cards.length}</span>
        <span class="spring" />
        {canWrite && column.section && <SectionMenu {...props} section={column.section} />}
      </header>
      <ul class="cards plain">
        {rows}
        {lineAt >= place && lineAt >= 0 && line}
        {cards.length === 0 && lineAt < 0 && <li class="empty-column">{isFiltered ? "Nothing matches the filter" : "No tasks"}</li>}
        {hasMore && <li ref={end} class="end" aria-hidden="true" />}
      </ul>
      {canWrite && <QuickAdd project={project} column={column} />}
    </section>
  );
});

function QuickAdd({ project, column }: { project: Project; column: Column }) {
  const { store } = useDesk();
  const [open, setOpen] = useState(false);
  const input = useRef<HTMLTextAreaElement>(null);

  async function add(): Promise<void> {
    const title = input.current?.value.replace(/\s+/g, " ").trim();
    if (!title || !input.current) return;
    const field = input.current;
    field.value = "";
    if (!(await attempt(createTask(project.id, title, column).then((task) => store.put("task", task))))) field.value = title;
  }

  if (!open) {
    return (
      <button type="button" class="quiet add" onClick={() => setOpen(true)} data-add={column.key}>
        <Icon name="plus" /> Add task
        <span class="unseen"> to {column.name}</span>
      </button>
    );
  }
  return (
    <form
      class="quick-add"
      onSubmit={(event) => {
        event.preventDefault();
        void add();
      }}
    >
      <textarea
        ref={input}
        rows={2}
        maxLength={200}
        autofocus
        placeholder="What is to be done?"
        aria-label={`Title of a new task in ${column.name}`}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.isComposing) {
            event.preventDefault();
            void add();
          } else if (event.key === "Escape") {
            event.stopPropagation();
            setOpen(false);
          }
        }}
        onBlur={(event) => {
          if (!event.currentTarget.value) setOpen(false);
        }}
        onFocusCapture={(event) => event.currentTarget.scrollIntoView({ block: "nearest" })}
      />
      <p class="form-end">
        <button type="button" onClick={() => setOpen(false)}>
          Close
        </button>
        <button class="primary">Add</button>
      </p>
    </form>
  );
}

function SectionMenu({ columns, section }: ColumnProps & { section: Section }) {
  const { store } = useDesk();
  const [dialog, setDialog] = useState<"" | "rename" | "delete">("");
  const own = columns.filter((column) => column.section !== undefined);
  const at = own.findIndex((column) => column.section?.id === section.id);
  const put = (changed: Section) => store.put("section", changed);
  const move = (by: number) => {
    const next = own[at + by]?.section;
    if (next) void attempt(moveSection(section, by < 0 ? { before: next.id } : { after: next.id }).then(put));
  };
  return (
    <>
      <Menu
        label={`Column ${section.name}`}
        items={[
          { label: "Rename…", onSelect: () => setDialog("rename") },
          { label: "Move left", onSelect: () => move(-1), disabled: at <= 0 },
          { label: "Move right", onSelect: () => move(1), disabled: at === own.length - 1 },
          { label: "Delete…", onSelect: () => setDialog("delete"), danger: true },
        ]}
      >
        <Icon name="more" />
      </Menu>
      {dialog === "rename" && (
        <NameDialog
          title="Rename column"
          name={section.name}
          action="Rename"
          onClose={() => setDialog("")}
          onSave={async (name) => put(await renameSection(section, name))}
        />
      )}
      {dialog === "delete" && (
        <Dialog title={`Delete “${section.name}”?`} onClose={() => setDialog("")}>
          <p>Its tasks stay in the project, without a section.</p>
          <p class="form-end">
            <button type="button" onClick={() => setDialog("")}>
              Cancel
            </button>
            <button type="button" class="danger" onClick={() => void attempt(deleteSection(section)).then(() => setDialog(""))}>
              Delete column
            </button>
          </p>
        </Dialog>
      )}
    </>
  );
}

/** What stands behind the last column: a way to another one. */
export function NewColumn({ project, hasStatuses }: { project: Project; sections: Section[]; hasStatuses: boolean }) {
  const { store } = useDesk();
  const [open, setOpen] = useState(false);
  return (
    <div class="new-column">
      <button type="button" class="quiet square" aria-label="Add column" title="Add column" onClick={() => setOpen(true)}>
        <Icon name="plus" />
      </button>
      {open && (
        <NameDialog
          title="New column"
          name=""
          action="Add column"
          hint={hasStatuses ? "The board then shows your columns in place of the statuses; tasks keep their status." : undefined}
          onClose={() => setOpen(false)}
          onSave={async (name) => store.put("section", await addSection(project.id, name))}
        />
      )}
    </div>
  );
}

interface NameDialogProps {
  title: string;
  name: string;
  action: string;
  hint?: string | undefined;
  onClose: () => void;
  onSave: (name: string) => Promise<void>;
}

function NameDialog({ title, name, action, hint, onClose, onSave }: NameDialogProps) {
  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    await onSave(String(new FormData(event.currentTarget as HTMLFormElement).get("name")));
    onClose();
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="form" onSubmit={(event) => void attempt(save(event))}>
        <Field name="Name" hint={hint}>
          <input name="name" required maxLength={100} defaultValue={name} autofocus />
        </Field>
        <p class="form-end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary">{action}</button>
        </p>
      </form>
    </Dialog>
  );
}

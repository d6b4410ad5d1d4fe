import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Project, Section, Task } from "task-manager-client";
import { useCommentCounts, useDesk, useMembers } from "../desk.js";
import { type Target, watchPointer } from "../drag/pointer.js";
import { columnsOf, placeAt } from "../model/columns.js";
import { fill, type Pending } from "../model/placing.js";
import type { Person } from "../model/people.js";
import type { Route } from "../routes.js";
import { moveTask } from "../tasks.js";
import { announce } from "../ui/announcer.js";
import { sayError } from "../ui/messages.js";
import { BoardColumn, NewColumn } from "./column.js";

interface Lifted {
  task: Task;
  target: Target;
  byKeyboard: boolean;
}

interface BoardProps {
  project: Project;
  tasks: Task[];
  sections: Section[];
  route: Route;
  isFiltered: boolean;
}

/** The tasks of a project as cards in columns; cards are moved by mouse, finger and keyboard. */
export function Board({ project, tasks, sections, route, isFiltered }: BoardProps) {
  const { store } = useDesk();
  const root = useRef<HTMLDivElement>(null);
  const [lifted, setLifted] = useState<Lifted>();
  const [pending, setPending] = useState<Pending>(new Map());
  const members = useMembers(project.id);
  const comments = useCommentCounts(project.id);
  const canWrite = project.role !== "viewer" && !project.archived;
  const columns = useMemo(() => columnsOf(sections), [sections]);
  const filled = useMemo(() => fill(columns, tasks, pending), [columns, tasks, pending]);
  const people = useMemo(() => new Map<number, Person>(members.map((member) => [member.user_id, { ...member, id: member.user_id }])), [members]);

  // What the listeners below see: they are made once.
  const now = useRef({ columns, filled, lifted, canWrite });
  now.current = { columns, filled, lifted, canWrite };

  // A card that is drawn at another place loses the focus.
  const focused = cardWithFocus(root.current);
  useLayoutEffect(() => {
    if (focused && document.activeElement === document.body) root.current?.querySelector<HTMLElement>(`[data-card="${focused}"]`)?.focus();
  });

  const drop = useCallback(() => {
    const { columns, filled, lifted } = now.current;
    setLifted(undefined);
    const column = columns.find((one) => one.key === lifted?.target.columnKey);
    if (!lifted || !column) return;
    const cards = filled.get(column.key) ?? [];
    const before = cards.findIndex((card) => card.id === lifted.task.id);
    if (before === lifted.target.index) return;
    const place = placeAt(column, cards.filter((card) => card.id !== lifted.task.id), lifted.target.index);
    const { task } = lifted;
    const show = (until: number) =>
      setPending((all) => (until < Infinity && all.get(task.id)?.place !== place ? all : new Map(all).set(task.id, { place, until })));
    show(Infinity);
    moveTask(task, place).then(
      (moved) => {
        show(moved.version);
        store.put("task", moved);
      },
      (error: unknown) => {
        show(0);
        sayError(error);
      },
    );
  }, [store]);

  useEffect(() => {
    if (!root.current) return;
    return watchPointer(root.current, {
      onStart: (taskId) => {
        const found = now.current.canWrite ? liftable(now.current.filled, taskId) : undefined;
        if (found) setLifted({ ...found, byKeyboard: false });
      },
      onMove: (target) =>
        setLifted((before) =>
          before && (before.target.columnKey !== target.columnKey || before.target.index !== target.index) ? { ...before, target } : before,
        ),
      onEnd: (isDropped) => (isDropped ? drop() : setLifted(undefined)),
    });
  }, [drop]);

  function onKeyDown(event: KeyboardEvent): void {
    const card = (event.target as Element).closest<HTMLElement>("[data-card]");
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const taskId = Number(card.dataset["card"]);
    const isTaken = lifted ? steer(event.key) : lift(event.key, taskId) || focusNext(root.current, event.key, card);
    if (isTaken) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  function lift(key: string, taskId: number): boolean {
    const found = key === " " && canWrite ? liftable(filled, taskId) : undefined;
    if (!found) return false;
    setLifted({ ...found, byKeyboard: true });
    announce(`Picked up ${found.task.title}. Arrows move it, Space puts it down, Escape puts it back.`);
    return true;
  }

  function steer(key: string): boolean {
    if (!lifted?.byKeyboard) return false;
    if (key === " " || key === "Enter") {
      announce(`Put down: ${whereIs(lifted.target)}.`);
      drop();
    } else if (key === "Escape" || key === "Tab") {
      announce("Put back.");
      setLifted(undefined);
    } else {
      const target = step(lifted.target, key, lifted.task.id);
      if (!target) return false;
      setLifted({ ...lifted, target });
      announce(whereIs(target));
      root.current?.querySelector(`[data-column="${target.columnKey}"]`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    return key !== "Tab";
  }

  function others(columnKey: string, taskId: number): number {
    return (filled.get(columnKey) ?? []).filter((card) => card.id !== taskId).length;
  }

  function step({ columnKey, index }: Target, key: string, taskId: number): Target | undefined {
    if (key === "ArrowUp") return { columnKey, index: Math.max(0, index - 1) };
    if (key === "ArrowDown") return { columnKey, index: Math.min(others(columnKey, taskId), index + 1) };
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (by === undefined) return undefined;
    const at = columns.findIndex((column) => column.key === columnKey) + by;
    const next = columns[Math.max(0, Math.min(columns.length - 1, at))];
    return next && { columnKey: next.key, index: Math.min(index, others(next.key, taskId)) };
  }

  function whereIs({ columnKey, index }: Target): string {
    const name = columns.find((column) => column.key === columnKey)?.name ?? "";
    return `${name}, place ${index + 1} of ${others(columnKey, lifted?.task.id ?? 0) + 1}`;
  }

  return (
    <div class="board" ref={root} onKeyDown={onKeyDown}>
      <p class="unseen" id="card-help">
        Press Space to pick the card up.
      </p>
      {columns
        .filter((column) => column.section || column.status || (filled.get(column.key)?.length ?? 0) > 0)
        .map((column) => (
          <BoardColumn
            key={column.key}
            project={project}
            column={column}
            columns={columns}
            cards={filled.get(column.key) ?? []}
            people={people}
            comments={comments}
            route={route}
            canWrite={canWrite}
            isFiltered={isFiltered}
            liftedId={lifted?.task.id ?? 0}
            lineAt={lifted?.target.columnKey === column.key ? lifted.target.index : -1}
          />
        ))}
      {canWrite && <NewColumn project={project} sections={sections} hasStatuses={sections.length === 0} />}
    </div>
  );
}

function liftable(filled: Map<string, Task[]>, taskId: number): { task: Task; target: Target } | undefined {
  for (const [columnKey, cards] of filled) {
    const index = cards.findIndex((card) => card.id === taskId);
    const task = cards[index];
    if (task) return { task, target: { columnKey, index } };
  }
  return undefined;
}

function cardWithFocus(board: HTMLElement | null): string | undefined {
  const card = document.activeElement?.closest<HTMLElement>("[data-card]");
  return card && board?.contains(card) ? card.dataset["card"] : undefined;
}

/** Focus the card beside another one, as a key says. */
function focusNext(board: HTMLElement | null, key: string, card: HTMLElement): boolean {
  const columns = [...(board?.querySelectorAll<HTMLElement>("[data-column]") ?? [])];
  const cardsOf = (column: Element | undefined) => [...(column?.querySelectorAll<HTMLElement>("[data-card]") ?? [])];
  const at = columns.findIndex((column) => column.contains(card));
  const index = cardsOf(columns[at]).indexOf(card);
  let next: HTMLElement | undefined;
  if (key === "ArrowUp") next = cardsOf(columns[at])[index - 1];
  else if (key === "ArrowDown") next = cardsOf(columns[at])[index + 1];
  else if (key === "ArrowLeft" || key === "ArrowRight") {
    const rest = key === "ArrowLeft" ? columns.slice(0, at).reverse() : columns.slice(at + 1);
    const cards = cardsOf(rest.find((column) => cardsOf(column).length > 0));
    next = cards[Math.min(index, cards.length - 1)];
  } else return false;
  next?.focus();
  return true;
}

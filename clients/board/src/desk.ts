import { createContext } from "preact";
import { useContext, useEffect, useMemo, useState } from "preact/hooks";
import type { Member, Project, Section, StoreStatus, Task } from "task-manager-client";
import { byPosition } from "./model/columns.js";
import type { Desk } from "./service.js";

export const DeskContext = createContext<Desk | undefined>(undefined);

export function useDesk(): Desk {
  const desk = useContext(DeskContext);
  if (desk === undefined) throw new Error("outside of a desk");
  return desk;
}

/** Render again when rows of these kinds change; the number that is returned changes with each. */
export function useChanges(kinds: string[], projectId?: number): number {
  const { store } = useDesk();
  const [count, setCount] = useState(0);
  const wanted = kinds.join(" ");
  useEffect(() => {
    // Many changes of one moment are one rendering.
    let frame = 0;
    const end = store.subscribe((changes) => {
      const concerns = changes.some(
        (change) => wanted.split(" ").includes(change.entity) && (projectId === undefined || change.project_id === projectId),
      );
      if (concerns && !frame) {
        frame = setTimeout(() => {
          frame = 0;
          setCount((before) => before + 1);
        }, 16);
      }
    });
    setCount((before) => before + 1);
    return () => {
      clearTimeout(frame);
      end();
    };
  }, [store, wanted, projectId]);
  return count;
}

export function useStatus(): StoreStatus {
  const { store } = useDesk();
  const [status, setStatus] = useState(store.status);
  useEffect(() => {
    setStatus(store.status);
    return store.subscribe(() => setStatus(store.status));
  }, [store]);
  return status;
}

/** The user's projects: the Inbox first, then by name; archived ones last. */
export function useProjects(): Project[] {
  const { store } = useDesk();
  const changes = useChanges(["project"]);
  return useMemo(() => store.all("project").sort(byRank), [store, changes]);
}

export function useTasks(projectId?: number): Task[] {
  const { store } = useDesk();
  const changes = useChanges(["task"], projectId);
  return useMemo(() => store.all("task", projectId), [store, changes, projectId]);
}

export function useMembers(projectId: number): Member[] {
  const { store } = useDesk();
  const changes = useChanges(["member"], projectId);
  return useMemo(
    () => store.all("member", projectId).sort((one, other) => one.username.localeCompare(other.username)),
    [store, changes, projectId],
  );
}

/** How many comments each task of a project has. */
export function useCommentCounts(projectId: number): Map<number, number> {
  const { store } = useDesk();
  const changes = useChanges(["comment"], projectId);
  return useMemo(() => {
    const counts = new Map<number, number>();
    for (const { task_id } of store.all("comment", projectId)) counts.set(task_id, (counts.get(task_id) ?? 0) + 1);
    return counts;
  }, [store, changes, projectId]);
}

function byRank(one: Project, other: Project): number {
  return (
    Number(one.archived) - Number(other.archived) ||
    Number(other.personal) - Number(one.personal) ||
    one.name.localeCompare(other.name) ||
    one.id - other.id
  );
}

/** The sections of a project, in order. */
export function useSections(projectId: number): Section[] {
  const { store } = useDesk();
  const changes = useChanges(["section"], projectId);
  return useMemo(() => store.all("section", projectId).sort(byPosition), [store, changes, projectId]);
}

import type { Comment, CommentChange, Project, ProjectChange, Task, TaskChange } from "./operations.js";
import { ApiError, ConflictError } from "./problems.js";

/** What can be edited by several people: its row, and what a change of it may have. */
export interface Editable {
  task: { row: Task; change: TaskChange };
  project: { row: Project; change: ProjectChange };
  comment: { row: Comment; change: CommentChange };
}

const TRIES = 10;

interface Versioned {
  version: number;
}

/**
 * Make a change to a row that somebody may have changed since it was read.
 *
 * What others have changed is kept where it is in other fields. `patch` and `read` get the row anew and refuse with
 * ApiError.
 *
 * Throws ConflictError where others have given a field of the change another value.
 */
export async function merge<Row extends Versioned, Change extends object>(
  base: Row,
  change: Change,
  patch: (version: number) => Promise<Row>,
  read: () => Promise<Row>,
): Promise<Row> {
  const names = Object.keys(change) as (keyof Change & string)[];
  let version = base.version;
  for (let tried = 1; ; tried++) {
    try {
      return await patch(version);
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== "stale-version" || tried === TRIES) throw error;
      const { changed_fields, current_version } = error.problem;
      if (current_version !== undefined && changed_fields && !names.some((name) => changed_fields.includes(name))) {
        version = current_version;
        continue;
      }
      const theirs = await read();
      const contested = names.filter((name) => {
        const now = valueOf(theirs, name);
        return now !== valueOf(base, name) && now !== valueOf(change, name);
      });
      if (contested.length) throw new ConflictError(error, base, change, theirs, contested);
      version = theirs.version;
    }
  }
}

/** A value in a form that compares: the same time can be written in many ways. */
function valueOf(row: object, name: string): string {
  const value = (row as Record<string, unknown>)[name];
  return JSON.stringify(name.endsWith("_at") && typeof value === "string" ? Date.parse(value) : (value ?? null));
}

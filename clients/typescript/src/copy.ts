import type { CopiedRow, CopyStorage } from "./copy-storage.js";

/** A thing as it is now, under the name of its kind, or that it is gone; of whatever kinds a later server has. */
export interface Item {
  entity: string;
  id: number;
  project_id: number;
  deleted: boolean;
  [row: string]: unknown;
}

/** A page of changes. */
export interface ChangesPage {
  changes: Item[];
  cursor: string;
  has_more: boolean;
}

/** What has become of a row: `row` is undefined when it is gone. */
export interface RowChange {
  entity: string;
  id: number;
  project_id: number;
  row: Record<string, unknown> | undefined;
}

/** The key of a row in its kind: a member has that of the user in the project. */
export function keyOf(entity: string, id: number, projectId: number): string {
  return entity === "member" ? `member:${projectId}:${id}` : `${entity}:${id}`;
}

const MOST_GONE = 10_000;

/** Rows by key, applied as docs/sync.md says, in memory and in a storage. */
export class Copy {
  readonly rows = new Map<string, CopiedRow>();
  cursor: string | undefined;
  /** By the key of a project or task, the keys of what is gone with it. */
  readonly #below = new Map<string, Set<string>>();
  /** What is gone, with its last version: a request may answer later than the stream. */
  readonly #gone = new Map<string, number>();
  #storage: CopyStorage | undefined;
  #isStale = false;

  constructor(storage: CopyStorage | undefined) {
    this.#storage = storage;
  }

  /** Read what is stored. A storage that fails is not used. */
  async load(): Promise<void> {
    try {
      const stored = await this.#storage?.load();
      this.cursor = stored?.cursor;
      for (const row of stored?.cursor ? stored.rows : []) this.#set(row);
    } catch {
      this.#storage = undefined;
    }
  }

  /** Begin anew: the rows stay until the first page that follows. */
  expire(): void {
    this.#isStale = true;
  }

  /** The cursor to go on from. */
  get since(): string | undefined {
    return this.#isStale ? undefined : this.cursor;
  }

  /** The rows of a kind, of one project or all; a change moves none. */
  *of(entity: string, projectId?: number): Iterable<CopiedRow> {
    const keys = projectId === undefined ? this.rows.keys() : (this.#below.get(`project:${projectId}`) ?? []);
    for (const key of keys) {
      const row = this.rows.get(key);
      if (row?.entity === entity) yield row;
    }
  }

  /** Apply items in their order, and keep the cursor after them. */
  async apply(items: Item[], cursor: string): Promise<RowChange[]> {
    const changed = new Map<string, RowChange>();
    const clear = this.#isStale;
    this.#isStale = false;
    if (clear) for (const key of [...this.rows.keys()]) this.#drop(key, changed);
    for (const item of items) {
      const key = keyOf(item.entity, item.id, item.project_id);
      if (item.deleted) this.#drop(key, changed, Number(item["version"] ?? 0));
      else this.#take(key, item, changed);
    }
    const before = this.cursor;
    this.cursor = cursor;
    const puts = [...changed.keys()].map((key) => this.rows.get(key)).filter((row) => row !== undefined);
    const removes = [...changed.keys()].filter((key) => !this.rows.has(key));
    try {
      if (cursor !== before || changed.size) await this.#storage?.save({ clear, puts, removes, before, cursor });
    } catch {
      this.#storage = undefined; // what is stored is older, and whole
    }
    return [...changed.values()];
  }

  /** Take a row that a request has answered, if it is newer; it is stored when the log has it. */
  put(entity: string, id: number, project_id: number, row: CopiedRow["row"]): RowChange | undefined {
    const key = keyOf(entity, id, project_id);
    const copied = { key, entity, project_id, row };
    if (Math.max(this.#versionOf(key), this.#gone.get(key) ?? -1) >= (row.version ?? 0)) return undefined;
    if (parentsOf(copied).some((parent) => parent !== key && this.#gone.has(parent))) return undefined;
    this.#set(copied);
    return { entity, id, project_id, row };
  }

  #take(key: string, item: Item, changed: Map<string, RowChange>): void {
    const { entity, id, project_id } = item;
    const row = item[entity] as CopiedRow["row"] | undefined;
    if (row === undefined || this.#versionOf(key) > (row.version ?? 0)) return;
    this.#set({ key, entity, project_id, row });
    changed.set(key, { entity, id, project_id, row });
  }

  #versionOf(key: string): number {
    return this.rows.get(key)?.row.version ?? -1;
  }

  #set(row: CopiedRow): void {
    if (this.rows.get(row.key)?.project_id !== row.project_id) this.#unlink(row.key);
    this.rows.set(row.key, row);
    this.#gone.delete(row.key);
    for (const parent of parentsOf(row)) {
      const keys = this.#below.get(parent);
      if (keys) keys.add(row.key);
      else this.#below.set(parent, new Set([row.key]));
    }
  }

  #unlink(key: string): void {
    const known = this.rows.get(key);
    for (const parent of known ? parentsOf(known) : []) this.#below.get(parent)?.delete(key);
  }

  #drop(key: string, changed: Map<string, RowChange>, version = 0): void {
    this.#gone.set(key, Math.max(version, this.#versionOf(key)));
    if (this.#gone.size > MOST_GONE) this.#gone.delete(this.#gone.keys().next().value ?? key);
    for (const child of [...(this.#below.get(key) ?? [])]) if (child !== key) this.#drop(child, changed);
    this.#below.delete(key);
    const row = this.rows.get(key);
    if (row === undefined) return;
    this.#unlink(key);
    this.rows.delete(key);
    const id = Number(key.slice(key.lastIndexOf(":") + 1));
    changed.set(key, { entity: row.entity, id, project_id: row.project_id, row: undefined });
  }
}

function parentsOf({ entity, project_id, row }: CopiedRow): string[] {
  const project = `project:${project_id}`;
  return entity === "comment" ? [project, `task:${String(row["task_id"])}`] : [project];
}

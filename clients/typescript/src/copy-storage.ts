import { answered, committed, openIndexed } from "./indexed.js";

/** A row of the copy, and where it belongs. */
export interface CopiedRow {
  key: string;
  entity: string;
  project_id: number;
  row: { version?: number | null; [field: string]: unknown };
}

/** What one step changes. */
export interface CopyStep {
  /** Forget all rows first. */
  clear: boolean;
  puts: CopiedRow[];
  /** Keys of rows that are gone. */
  removes: string[];
  /** Where the copy was before. */
  before: string | undefined;
  /** Where it is after. */
  cursor: string;
}

/** Where a copy survives a restart. */
export interface CopyStorage {
  load(): Promise<{ cursor: string | undefined; rows: CopiedRow[] }>;
  /**
   * Store rows and cursor in one transaction, so that a crash repeats a step at most.
   *
   * Throws if the stored cursor is not `before`: another tab keeps the copy, and this one stops storing.
   */
  save(step: CopyStep): Promise<void>;
}

/** Keep a copy in the browser's IndexedDB. Name it by the user, so that nobody sees another's. */
export function indexedCopy(name: string): CopyStorage {
  let opened: Promise<IDBDatabase> | undefined;
  const database = () => (opened ??= openIndexed(name, ["rows", "cursor"]));
  return {
    async load() {
      const transaction = (await database()).transaction(["rows", "cursor"]);
      const [rows, cursor] = await Promise.all([
        answered<CopiedRow[]>(transaction.objectStore("rows").getAll()),
        answered<string | undefined>(transaction.objectStore("cursor").get("cursor")),
      ]);
      return { rows, cursor };
    },
    async save({ clear, puts, removes, before, cursor }) {
      const transaction = (await database()).transaction(["rows", "cursor"], "readwrite");
      const done = committed(transaction);
      const rows = transaction.objectStore("rows");
      const cursors = transaction.objectStore("cursor");
      cursors.get("cursor").onsuccess = ({ target }) => {
        if ((target as IDBRequest).result !== before) return transaction.abort();
        if (clear) rows.clear();
        for (const key of removes) rows.delete(key);
        for (const row of puts) rows.put(row, row.key);
        cursors.put(cursor, "cursor");
      };
      await done;
    },
  };
}

import type { CopyStorage } from "../../src/index.js";

/** A storage in memory that several stores can have one after the other. */
export function keptCopy(): CopyStorage & { cursor: string | undefined } {
  const rows = new Map<string, never>();
  return {
    cursor: undefined,
    load() {
      return Promise.resolve({ cursor: this.cursor, rows: [...rows.values()] });
    },
    save({ clear, puts, removes, before, cursor }) {
      if (before !== this.cursor) return Promise.reject(new Error("another has written"));
      if (clear) rows.clear();
      for (const key of removes) rows.delete(key);
      for (const row of puts) rows.set(row.key, row as never);
      this.cursor = cursor;
      return Promise.resolve();
    },
  };
}

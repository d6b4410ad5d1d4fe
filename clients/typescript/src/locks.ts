import { answered, committed, openIndexed } from "./indexed.js";
import { randomKey } from "./sending.js";
import { sleep } from "./waiting.js";

const LEASE_MILLISECONDS = 10_000;
const ASK_AGAIN_MILLISECONDS = 50;

/**
 * Do something in one tab at a time; `waited` says whether another tab was at it.
 *
 * On plain http there are no Web Locks. A lease is taken there in a transaction of IndexedDB, because localStorage
 * cannot compare and set: two tabs that write at the same time would both find themselves the owner.
 */
export async function exclusively<T>(name: string, work: (waited: boolean) => Promise<T>): Promise<T> {
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  if (locks === undefined) return withLease(name, work);
  const free = await locks.request(name, { ifAvailable: true }, async (lock) => lock && { result: await work(false) });
  return free ? free.result : locks.request(name, () => work(true));
}

async function withLease<T>(name: string, work: (waited: boolean) => Promise<T>): Promise<T> {
  const database = await openIndexed("task-manager-leases", ["leases"]).catch(() => undefined);
  if (database === undefined) return work(true); // the server takes a spent token once more for ten seconds
  const owner = randomKey();
  let waited = false;
  try {
    while (!(await takeLease(database, name, owner))) {
      waited = true;
      await sleep(ASK_AGAIN_MILLISECONDS);
    }
    try {
      return await work(waited);
    } finally {
      await takeLease(database, name, owner, 0);
    }
  } finally {
    database.close();
  }
}

/** Take a lease or prolong it; for 0 milliseconds, give it back. Returns whether it was free or one's own. */
async function takeLease(
  database: IDBDatabase,
  name: string,
  owner: string,
  milliseconds = LEASE_MILLISECONDS,
): Promise<boolean> {
  const transaction = database.transaction("leases", "readwrite");
  const done = committed(transaction);
  const leases = transaction.objectStore("leases");
  const held: { owner: string; until: number } | undefined = await answered(leases.get(name));
  const isFree = held === undefined || held.owner === owner || held.until < Date.now();
  if (isFree) leases.put({ owner, until: Date.now() + milliseconds }, name);
  await done;
  return isFree;
}

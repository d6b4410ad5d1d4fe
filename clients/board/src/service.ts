import { createClient, indexedCopy, type Store, type User } from "task-manager-client";

/** The page is served beside the API, below the same prefix. */
export const client = createClient({ baseUrl: ".", storage: localStorage });

/** Services below other prefixes of this origin have a login and a copy of their own. */
const NAME = `task-manager ${new URL(".", document.baseURI).pathname}`;
const USER = `${NAME} user`;

// Whoever logs in next is somebody else, until the server has said who.
client.onLogin(() => localStorage.removeItem(USER));

/** Who is logged in, with the copy of what they see. */
export interface Desk {
  user: User;
  store: Store;
}

/**
 * Open the desk of the login. Without a network it opens with what was stored.
 *
 * Throws what the client throws if nothing is stored.
 */
export async function openDesk(): Promise<Desk> {
  const user = await whoAmI();
  const store = client.store({ storage: indexedCopy(copyOf(user)) });
  return { user, store };
}

/** Log out, and leave nothing of the user in this browser. */
export async function closeDesk(desk: Desk): Promise<void> {
  desk.store.stop();
  localStorage.removeItem(USER);
  indexedDB.deleteDatabase(copyOf(desk.user));
  await client.logout();
}

export function rememberUser(user: User): void {
  localStorage.setItem(USER, JSON.stringify(user));
}

function copyOf(user: User): string {
  return `${NAME} ${user.id}`;
}

async function whoAmI(): Promise<User> {
  const kept = localStorage.getItem(USER);
  const asked = client.get("/api/v1/users/me", { signal: AbortSignal.timeout(kept ? 4000 : 30_000) });
  try {
    const user = await asked;
    rememberUser(user);
    return user;
  } catch (error) {
    if (kept === null || !client.loggedIn) throw error;
    return JSON.parse(kept) as User;
  }
}

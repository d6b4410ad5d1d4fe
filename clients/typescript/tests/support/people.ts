import { inject } from "vitest";
import { type Client, type ClientOptions, createClient } from "../../src/index.js";

let people = 0;

/** A client of a new account, and its name. */
export async function newPerson(
  options: Partial<ClientOptions> = {},
): Promise<{ client: Client; username: string; password: string; id: number }> {
  const client = createClient({ baseUrl: inject("url"), ...options });
  const username = `person${process.pid}x${Date.now().toString(36)}x${people++}`;
  const password = "correct horse 7";
  const { id } = await client.register({ username, email: `${username}@example.com`, password });
  return { client, username, password, id };
}

/** The Inbox that each account has. */
export async function inboxOf(client: Client): Promise<number> {
  for await (const project of client.items("/api/v1/projects")) if (project.personal) return project.id;
  throw new Error("no Inbox");
}

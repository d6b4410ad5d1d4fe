/** What the flows of all generators share: where the service is, and a person that nobody has registered yet. */
export const baseUrl = process.argv[2] ?? "http://127.0.0.1:8000";

const username = `person_${process.pid}_${Date.now()}`;

export const person = { username, email: `${username}@example.com`, password: "correct horse battery" };

/** Return a value, or end the flow: something that must be there is not. */
export const required = <T>(value: T | null | undefined, what: string): T => {
  if (value === null || value === undefined) throw new Error(`${what} is missing`);
  return value;
};

/** End the flow unless two values are the same. */
export const same = (found: unknown, expected: unknown): void => {
  if (found !== expected) throw new Error(`expected ${String(expected)}, found ${String(found)}`);
};

import { errorOf, retryAfterOf, UnreachableError } from "./problems.js";
import { sleep } from "./waiting.js";

/** A request that can be sent several times. */
export interface Call {
  method: string;
  url: string;
  headers: Headers;
  body?: string | undefined;
  signal?: AbortSignal | undefined;
  /** For how long to try again. */
  retrySeconds?: number | undefined;
  /** How long one attempt may take. */
  timeoutSeconds?: number | undefined;
  /** Whether to send it twice does no more than to send it once. */
  repeatable: boolean;
}

export type Send = (call: Call) => Promise<Response>;

/** A value for `Idempotency-Key`: 128 random bits. `randomUUID` is missing where a page is served by plain http. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const READS = ["GET", "HEAD"];
/** POST to these makes or ends a credential, and its answer is not kept for a retry. */
const CREDENTIALS = /\/api\/v1\/(users|token|events\/ticket)(\/|$)/;
/** The key of the settings has no account to keep answers for. */
const ADMINISTRATION = /\/api\/v1\/admin\//;

/** Whether to send an `Idempotency-Key`: with every write but those of credentials and of administration. */
export function takesKey(method: string, pathname: string): boolean {
  return (
    !READS.includes(method) && !(method === "POST" && CREDENTIALS.test(pathname)) && !ADMINISTRATION.test(pathname)
  );
}

/** Whether to do it twice does no more than to do it once, without a key. */
export function isIdempotent(method: string): boolean {
  return READS.includes(method) || method === "PUT" || method === "DELETE";
}

/** Send a call, and again while nothing answers or the answer asks for it; the body of the answer has been read. */
export function retrying(fetch: typeof globalThis.fetch, retrySeconds: number, timeoutSeconds: number): Send {
  async function attempt(call: Call): Promise<Response> {
    const timeout = AbortSignal.timeout((call.timeoutSeconds ?? timeoutSeconds) * 1000);
    const { method, url, headers, body = null } = call;
    const signal = call.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
    const response = await fetch(url, { method, headers, body, signal });
    // Read here, so that a connection that breaks in the middle of an answer counts as none.
    const content = await response.arrayBuffer();
    const { status, statusText } = response;
    return new Response(content.byteLength ? content : null, { status, statusText, headers: response.headers });
  }

  return async (call) => {
    const end = Date.now() + (call.retrySeconds ?? retrySeconds) * 1000;
    for (let tried = 0; ; tried++) {
      const outcome = await attempt(call).catch((error: unknown) => new UnreachableError(error));
      call.signal?.throwIfAborted();
      const after = outcome instanceof Response ? retryAfterOf(outcome) : undefined;
      const wait = (after ?? Math.min(4, 0.25 * 2 ** tried)) * 1000 * (1 + Math.random() / 4);
      if (!isWorthRepeating(outcome, call.repeatable) || Date.now() + wait > end) {
        if (outcome instanceof Error) throw outcome;
        return outcome;
      }
      await sleep(wait, call.signal);
    }
  };
}

/** Send a call and return its answer if that is 2xx. */
export async function accepted(send: Send, call: Call): Promise<Response> {
  const response = await send(call);
  if (!response.ok) throw await errorOf(response);
  return response;
}

function isWorthRepeating(outcome: Response | UnreachableError, repeatable: boolean): boolean {
  if (outcome instanceof Error) return repeatable;
  if (outcome.status === 429) return true; // refused before anything was done
  // A 409 with Retry-After: the first attempt is still at work.
  return (
    repeatable &&
    ([502, 503, 504].includes(outcome.status) || (outcome.status === 409 && outcome.headers.has("Retry-After")))
  );
}

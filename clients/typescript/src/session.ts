import { exclusively } from "./locks.js";
import { ApiError, errorOf, isTemporary } from "./problems.js";
import type { components } from "./schema.js";
import { accepted, type Call, randomKey, type Send } from "./sending.js";
import { sleep } from "./waiting.js";

/** Where the refresh token is kept: `localStorage`, or anything with these three methods. */
export type TokenStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

type Tokens = components["schemas"]["Token"];
interface Login {
  /** Names the login among the tabs. */
  id: string;
  refresh_token: string;
}
interface Access {
  token: string;
  /** When to get the next, by the clock of this computer, in milliseconds. */
  until: number;
}
/** Between tabs: an access token that is good, or the wish for one. */
interface Message {
  login: string;
  access?: Access;
}

const EARLY_SECONDS = 15;
const ANSWER_MILLISECONDS = 1_000;
const AGAIN_MILLISECONDS = 1_000;

/** Keep tokens in memory: for programs that log in whenever they start. */
export function memoryStorage(): TokenStorage {
  const kept = new Map<string, string>();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}

/**
 * A login: the refresh token lies in the storage, the access token in memory.
 *
 * Tabs with the same localStorage have one login. When its access token ends, one of them gets the next and hands it
 * to the others through a BroadcastChannel, because each refresh token is good for one use.
 */
export class Session {
  readonly #send: Send;
  readonly #base: string;
  readonly #storage: TokenStorage;
  readonly #name: string;
  readonly #retrySeconds: number;
  readonly #channel: BroadcastChannel | undefined;
  readonly #listeners = new Set<(loggedIn: boolean) => void>();
  #access: Access | undefined;
  #refreshing: Promise<Access> | undefined;
  #heard: (() => void) | undefined;

  constructor(send: Send, base: string, storage: TokenStorage, retrySeconds: number) {
    this.#retrySeconds = retrySeconds;
    this.#send = send;
    this.#base = base;
    this.#storage = storage;
    this.#name = `task-manager ${base}`;
    if (!isShared(storage)) return;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = (event: MessageEvent<Message>) => this.#hear(event.data);
    addEventListener("storage", (event) => {
      if (event.key !== this.#name && event.key !== null) return;
      const before = parsed(event.oldValue)?.id;
      if (before === this.#login()?.id) return;
      this.#access = undefined;
      this.#tell();
    });
  }

  get loggedIn(): boolean {
    return this.#login() !== undefined;
  }

  onChange(listener: (loggedIn: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async login(username: string, password: string): Promise<void> {
    const body = new URLSearchParams({ grant_type: "password", username, password }).toString();
    const response = await accepted(this.#send, this.#call("token", body, "application/x-www-form-urlencoded"));
    this.#keep({ id: randomKey(), refresh_token: "" }, await response.json());
    this.#tell();
  }

  async logout(): Promise<void> {
    const login = this.#login();
    if (login === undefined) return;
    this.#forget();
    await accepted(this.#send, this.#call("token/revoke", JSON.stringify({ refresh_token: login.refresh_token })));
  }

  /** Send a call with the access token; with the next one, if the server takes this one no more. */
  readonly authorized: (call: Call, send?: Send) => Promise<Response> = async (call, send = this.#send) => {
    if (!this.loggedIn) return send(call);
    const access = await this.#patiently(call);
    const response = await send(withToken(call, access));
    if (response.status !== 401 || !this.loggedIn) return response;
    await response.body?.cancel();
    return send(withToken(call, await this.#patiently(call, access.token)));
  };

  /** Return an access token for a call, which is waited for as long as the call itself may be tried again. */
  async #patiently(call: Call, refused?: string): Promise<Access> {
    for (const end = Date.now() + (call.retrySeconds ?? this.#retrySeconds) * 1000; ; ) {
      try {
        return await this.#current(refused);
      } catch (error) {
        call.signal?.throwIfAborted();
        if (!isTemporary(error) || Date.now() + AGAIN_MILLISECONDS > end) throw error;
        await sleep(AGAIN_MILLISECONDS, call.signal);
      }
    }
  }

  /** Return an access token other than the refused one that is good for some seconds. */
  #current(refused?: string): Promise<Access> {
    const access = this.#access;
    if (isGood(access, refused)) return Promise.resolve(access);
    this.#refreshing ??= this.#next(refused).finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  #next(refused: string | undefined): Promise<Access> {
    const before = this.#login()?.refresh_token;
    const work = async (waited: boolean) => {
      if (waited || this.#login()?.refresh_token !== before) await this.#ask(refused);
      const access = this.#access;
      return isGood(access, refused) ? access : this.#exchange();
    };
    return this.#channel ? exclusively(this.#name, work) : work(false);
  }

  /** Wait a moment for another tab that has an access token, unless it has come already. */
  async #ask(refused: string | undefined): Promise<void> {
    const login = this.#login();
    if (login === undefined || this.#channel === undefined || isGood(this.#access, refused)) return;
    const heard = new Promise<void>((resolve) => (this.#heard = resolve));
    this.#channel.postMessage({ login: login.id } satisfies Message);
    await Promise.race([heard, sleep(ANSWER_MILLISECONDS)]);
  }

  #hear(message: Message): void {
    if (message.login !== this.#login()?.id) return;
    if (message.access) {
      this.#access = message.access;
      this.#heard?.();
    } else if (isGood(this.#access)) {
      this.#channel?.postMessage({ login: message.login, access: this.#access } satisfies Message);
    }
  }

  async #exchange(): Promise<Access> {
    const login = this.#login();
    if (login === undefined) throw loggedOut();
    const call = this.#call("token/refresh", JSON.stringify({ refresh_token: login.refresh_token }));
    // Within the lease, and within the seconds for which the server takes a spent token for a retry.
    const response = await this.#send({ ...call, retrySeconds: 4, timeoutSeconds: 5 });
    if (response.ok) return this.#keep(login, await response.json());
    const error = await errorOf(response);
    const now = this.#login();
    if ((response.status === 400 || response.status === 401) && now) {
      if (now.refresh_token !== login.refresh_token) return this.#exchange();
      this.#forget();
    }
    throw error;
  }

  #keep(login: Login, tokens: Tokens): Access {
    const seconds = tokens.expires_in - Math.min(EARLY_SECONDS, tokens.expires_in / 10);
    const access = { token: tokens.access_token, until: Date.now() + seconds * 1000 };
    const isNew = login.refresh_token === "";
    // Not if it was ended meanwhile, in this tab or another.
    if (isNew || this.#login()?.id === login.id) {
      this.#access = access;
      this.#storage.setItem(this.#name, JSON.stringify({ id: login.id, refresh_token: tokens.refresh_token }));
      this.#channel?.postMessage({ login: login.id, access } satisfies Message);
    }
    return access;
  }

  #forget(): void {
    this.#access = undefined;
    this.#storage.removeItem(this.#name);
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.loggedIn);
  }

  #login(): Login | undefined {
    return parsed(this.#storage.getItem(this.#name));
  }

  #call(path: string, body: string, type = "application/json"): Call {
    const headers = new Headers({ "Content-Type": type });
    return { method: "POST", url: `${this.#base}/api/v1/${path}`, headers, body, repeatable: true, retrySeconds: 10 };
  }
}

function withToken(call: Call, access: Access): Call {
  const headers = new Headers(call.headers);
  headers.set("Authorization", `Bearer ${access.token}`);
  return { ...call, headers };
}

function isGood(access: Access | undefined, refused?: string): access is Access {
  return access !== undefined && access.token !== refused && access.until > Date.now();
}

function parsed(text: string | null): Login | undefined {
  try {
    return text === null ? undefined : (JSON.parse(text) as Login);
  } catch {
    return undefined;
  }
}

function isShared(storage: TokenStorage): boolean {
  return typeof window !== "undefined" && typeof BroadcastChannel !== "undefined" && storage === window.localStorage;
}

function loggedOut(): ApiError {
  return new ApiError({
    type: "about:blank",
    code: "unauthenticated",
    title: "Unauthorized",
    status: 401,
    detail: "Log in first.",
  });
}

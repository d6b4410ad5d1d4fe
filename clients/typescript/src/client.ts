import createFetch, { type Client as Raw } from "openapi-fetch";
import type { Arguments, Item, ListPath, Method, Operation, Page, User, Verb } from "./operations.js";
import { items, pages } from "./pages.js";
import { errorOf, UnreachableError } from "./problems.js";
import type { components, paths } from "./schema.js";
import { accepted, type Call, isIdempotent, randomKey, retrying, type Send, takesKey } from "./sending.js";
import { memoryStorage, Session, type TokenStorage } from "./session.js";
import { Store, type StoreOptions } from "./store.js";
import { type Editable, merge } from "./updating.js";

export interface ClientOptions {
  /** What precedes `/api/v1`, such as `https://tasks.example.com` or `.` in a page served beside it. */
  baseUrl: string | URL;
  /** Where the refresh token is kept; `localStorage` gives all tabs one login. Memory by default. */
  storage?: TokenStorage;
  /** An API key, in place of a login. */
  apiKey?: string;
  /** For how long a request is tried again: 30. */
  retrySeconds?: number;
  /** How long an answer may take: 30. */
  timeoutSeconds?: number;
  fetch?: typeof fetch;
}

export interface UpdateOptions {
  /** Tell the people of a task. */
  notify?: boolean;
  signal?: AbortSignal;
}

/** A client of the service; all that is refused is thrown as ApiError, no answer as UnreachableError. */
export interface Client {
  get: Verb<"get">;
  post: Verb<"post">;
  put: Verb<"put">;
  patch: Verb<"patch">;
  delete: Verb<"delete">;
  /** Walk a list, page by page or element by element. */
  pages<P extends ListPath>(path: P, ...init: Arguments<Operation<"get", P>>): AsyncGenerator<Page<P>, void>;
  items<P extends ListPath>(path: P, ...init: Arguments<Operation<"get", P>>): AsyncGenerator<Item<P>, void>;
  /**
   * Change a row that was read, and keep what others have changed in it since.
   *
   * Throws ConflictError where they have given a field of the change another value.
   */
  update<E extends keyof Editable>(
    entity: E,
    row: Editable[E]["row"],
    change: Editable[E]["change"],
    options?: UpdateOptions,
  ): Promise<Editable[E]["row"]>;
  /** Make an account and log in to it. */
  register(account: components["schemas"]["UserCreate"]): Promise<User>;
  login(username: string, password: string): Promise<void>;
  /** Forget the login here and end it there. */
  logout(): Promise<void>;
  readonly loggedIn: boolean;
  /** Be told of login and logout, in other tabs too, and of a login that the server has ended. Returns what ends it. */
  onLogin(listener: (loggedIn: boolean) => void): () => void;
  /** A copy of what the user sees that follows what others do, for as long as the login lasts; `start()` it. */
  store(options?: StoreOptions): Store;
  /** The client of openapi-fetch below, with the same login and retries, for headers and answers as they are. */
  readonly raw: Raw<paths>;
}

/** Changes a page. */
const PAGE = 500;

/** What a request says, of whatever operation. */
interface Said {
  path?: object;
  query?: object | undefined;
  body?: unknown;
  version?: number;
  key?: string;
  signal?: AbortSignal | undefined;
}

/** Make a client. It asks nothing until it is asked. */
export function createClient(options: ClientOptions): Client {
  const base = absolute(options.baseUrl);
  const fetching = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const { apiKey, retrySeconds = 30, timeoutSeconds = 30 } = options;
  const send = retrying(fetching, retrySeconds, timeoutSeconds);
  const session = new Session(send, base, options.storage ?? memoryStorage(), retrySeconds);
  const authorized: typeof session.authorized = apiKey
    ? (call, sending = send) => {
        call.headers.set("X-API-Key", apiKey);
        return sending(call);
      }
    : session.authorized;
  const raw = createFetch<paths>({ baseUrl: base, fetch: async (request) => authorized(await callOf(request)) });

  async function ask(method: Method, path: string, init: Said = {}): Promise<unknown> {
    const { path: ids, query, body, version, key, signal } = init;
    const headers = { "If-Match": version === undefined ? undefined : `"${version}"`, "Idempotency-Key": key };
    const { data, error, response } = await raw.request(
      method,
      path as never,
      { params: { path: ids, query }, body, headers, signal } as never,
    );
    if (!response.ok) throw await errorOf(response, error);
    return data;
  }
  const verb = <M extends Method>(method: M) => ((path: string, init?: Said) => ask(method, path, init)) as Verb<M>;
  const get = verb("get");

  function readable(path: string, query: object): Call {
    const url = new URL(base + path);
    for (const [name, values] of Object.entries(query)) {
      for (const value of [values].flat()) url.searchParams.append(name, String(value));
    }
    return { method: "GET", url: url.href, headers: new Headers(), repeatable: true, retrySeconds: 0 };
  }
  const unbuffered: Send = async ({ method, url, headers, signal = null }) =>
    fetching(url, { method, headers, signal, cache: "no-store" }).catch((error: unknown) => {
      throw new UnreachableError(error);
    });
  const transport: ConstructorParameters<typeof Store>[0] = {
    async changes(query, wait, signal) {
      const call = readable("/api/v1/changes", { ...query, limit: PAGE, ...(wait && { wait }) });
      const response = await accepted(authorized, { ...call, signal, timeoutSeconds: 30 + wait });
      return response.json();
    },
    events(query, cursor, signal) {
      const call = readable("/api/v1/events", query);
      call.headers.set("Accept", "text/event-stream");
      call.headers.set("Last-Event-ID", cursor);
      return authorized({ ...call, signal }, unbuffered);
    },
  };

  return {
    get,
    post: verb("post"),
    put: verb("put"),
    patch: verb("patch"),
    delete: verb("delete"),
    pages: (path, init?) => pages(get, path, init),
    items: (path, init?) => items(get, path, init),
    update(entity, row, change, { notify, signal } = {}) {
      const { path, ids } = placeOf(entity, row);
      const query = notify ? { notify } : undefined;
      const init = { path: ids, signal };
      return merge(
        row,
        change,
        (version) => ask("patch", path, { ...init, query, body: change, version }) as Promise<typeof row>,
        () => ask("get", path, init) as Promise<typeof row>,
      );
    },
    async register(account) {
      const user = await ask("post", "/api/v1/users", { body: account });
      await session.login(account.username, account.password);
      return user as User;
    },
    login: (username, password) => session.login(username, password),
    logout: () => session.logout(),
    get loggedIn() {
      return session.loggedIn;
    },
    onLogin: (listener) => session.onChange(listener),
    store(storeOptions = {}) {
      const store = new Store(transport, storeOptions);
      const forget = session.onChange(() => {
        store.stop();
        forget();
      });
      return store;
    },
    raw,
  };
}

function placeOf<E extends keyof Editable>(entity: E, row: Editable[E]["row"]): { path: string; ids: object } {
  if (entity === "task") return { path: "/api/v1/tasks/{task_id}", ids: { task_id: row.id } };
  if (entity === "project") return { path: "/api/v1/projects/{project_id}", ids: { project_id: row.id } };
  const { task_id } = row as Editable["comment"]["row"];
  return { path: "/api/v1/tasks/{task_id}/comments/{comment_id}", ids: { task_id, comment_id: row.id } };
}

async function callOf(request: Request): Promise<Call> {
  const { method, url, signal } = request;
  const headers = new Headers(request.headers);
  if (takesKey(method, new URL(url).pathname) && !headers.has("Idempotency-Key"))
    headers.set("Idempotency-Key", randomKey());
  const repeatable = isIdempotent(method) || headers.has("Idempotency-Key");
  return { method, url, headers, body: (await request.text()) || undefined, signal, repeatable };
}

function absolute(baseUrl: string | URL): string {
  const page = typeof document === "undefined" ? undefined : document.baseURI;
  return new URL(baseUrl, page).href.replace(/\/+$/, "");
}

import { type ChangesPage, Copy, type Item, keyOf, type RowChange } from "./copy.js";
import type { CopyStorage } from "./copy-storage.js";
import { type Frame, readFrames } from "./event-stream.js";
import type { Comment, Member, Project, Section, Task } from "./operations.js";
import { ApiError, errorOf, isTemporary, UnreachableError } from "./problems.js";
import { sleep } from "./waiting.js";

/** The kinds of rows; later servers have more, which are kept as well. */
export interface Rows {
  project: Project;
  member: Member;
  task: Task;
  comment: Comment;
  section: Section;
}

/**
 * How the store follows: `live` by the event stream, `polling` by requests that wait, `offline` while nothing answers,
 * `paused` in a hidden tab, `stopped` before the start, after the end, and when the login has ended.
 */
export type StoreStatus = "connecting" | "live" | "polling" | "offline" | "paused" | "stopped";

export interface StoreOptions {
  /** Where the copy survives a restart; without it everything is loaded at the start. */
  storage?: CopyStorage;
  /** Only these projects. */
  projects?: number[];
  /** Only these kinds. */
  entities?: string[];
  /** How long a tab may be hidden before it gives up its stream: 30. Browsers allow six connections to a host. */
  hiddenSeconds?: number;
}

/** How the store asks; both end at once when the signal is aborted. */
export interface Transport {
  changes(query: object, waitSeconds: number, signal: AbortSignal): Promise<ChangesPage>;
  events(query: object, cursor: string, signal: AbortSignal): Promise<Response>;
}

const WAIT_SECONDS = 25;
/** The server says something every 15 seconds. */
const SILENCE_MILLISECONDS = 40_000;
/** It says something at once; a proxy that collects answers lets nothing through. */
const GREETING_MILLISECONDS = 8_000;
const STREAM_AGAIN_MILLISECONDS = 60_000;
const HIDDEN_SECONDS = 30;
const WITHOUT_STREAM = [404, 405, 429, 501, 503];
/** Events whose frame says all; what others mean depends on who reads it, and is asked for. */
const PLAIN = /^(task|comment|section)\.(created|updated|deleted)$/;

/** A copy of what the user sees, that follows what others do. */
export class Store {
  /** What has ended it, if it was not `stop()` or the end of the login. */
  error: unknown;
  readonly #transport: Transport;
  readonly #filters: { project_id?: number[]; entity?: string[] } = {};
  readonly #hiddenMilliseconds: number;
  readonly #copy: Copy;
  readonly #listeners = new Set<(changes: RowChange[]) => void>();
  #status: StoreStatus = "stopped";
  #stopping: AbortController | undefined;
  #nudge: AbortController | undefined;
  #noStreamUntil = 0;
  #faults = 0;
  #heard = 0;

  /** @internal */
  constructor(transport: Transport, options: StoreOptions) {
    this.#transport = transport;
    if (options.projects) this.#filters.project_id = options.projects;
    if (options.entities) this.#filters.entity = options.entities;
    this.#hiddenMilliseconds = (options.hiddenSeconds ?? HIDDEN_SECONDS) * 1000;
    this.#copy = new Copy(options.storage);
  }

  get status(): StoreStatus {
    return this.#status;
  }

  /** Return a row; that of a member by the user's id and the project's. */
  get<E extends keyof Rows>(entity: E, id: number, projectId = 0): Rows[E] | undefined {
    return this.#copy.rows.get(keyOf(entity, id, projectId))?.row as Rows[E] | undefined;
  }

  /** Return the rows of a kind, of one project or all. */
  all<E extends keyof Rows>(entity: E, projectId?: number): Rows[E][] {
    return Array.from(this.#copy.of(entity, projectId), ({ row }) => row as unknown as Rows[E]);
  }

  /**
   * Show a row that a request has answered without waiting for the stream; an older one changes nothing.
   *
   * That of a member needs the id of its project.
   */
  put<E extends keyof Rows>(entity: E, row: Rows[E], projectId?: number): void {
    const id = "user_id" in row ? row.user_id : row.id;
    projectId ??= "project_id" in row ? row.project_id : id;
    this.#tell([this.#copy.put(entity, id, projectId, row as never)].filter((change) => change !== undefined));
  }

  /** Be told of changes, with an empty list of a new status. Returns what ends it. */
  subscribe(listener: (changes: RowChange[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Begin to follow; resolves when there is something to show: what is stored, or else everything loaded.
   *
   * Throws ApiError if the server refuses, and goes on trying while nothing answers.
   */
  start(): Promise<void> {
    const stopping = (this.#stopping = new AbortController());
    return new Promise((resolve, reject) => {
      this.#follow(stopping.signal, resolve).then(resolve, reject);
    });
  }

  /** Follow no more; what is there stays readable. */
  stop(): void {
    this.#stopping?.abort();
    this.#setStatus("stopped");
  }

  async #follow(stopped: AbortSignal, ready: () => void): Promise<void> {
    this.#setStatus("connecting");
    await this.#copy.load();
    if (this.#copy.cursor) ready();
    const unwatch = this.#watchPage();
    try {
      while (!stopped.aborted) {
        const nudge = (this.#nudge = new AbortController());
        await this.#round(AbortSignal.any([stopped, nudge.signal]), ready);
      }
    } catch (error) {
      if (stopped.aborted) return;
      this.error = error;
      this.#setStatus("stopped");
      throw error;
    } finally {
      unwatch();
    }
  }

  /** Catch up and listen, until the stream ends, something fails or the page wakes up. */
  async #round(signal: AbortSignal, ready: () => void): Promise<void> {
    try {
      if (isHidden() && this.#status === "paused") return await sleep(2 ** 31 - 1, signal);
      await this.#catchUp(signal);
      ready();
      if (Date.now() < this.#noStreamUntil) await this.#poll(signal);
      else await this.#listen(signal);
    } catch (error) {
      if (signal.aborted) return;
      const isExpired = error instanceof ApiError && (error.status === 410 || error.kind === "invalid-cursor");
      if (isExpired) this.#copy.expire();
      else if (!isTemporary(error)) throw error;
      else this.#setStatus("offline");
      const first = isExpired ? 0 : 0.5;
      const after = error instanceof ApiError ? (error.retryAfter ?? 0) : 0;
      const wait = Math.max(after, Math.min(5, first * 2 ** this.#faults++)) * 1000;
      await sleep(wait * (1 + Math.random() / 2), signal).catch(() => undefined);
    }
  }

  async #catchUp(signal: AbortSignal, waitSeconds = 0): Promise<number> {
    let applied = 0;
    for (let more = true; more; waitSeconds = 0) {
      const since = this.#copy.since;
      const page = await this.#transport.changes(
        { ...this.#filters, ...(since && { since }) },
        since ? waitSeconds : 0,
        signal,
      );
      this.#faults = 0;
      this.#tell(await this.#copy.apply(page.changes, page.cursor));
      signal.throwIfAborted();
      applied += page.changes.length;
      more = page.has_more;
    }
    return applied;
  }

  async #poll(signal: AbortSignal): Promise<void> {
    this.#setStatus("polling");
    while (Date.now() < this.#noStreamUntil) {
      const began = Date.now();
      const applied = await this.#catchUp(signal, WAIT_SECONDS);
      // Some servers cannot wait.
      if (applied === 0 && Date.now() - began < 1000) await sleep(3000, signal);
    }
  }

  async #listen(signal: AbortSignal): Promise<void> {
    const silence = new AbortController();
    this.#heard = Date.now();
    let isOpen = false;
    // Computers sleep: only the clock tells, after waking up.
    const watch = setInterval(() => {
      if (this.#isSilent(isOpen ? SILENCE_MILLISECONDS : GREETING_MILLISECONDS)) silence.abort();
    }, 2000);
    try {
      const both = AbortSignal.any([signal, silence.signal]);
      const response = await this.#transport.events(this.#filters, this.#copy.cursor ?? "", both);
      if (WITHOUT_STREAM.includes(response.status)) {
        await response.body?.cancel();
        return this.#doWithoutStream();
      }
      if (!response.ok || !response.body) throw await errorOf(response);
      for await (const frames of readFrames(response.body)) {
        this.#heard = Date.now();
        isOpen = true;
        if (!(await this.#takeFrames(frames, signal))) break;
      }
      await sleep(Math.random() * 1000, signal); // a server that stops ends many streams at once
    } catch (error) {
      if (silence.signal.aborted) return isOpen ? undefined : this.#doWithoutStream();
      throw error instanceof ApiError ? error : new UnreachableError(error);
    } finally {
      clearInterval(watch);
    }
  }

  #doWithoutStream(): void {
    this.#noStreamUntil = Date.now() + STREAM_AGAIN_MILLISECONDS;
  }

  /** Apply the frames of one arrival. Returns whether to go on reading. */
  async #takeFrames(frames: Frame[], signal: AbortSignal): Promise<boolean> {
    if (frames.some(({ event }) => event === "reset")) {
      // The place behind it is one of another log, or leaves out what was missed.
      this.#copy.expire();
      return false;
    }
    const events = frames.filter(({ id, data }) => id && data);
    const cursor = frames.findLast(({ id }) => id)?.id;
    if (events.some(({ event }) => !PLAIN.test(event))) {
      await this.#catchUp(signal);
    } else if (cursor) {
      const items = events.map(({ data }) => itemOf(JSON.parse(data))).filter((item) => item !== undefined);
      this.#tell(await this.#copy.apply(items, cursor));
      signal.throwIfAborted();
    }
    if (frames.some(({ event }) => event === "ready")) {
      this.#faults = 0;
      this.#setStatus("live");
    }
    return !frames.some(({ event }) => event === "bye");
  }

  /**
   * Try at once when the page is shown, and when the network goes, which an open stream may outlive, or comes back; give
   * the stream up in a tab that stays hidden.
   */
  #watchPage(): () => void {
    if (typeof document === "undefined") return () => undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const wake = () => {
      clearTimeout(timer);
      if (document.visibilityState === "hidden") {
        timer = setTimeout(() => {
          this.#setStatus("paused");
          this.#nudge?.abort();
        }, this.#hiddenMilliseconds);
      } else if (
        this.#status === "paused" ||
        this.#status === "offline" ||
        (this.#status === "live" && this.#isSilent(SILENCE_MILLISECONDS))
      ) {
        this.#setStatus("connecting");
        this.#nudge?.abort();
      }
    };
    const tryAgain = () => this.#nudge?.abort();
    document.addEventListener("visibilitychange", wake);
    addEventListener("online", wake);
    addEventListener("offline", tryAgain);
    wake();
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", wake);
      removeEventListener("online", wake);
      removeEventListener("offline", tryAgain);
    };
  }

  #isSilent(milliseconds: number): boolean {
    return Date.now() - this.#heard > milliseconds;
  }

  #setStatus(status: StoreStatus): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#tell([], true);
  }

  #tell(changes: RowChange[], isStatus = false): void {
    if (changes.length === 0 && !isStatus) return;
    for (const listener of this.#listeners) {
      try {
        listener(changes);
      } catch (error) {
        queueMicrotask(() => {
          throw error; // the listener's own, which does not end the store
        });
      }
    }
  }
}

/** What a frame says, as an item of a page of changes; undefined if the row has gone since, as a later frame says. */
function itemOf(data: Item & { action: string }): Item | undefined {
  if (data.action === "deleted") return { ...data, deleted: true };
  return data[data.entity] ? { ...data, deleted: false } : undefined;
}

function isHidden(): boolean {
  return typeof document !== "undefined" && document.visibilityState === "hidden";
}

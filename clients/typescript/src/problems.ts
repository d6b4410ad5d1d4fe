import type { components } from "./schema.js";

/** What a refusal is about, such as `stale-version`; later servers have more. */
export type ProblemKind = components["schemas"]["Problem"] extends { code: infer Code extends string }
  ? Code | (string & {})
  : string;

/** A problem document (RFC 9457) with the members that single kinds add. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance?: string;
  request_id?: string;
  code?: string;
  /** `invalid`: what is wrong with which value. */
  errors?: { loc: (string | number)[]; msg: string; type: string }[] | null;
  /** `stale-version`: the version there is. */
  current_version?: number;
  /** `stale-version`: what has changed since the version that was sent; null if that is not known. */
  changed_fields?: string[] | null;
  /** Of several tasks, the first at fault. */
  index?: number;
  /** `already-taken`: `username` or `email`. */
  field?: string;
  /** `scope-missing`: what the API key would need. */
  scope?: string;
  /** `owns-shared-projects`. */
  projects?: { id: number; name: string }[];
  /** `cursor-expired`: `epoch`, `retention` or `ahead`. */
  reason?: string;
}

/** The server refused a request. */
export class ApiError extends Error {
  override readonly name: string = "ApiError";
  readonly status: number;
  /** What it is about: compare this, not `problem.type`. */
  readonly kind: ProblemKind;
  readonly problem: Problem;
  /** Seconds after which to try again, if the server said so. */
  readonly retryAfter: number | undefined;

  constructor(problem: Problem, retryAfter?: number) {
    super([problem.detail, ...(problem.errors ?? []).map(({ loc, msg }) => `${loc.join(".")}: ${msg}.`)].join(" "));
    this.status = problem.status;
    this.kind = kindOf(problem);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** No answer came: no network, no server, or a time-out; a write may have happened or not. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";

  constructor(cause: unknown) {
    super("The server cannot be reached.", { cause });
  }
}

/** Somebody else has changed the same fields to other values. */
export class ConflictError<Row = Record<string, unknown>, Change = Record<string, unknown>> extends ApiError {
  override readonly name = "ConflictError";
  /** The row that the change was made to. */
  readonly base: Row;
  /** The change that was not made. */
  readonly mine: Change;
  /** The row as it is now. */
  readonly theirs: Row;
  /** Fields of `mine` that have another value in `theirs` than in `base`. */
  readonly fields: (keyof Change)[];

  constructor(refusal: ApiError, base: Row, mine: Change, theirs: Row, fields: (keyof Change)[]) {
    super(refusal.problem);
    this.base = base;
    this.mine = mine;
    this.theirs = theirs;
    this.fields = fields;
  }
}

/** Whether it may go better in a while. */
export function isTemporary(error: unknown): boolean {
  return (
    error instanceof UnreachableError || (error instanceof ApiError && (error.status >= 500 || error.status === 429))
  );
}

/** The seconds of `Retry-After`, which may be a date as well. */
export function retryAfterOf(response: Response): number | undefined {
  const value = response.headers.get("Retry-After");
  if (value === null) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/** The error of an answer that is none of 2xx, with what of its body has been read already. */
export async function errorOf(response: Response, body?: unknown): Promise<ApiError> {
  const problem = body ?? (await response.json().catch(() => undefined));
  return new ApiError(
    isProblem(problem)
      ? problem
      : { type: "about:blank", title: response.statusText, status: response.status, detail: `HTTP ${response.status}` },
    retryAfterOf(response),
  );
}

function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "type" in value && "status" in value && "detail" in value;
}

function kindOf(problem: Problem): ProblemKind {
  return problem.code ?? problem.type.slice(Math.max(problem.type.lastIndexOf(":"), problem.type.lastIndexOf("#")) + 1);
}

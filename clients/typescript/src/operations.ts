import type { paths } from "./schema.js";

export type Method = "get" | "post" | "put" | "patch" | "delete";

/** The paths of the document that take a method. */
export type Path<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, object> ? P : never;
}[keyof paths];

export type Operation<M extends Method, P extends keyof paths> = M extends keyof paths[P]
  ? NonNullable<paths[P][M]>
  : never;

type Parameters<O> = O extends { parameters: infer Found } ? Found : never;
type QueryOf<O> = Parameters<O> extends { query?: infer Query } ? NonNullable<Query> : never;
type PathPart<O> = Parameters<O> extends { path: infer Ids extends object } ? { path: Ids } : { path?: never };
type QueryPart<O> = [QueryOf<O>] extends [never]
  ? { query?: never }
  : Parameters<O> extends { query: object }
    ? { query: QueryOf<O> }
    : { query?: QueryOf<O> };
type BodyPart<O> = O extends { requestBody: { content: infer Content } }
  ? { body: Content[keyof Content] }
  : O extends { requestBody?: infer Body }
    ? { body?: NonNullable<Body> extends { content: infer Content } ? Content[keyof Content] : never }
    : { body?: never };

/** What a request says, as the document has it. */
export type Init<O> = PathPart<O> &
  QueryPart<O> &
  BodyPart<O> & {
    /** The version that this replaces or deletes; another one is refused (`stale-version`). */
    version?: number;
    /** An `Idempotency-Key` of your own, for a write that is sent again after a restart. */
    key?: string;
    signal?: AbortSignal;
  };

/** Nothing needs to be said where nothing is required. */
export type Arguments<O> = object extends Init<O> ? [init?: Init<O>] : [init: Init<O>];

type Success = 200 | 201 | 202 | 204;
type Content<R> = R extends { content: { "application/json": infer Body } } ? Body : undefined;

/** The body of the answer; undefined for 204. */
export type Answer<O> = O extends { responses: infer R } ? Content<R[keyof R & Success]> : never;

/** Send a request of the document and return the body of its answer. */
export type Verb<M extends Method> = <P extends Path<M>>(
  path: P,
  ...init: Arguments<Operation<M, P>>
) => Promise<Answer<Operation<M, P>>>;

/** The lists: what takes a `cursor` and answers pages. */
export type ListPath = {
  [P in Path<"get">]: Answer<Operation<"get", P>> extends { next_cursor?: unknown } ? P : never;
}[Path<"get">];

export type Page<P extends ListPath> = Answer<Operation<"get", P>>;

/** One element of a list. */
export type Item<P extends ListPath> = {
  [K in keyof Page<P>]-?: Page<P>[K] extends (infer Row)[] ? Row : never;
}[keyof Page<P>];

type Get<P extends Path<"get">> = Answer<Operation<"get", P>>;
type Change<P extends Path<"patch">> = Init<Operation<"patch", P>> extends { body: infer Body } ? Body : never;

export type Task = Get<"/api/v1/tasks/{task_id}">;
export type Project = Get<"/api/v1/projects/{project_id}">;
export type Comment = Get<"/api/v1/tasks/{task_id}/comments/{comment_id}">;
export type Member = Get<"/api/v1/projects/{project_id}/members/{user_id}">;
export type Section = Get<"/api/v1/projects/{project_id}/sections/{section_id}">;
export type User = Get<"/api/v1/users/me">;
export type TaskChange = Change<"/api/v1/tasks/{task_id}">;
export type ProjectChange = Change<"/api/v1/projects/{project_id}">;
export type CommentChange = Change<"/api/v1/tasks/{task_id}/comments/{comment_id}">;

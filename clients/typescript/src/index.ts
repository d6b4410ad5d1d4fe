export { createClient, type Client, type ClientOptions, type UpdateOptions } from "./client.js";
export type { RowChange } from "./copy.js";
export { type CopiedRow, type CopyStep, type CopyStorage, indexedCopy } from "./copy-storage.js";
export type * from "./operations.js";
export { ApiError, ConflictError, type Problem, type ProblemKind, UnreachableError } from "./problems.js";
export type { components, paths } from "./schema.js";
export { memoryStorage, type TokenStorage } from "./session.js";
export { type Rows, Store, type StoreOptions, type StoreStatus } from "./store.js";
export type { Editable } from "./updating.js";

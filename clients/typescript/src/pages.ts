import type { Init, Item, ListPath, Operation, Page } from "./operations.js";

type ReadPage = (path: never, init: never) => Promise<unknown>;

/** Walk the pages of a list. */
export async function* pages<P extends ListPath>(
  read: ReadPage,
  path: P,
  init?: Init<Operation<"get", P>>,
): AsyncGenerator<Page<P>, void> {
  let cursor: string | null | undefined;
  do {
    const query = cursor ? { ...init?.query, cursor } : { ...init?.query };
    const page = (await read(path as never, { ...init, query } as never)) as Page<P> & { next_cursor?: string | null };
    yield page;
    cursor = page.next_cursor;
  } while (cursor);
}

/** Walk the elements of a list. */
export async function* items<P extends ListPath>(
  read: ReadPage,
  path: P,
  init?: Init<Operation<"get", P>>,
): AsyncGenerator<Item<P>, void> {
  for await (const page of pages(read, path, init)) {
    yield* Object.values(page as object).find(Array.isArray) as Item<P>[];
  }
}

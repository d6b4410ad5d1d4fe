import { expect, test } from "vitest";
import { ApiError } from "../src/index.js";
import { errorOf } from "../src/problems.js";

const problem = { title: "Precondition Failed", status: 412, detail: "It has changed." };

test.each([
  { type: "urn:taskmanager:problem:stale-version" },
  { type: "https://tasks.example.com/docs/problems#stale-version" },
  { type: "https://tasks.example.com/docs/problems#other", code: "stale-version" },
])("the kind is read from %o", (names) => {
  expect(new ApiError({ ...problem, ...names }).kind).toBe("stale-version");
});

test("a page of a proxy is an error too", async () => {
  const error = await errorOf(new Response("<html>", { status: 502, headers: { "Retry-After": "7" } }));
  expect(error).toMatchObject({ status: 502, kind: "blank", retryAfter: 7 });
});

test("Retry-After may be a date", async () => {
  const date = new Date(Date.now() + 60_000).toUTCString();
  const { retryAfter } = await errorOf(new Response(null, { status: 503, headers: { "Retry-After": date } }));
  expect(retryAfter).toBeGreaterThan(57);
  expect(retryAfter).toBeLessThanOrEqual(60);
});

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { bundle } from "./support/browser.js";
import { newPerson } from "./support/people.js";

const MOST_BYTES = 12 * 1024;
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
const QUIET = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
const run = promisify(execFile);

let folder: string;
let files: string[];

/** An empty project in which the package is installed. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "task-manager-client-"));
  await run(process.execPath, [TSC, "--project", "tsconfig.build.json"], { cwd: ROOT });
  const packed = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: ROOT });
  const [made] = JSON.parse(packed.stdout) as { filename: string; files: { path: string }[] }[];
  files = made?.files.map(({ path }) => path) ?? [];
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
  await run("npm", ["install", ...QUIET, `./${made?.filename}`], { cwd: folder });
}, 120_000);
afterAll(() => rm(folder, { recursive: true }));

/** Compile a program in the empty project under strict rules, run it, and return what it has printed. */
async function compileAndRun(source: string, options: { module: string; moduleResolution: string }): Promise<string> {
  const place = await mkdtemp(join(folder, "program-"));
  await writeFile(join(place, "program.ts"), source);
  const compilerOptions = { ...options, lib: ["ES2022", "DOM"], target: "ES2022", strict: true, types: [] };
  await writeFile(join(place, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  await run(process.execPath, [TSC, "--project", place]).catch(({ stdout }) => expect.fail(stdout));
  return (await run(process.execPath, [join(place, "program.js")])).stdout;
}

test("the package has what is built, and nothing else", () => {
  const others = files.filter((file) => !/^dist\/[a-z-]+\.(js|d\.ts)$/.test(file));
  expect(others.sort()).toEqual(["LICENSE", "README.md", "package.json"]);
  expect(files).toContain("dist/index.js");
});

test.each([
  ["NodeNext", "NodeNext"],
  ["ESNext", "Bundler"],
])("the tour of the README compiles in an empty project (%s, %s) and runs", async (module, moduleResolution) => {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const tour = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  expect(tour.trim().split("\n").length).toBeLessThanOrEqual(25);
  const name = `ada${Date.now().toString(36)}`;
  const source = tour
    .replace("http://127.0.0.1:8000", inject("url"))
    .replace('"ada"', `"${name}"`)
    .replace("ada@", `${name}@`);
  const stdout = await compileAndRun(source, { module, moduleResolution });
  expect(stdout).toContain("[ 'Dig' ]");
  expect(stdout).toMatch(/^Dig deeper$/m);
});

test("the five lines that the service begins with compile and run", async () => {
  const readme = await readFile(join(ROOT, "../../README.md"), "utf8");
  const lines = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const { username, password } = await newPerson();
  const source = lines
    .replace("http://127.0.0.1:8000", inject("url"))
    .replace('"demo"', `"${username}"`)
    .replace('"demo-password"', `"${password}"`);
  expect(source.trim().split("\n")).toHaveLength(5);
  await compileAndRun(source, { module: "NodeNext", moduleResolution: "NodeNext" });
});

test("client and openapi-fetch are at most 12 KB, minified and gzipped", async () => {
  const bytes = gzipSync(await bundle("esm"), { level: 9 }).length;
  expect(bytes).toBeLessThanOrEqual(MOST_BYTES);
  console.info(`${bytes} bytes`);
});

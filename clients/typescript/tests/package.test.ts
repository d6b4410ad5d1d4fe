import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { bundle } from "./support/browser.js";

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
  const place = join(folder, moduleResolution);
  await mkdir(place);
  await writeFile(join(place, "tour.ts"), source);
  const lib = ["ES2022", "DOM"];
  const compilerOptions = { module, moduleResolution, lib, target: "ES2022", strict: true, types: [] };
  await writeFile(join(place, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  await run(process.execPath, [TSC, "--project", place]).catch(({ stdout }) => expect.fail(stdout));
  const { stdout } = await run(process.execPath, [join(place, "tour.js")]);
  expect(stdout).toContain("[ 'Dig' ]");
  expect(stdout).toMatch(/^Dig deeper$/m);
});

test("client and openapi-fetch are at most 12 KB, minified and gzipped", async () => {
  const bytes = gzipSync(await bundle("esm"), { level: 9 }).length;
  expect(bytes).toBeLessThanOrEqual(MOST_BYTES);
  console.info(`${bytes} bytes`);
});

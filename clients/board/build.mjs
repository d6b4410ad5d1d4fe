// Builds the page into the Python package; `--check` fails if what is there was built from other sources.
import { build } from "esbuild";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = here("../../src/taskmanager/webapp/assets/");
const { outputFiles } = await build({
  entryPoints: { board: here("src/main.tsx"), "board-style": here("src/styles/index.css") },
  outdir: target,
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: ["es2022"],
  supported: { nesting: false },
  jsx: "automatic",
  jsxImportSource: "preact",
  alias: { "task-manager-client": here("../typescript/src/index.ts"), "openapi-fetch": here("node_modules/openapi-fetch") },
  legalComments: "none",
  logLevel: "warning",
});
const licenses = await Promise.all(
  ["preact", "openapi-fetch"].map(async (name) => `${name}\n\n${await readFile(here(`node_modules/${name}/LICENSE`), "utf8")}`),
);
outputFiles.push({ path: `${target}LICENSES.txt`, contents: Buffer.from(licenses.join("\n\n")) });
const drifted = [];
for (const { path, contents } of outputFiles) {
  if (!process.argv.includes("--check")) await writeFile(path, contents);
  else if (!(await readFile(path).catch(() => Buffer.alloc(0))).equals(contents)) drifted.push(path);
}
if (drifted.length) {
  console.error(`${drifted.join(", ")}: built from other sources than are here; run make app`);
  process.exitCode = 1;
}

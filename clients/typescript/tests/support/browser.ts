import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type Browser, chromium } from "playwright-core";
import type { Gateway } from "./gateway.js";

export const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
export const hasChromium = existsSync(CHROMIUM);
/** A name of this machine that browsers take for another one, so that its pages get what pages of plain http get. */
export const PLAIN_HOST = "board.test";

/** The client as one script, as a page would have it. */
export async function bundle(format: "esm" | "iife"): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("../../src/index.ts", import.meta.url))],
    bundle: true,
    minify: true,
    write: false,
    target: "es2022",
    format,
    ...(format === "iife" && { globalName: "taskManager" }),
  });
  return outputFiles[0]?.text ?? "";
}

export function launch(): Promise<Browser> {
  const args = ["--no-sandbox", `--host-resolver-rules=MAP ${PLAIN_HOST} 127.0.0.1`];
  return chromium.launch({ executablePath: CHROMIUM, args });
}

/** Let a gateway serve a page that has the client as `taskManager`. */
export async function servePage(gateway: Gateway): Promise<void> {
  const page = "<!doctype html><title>Page</title><link rel=icon href=data:,><script src=client.js></script>";
  gateway.files.set("/app/page", { type: "text/html", content: page });
  gateway.files.set("/app/client.js", { type: "text/javascript", content: await bundle("iife") });
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import type { TestProject } from "vitest/node";
import { PYTHON, ROOT, run, Service } from "./service.js";

declare module "vitest" {
  interface ProvidedContext {
    /** A running service. */
    url: string;
    databaseUrl: string;
  }
}

/** Start a database and a service for all tests. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const holder = spawn(PYTHON, ["-m", "tests.support.hold_database"], {
    cwd: ROOT,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await once(holder.stdout, "data");
  const databaseUrl = String(line).trim();
  run(databaseUrl, "migrate");
  const service = await Service.start(databaseUrl);
  project.provide("url", service.url);
  project.provide("databaseUrl", databaseUrl);
  return async () => {
    await service.stop();
    const ended = once(holder, "exit");
    holder.stdin.end();
    await ended;
  };
}

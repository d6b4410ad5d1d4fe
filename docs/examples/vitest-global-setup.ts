// A task manager for all tests of a vitest project: name this file as `globalSetup` in its configuration.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    taskManagerUrl: string;
  }
}

export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const urlFile = join(tmpdir(), `task-manager-${randomUUID()}`);
  const options = ["dev", "--ephemeral", "--port", "0", "--no-demo", "--url-file", urlFile, "--stop-with-stdin"];
  const service = spawn(process.env.TASKMANAGER ?? "taskmanager", options, { stdio: ["pipe", "ignore", "inherit"] });
  const ended = once(service, "exit");
  while (!existsSync(urlFile)) {
    if (service.exitCode !== null) throw new Error(`taskmanager ended with ${service.exitCode}`);
    await Promise.race([sleep(10), ended]);
  }
  project.provide("taskManagerUrl", readFileSync(urlFile, "utf8").trim());
  return async () => {
    service.stdin.end();
    await ended;
  };
}

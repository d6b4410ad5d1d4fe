import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));
const TASKMANAGER = process.env["TASKMANAGER"] ?? `${ROOT}.venv/bin/taskmanager`;
export const PYTHON = process.env["TASKMANAGER_PYTHON"] ?? `${ROOT}.venv/bin/python`;

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Wait until something is true. */
export async function until(what: () => unknown, seconds = 20): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(20)) {
    if (await what()) return;
  }
  throw new Error(`not after ${seconds} s: ${what}`);
}

/** Run a command of the service, such as `migrate`. */
export function run(databaseUrl: string, ...command: string[]): void {
  const { status, stderr } = spawnSync(TASKMANAGER, command, { env: environment(databaseUrl), encoding: "utf8" });
  if (status !== 0) throw new Error(`taskmanager ${command.join(" ")}: ${stderr}`);
}

function environment(databaseUrl: string, more: Record<string, string> = {}): NodeJS.ProcessEnv {
  const limits = ["ANONYMOUS", "USER", "LOGIN", "LOGIN_ADDRESS"].map((name) => [`RATE_LIMIT_${name}_PER_MINUTE`, "0"]);
  return {
    PATH: process.env["PATH"],
    HOME: process.env["HOME"],
    DATABASE_URL: databaseUrl,
    SECRET_KEY: "0".repeat(64),
    DRAIN_SECONDS: "0",
    ...Object.fromEntries(limits),
    ...more,
  };
}

/** `taskmanager serve` on a port of its own, started again on the same one. */
export class Service {
  readonly port: number;
  readonly #databaseUrl: string;
  #process: ChildProcess | undefined;
  #errors = "";

  constructor(databaseUrl: string, port: number) {
    this.#databaseUrl = databaseUrl;
    this.port = port;
  }

  static async start(databaseUrl: string, workers = 1, more: Record<string, string> = {}): Promise<Service> {
    const service = new Service(databaseUrl, await freePort());
    await service.start(workers, more);
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(workers = 1, more: Record<string, string> = {}): Promise<void> {
    const settings = { PORT: String(this.port), ...more };
    this.#process = spawn(TASKMANAGER, ["serve", "--workers", String(workers)], {
      env: environment(this.#databaseUrl, settings),
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process.stderr?.on("data", (text) => (this.#errors = (this.#errors + text).slice(-4000)));
    await until(async () => {
      if (this.#process?.exitCode !== null) throw new Error(`the service has ended:\n${this.#errors}`);
      return (await fetch(`${this.url}/readyz`).catch(() => undefined))?.ok;
    });
  }

  /** End one worker at once, and return its process id. */
  killWorker(): number {
    const [worker] = this.#workers();
    if (worker === undefined) throw new Error("no worker");
    process.kill(worker, "SIGKILL");
    return worker;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const running = this.#process;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, "exit");
    const workers = signal === "SIGKILL" ? this.#workers() : [];
    running.kill(signal);
    for (const worker of workers) process.kill(worker, signal);
    await ended;
  }

  #workers(): number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((name) => parentOf(name) === this.#process?.pid)
      .map(Number);
  }
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]);
  } catch {
    return undefined; // it has just ended
  }
}

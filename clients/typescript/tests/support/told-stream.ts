import type { ServerResponse } from "node:http";

/** A stream as docs have it, told by a test. */
export class Told {
  readonly #open = new Set<ServerResponse>();
  readonly positions: string[] = [];

  accept(lastEventId: unknown, response: ServerResponse): true {
    this.positions.push(String(lastEventId));
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`retry: 1000\n\nevent: ready\ndata: {}\n\n`);
    this.#open.add(response);
    response.once("close", () => this.#open.delete(response));
    return true;
  }

  say(...blocks: string[]): void {
    for (const response of this.#open) response.write(blocks.join(""));
  }

  get listeners(): number {
    return this.#open.size;
  }
}

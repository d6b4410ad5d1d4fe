import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";

export interface Seen {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: string;
}

/** What happens to a request: true if that was all; nothing, and it goes on to the service. */
export type Rule = (seen: Seen, response: ServerResponse) => boolean | "lose-answer" | undefined | void;

/** A proxy before the service that records requests, and fails where a test wants it. */
export class Gateway {
  readonly seen: Seen[] = [];
  rule: Rule = () => undefined;
  target: string;
  /** Pages that it serves itself. */
  readonly files = new Map<string, { type: string; content: string }>();
  #server: Server;

  private constructor(target: string) {
    this.target = target;
    this.#server = createServer((incoming, outgoing) => void this.#take(incoming, outgoing));
  }

  static async start(target: string): Promise<Gateway> {
    const gateway = new Gateway(target);
    gateway.#server.listen(0, "127.0.0.1");
    await once(gateway.#server, "listening");
    return gateway;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  count(method: string, path: RegExp): number {
    return this.seen.filter((one) => one.method === method && path.test(one.path)).length;
  }

  /** Close every connection that is open. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const seen = {
      method: incoming.method ?? "",
      path: incoming.url ?? "",
      headers: incoming.headers,
      body: body.toString(),
    };
    const file = this.files.get(seen.path);
    if (file) {
      outgoing.setHeader("Content-Type", file.type).end(file.content);
      return;
    }
    this.seen.push(seen);
    const ruled = this.rule(seen, outgoing);
    if (ruled === true) return;
    const { hostname, port } = new URL(this.target);
    const forward = request(
      { hostname, port, method: seen.method, path: seen.path, headers: incoming.headers },
      (answer) => {
        if (ruled === "lose-answer") {
          answer.resume().once("end", () => incoming.socket.destroy());
          return;
        }
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
        answer.once("error", () => incoming.socket.destroy());
        outgoing.once("close", () => forward.destroy());
      },
    );
    forward.once("error", () => incoming.socket.destroy());
    forward.end(body);
  }
}

/** Answer with a problem document. */
export function refuse(
  response: ServerResponse,
  status: number,
  kind: string,
  headers: Record<string, string> = {},
): true {
  response.writeHead(status, { "Content-Type": "application/problem+json", ...headers });
  response.end(
    JSON.stringify({
      type: `urn:taskmanager:problem:${kind}`,
      title: kind,
      status,
      detail: kind,
      instance: "/",
      request_id: "x",
    }),
  );
  return true;
}

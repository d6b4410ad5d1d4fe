/** A block of an event stream. */
export interface Frame {
  /** Where the reader has got to; undefined if the block says nothing of it. */
  id: string | undefined;
  event: string;
  data: string;
}

/** Read the frames of an event stream (WHATWG HTML, section 9.2; lines end with a line feed), those of one arrival together. */
export async function* readFrames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame[], void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      yield blocks.map(parsed);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parsed(block: string): Frame {
  const frame: Frame = { id: undefined, event: "message", data: "" };
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (name === "id") frame.id = value;
    else if (name === "event") frame.event = value;
    else if (name === "data") data.push(value);
  }
  frame.data = data.join("\n");
  return frame;
}

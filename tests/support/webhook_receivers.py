"""A receiver of webhooks on the loopback address, which notes what it gets and answers as the test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request."""

    head: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The message's id."""
        return self.headers["webhook-id"]

    @property
    def document(self) -> Any:
        """The message."""
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """The message's type."""
        return str(self.document["type"])


def answer(status: int, *headers: str, body: str = "") -> bytes:
    """Return an answer's bytes."""
    lines = (f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", body)
    return "\r\n".join(lines).encode()


Write = Callable[[bytes], Awaitable[None]]
Respond = Callable[[Received, Write], Awaitable[None]]


@dataclass
class Receiver:
    """What was received, in order; `respond` writes the answer, by default that of `status`."""

    status: int = 204
    respond: Respond | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?from=tests"

    @property
    def types(self) -> list[str]:
        """The types of all messages."""
        return [one.type for one in self.received]

    @property
    def ids(self) -> list[str]:
        """The ids of all messages."""
        return [one.id for one in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.connections += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self.at_once -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        request = Received(lines[0], headers, await reader.readexactly(int(headers["content-length"])))
        self.received.append(request)

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        if self.respond is not None:
            await self.respond(request, write)
        else:
            await write(answer(self.status))


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[Receiver]:
    """Yield a receiver that listens."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, **options)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def until(is_so: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until something is so; a condition may have to be awaited."""
    async with asyncio.timeout(seconds):
        while True:
            found = is_so()
            if (await found) if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)

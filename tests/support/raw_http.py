"""HTTP as bytes on a socket, for what no client library sends."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

_SECONDS = 10


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the content's document."""
        return json.loads(self.content)


class RawConnection:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each in a packet of its own."""
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(0.05)  # else the server might read both together
            self._writer.write(piece)
            await self._writer.drain()

    async def receive(self, method: str = "GET") -> Answer:
        """Return the next answer to a request with this method."""
        async with asyncio.timeout(_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
            content = await self._reader.readexactly(length)
        return Answer(int(status_line.split(" ")[1]), headers, content)

    async def is_silent(self, seconds: float = 0.2) -> bool:
        """Return whether nothing more comes; the end of the connection is something."""
        try:
            async with asyncio.timeout(seconds):
                await self._reader.read(1)
        except TimeoutError:
            return True
        return False

    async def is_closed(self) -> bool:
        """Return whether the server ends the connection, and sends nothing before."""
        async with asyncio.timeout(_SECONDS):
            return await self._reader.read(1) == b""


@asynccontextmanager
async def raw_connection(port: int) -> AsyncIterator[RawConnection]:
    """Yield a connection to a port of the loopback address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


def head(method: str, path: str, *lines: str, version: str = "1.1", body: bytes | None = None) -> bytes:
    """Return the head of a request, with the length of its JSON body if there is one."""
    own: Sequence[str] = () if body is None else ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/{version}", "Host: x", *lines, *own, "")).encode()


def chunked(parts: Iterable[bytes]) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))

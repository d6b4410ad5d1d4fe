"""A client that costs less time than the server that it measures."""

import asyncio
from urllib.parse import urlsplit


class Connection:
    """One kept-alive connection; a full client would take more time than the server."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def send(self, request: bytes) -> int:
        """Send a request, read the whole answer and return its status."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.splitlines() if line.lower().startswith(b"content-length")
        )
        await self._reader.readexactly(length)
        return int(head.split(b" ", 2)[1])

    async def close(self) -> None:
        """Disconnect."""
        self._writer.close()
        await self._writer.wait_closed()


def percentile(times: list[float], percent: float) -> float:
    """Return a percentile in milliseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * percent / 100))] * 1000

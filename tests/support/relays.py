"""Ways to a database on which something happens before it is reached."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress

from sqlalchemy import URL, make_url

Greeting = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


@asynccontextmanager
async def relay(database_url: str, host: str, greet: Greeting) -> AsyncIterator[str]:
    """Yield a URL with the given host by which a database is reached through this process.

    `greet` is awaited with each new connection, which is let through if it returns true.
    """
    target = make_url(database_url)
    tasks = set[asyncio.Task[None]]()

    async def let_through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            if await greet(reader, writer):
                there = await _connect(target)
                await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(let_through(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        # The query may name a socket's folder.
        yield target.set(host=host, port=port, query={}).render_as_string(hide_password=False)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connect(target: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if folder := target.query.get("host"):
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{target.query.get('port', 5432)}")
    return await asyncio.open_connection(target.host, target.port or 5432)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer), suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()

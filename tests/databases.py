"""Databases of a test's own, and servers that don't answer."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from sqlalchemy import make_url

from tests.server import connect, database_on


@asynccontextmanager
async def temporary_database(database_url: str) -> AsyncIterator[str]:
    """Yield the URL of an empty database beside the given one."""
    name = f"temporary_{uuid.uuid4().hex}"
    connection = await connect(make_url(database_url))
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield database_on(database_url, name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


def _url_at(port: int, database_url: str) -> str:
    # The query may name a socket's folder.
    url = make_url(database_url).set(host="127.0.0.1", port=port, query={})
    return url.render_as_string(hide_password=False)


def refusing_url(database_url: str) -> str:
    """Return a URL at which nobody listens."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return _url_at(port, database_url)


@asynccontextmanager
async def silent_url(database_url: str) -> AsyncIterator[str]:
    """Yield a URL at which somebody listens but never says a word."""
    writers = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield _url_at(port, database_url)
    finally:
        server.close()
        for writer in writers:
            writer.close()

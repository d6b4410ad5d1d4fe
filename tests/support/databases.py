"""Databases of a test's own, and servers that don't answer."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.support.relays import relay
from tests.support.server import connect, database_on


@asynccontextmanager
async def temporary_database(database_url: str, options: str = "TEMPLATE template0") -> AsyncIterator[str]:
    """Yield the URL of a database beside the given one, an empty one unless `options` of CREATE DATABASE differ."""
    name = f"temporary_{uuid.uuid4().hex}"
    connection = await connect(make_url(database_url))
    try:
        await connection.execute(f"CREATE DATABASE {name} {options}")
        yield database_on(database_url, name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


def migrated(database_url: str) -> str:
    """Return the options for a `temporary_database` with the schema of the given one, which is a test worker's."""
    return f"TEMPLATE {str(make_url(database_url).database).rpartition('_')[0]}"


@asynccontextmanager
async def temporary_role(database_url: str, *grants: str) -> AsyncIterator[str]:
    """Yield the URL of the database for a role of its own, named `{role}` in the grants to it."""
    name = f"temporary_{uuid.uuid4().hex}"
    connection = await connect(make_url(database_url))
    try:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        for grant in grants:
            await connection.execute(grant.format(role=name))
        yield make_url(database_url).set(username=name, password="secret").render_as_string(hide_password=False)
        await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    finally:
        await connection.close()


async def skip_without_superuser(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Skip the test on a server where the tests may only create databases."""
    if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        pytest.skip("the role of TEST_DATABASE_URL is not a superuser")


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


@dataclass
class SlowWay:
    """The URL of a database that is reached late, and how many connections were opened to it."""

    url: str
    opened: int = 0


@asynccontextmanager
async def slow_way(database_url: str, seconds: float) -> AsyncIterator[SlowWay]:
    """Yield a way to a database on which each new connection takes so many seconds before it is let through."""
    way = SlowWay("")

    async def wait(*_: object) -> bool:
        way.opened += 1
        await asyncio.sleep(seconds)
        return True

    async with relay(database_url, "127.0.0.1", wait) as way.url:
        yield way

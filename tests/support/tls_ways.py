"""Certificates for tests, and a way to a database that begins with TLS, as a provider's proxy has it."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@dataclass(frozen=True)
class Authority:
    """An authority of a test's own, which has signed a pair for `localhost` and one for a client."""

    folder: Path

    def file(self, name: str) -> str:
        """Return the path of `ca.crt`, or of `server` or `client` with `.crt` or `.key`."""
        return str(self.folder / name)


def make_authority(folder: Path) -> Authority:
    """Make an authority below a folder, or skip the test where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    calls = [["-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Authority"]]
    for name, subject in (("server", "localhost"), ("client", "user")):
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{subject}"]
        calls.append(
            ["-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={subject}", *signed]
        )
    for call in calls:
        subprocess.run([openssl, "req", *call], cwd=folder, check=True, capture_output=True)
    return Authority(folder)


@asynccontextmanager
async def tls_way(database_url: str, authority: Authority, *, wants_certificate: bool = False) -> AsyncIterator[str]:
    """Yield a URL with the host `localhost` at which TLS comes before the database, and nothing else is let through."""
    target = make_url(database_url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.file("server.crt"), authority.file("server.key"))
    if wants_certificate:
        context.load_verify_locations(authority.file("ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
    tasks = set[asyncio.Task[None]]()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()

    async def let_through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(context)
            if folder := target.query.get("host"):
                there = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{target.query.get('port', 5432)}")
            else:
                there = await asyncio.open_connection(target.host, target.port or 5432)
            await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(let_through(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield target.set(host="localhost", port=port, query={}).render_as_string(hide_password=False)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

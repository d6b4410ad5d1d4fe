"""Certificates for tests, and a way to a database that begins with TLS, as a provider's proxy has it."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.relays import relay

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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.file("server.crt"), authority.file("server.key"))
    if wants_certificate:
        context.load_verify_locations(authority.file("ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED

    async def begin_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
            return False
        writer.write(b"S")
        await writer.start_tls(context)
        return True

    async with relay(database_url, "localhost", begin_tls) as url:
        yield url

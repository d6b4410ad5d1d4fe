"""Sends one request to an address that was checked, over HTTP/1.1, within bounds of time and size.

There is no proxy, no redirect and no cookie, and the connection serves one request.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import Final, NamedTuple

import h11

from taskmanager.webhooks.guard import TargetGuard, UnresolvedTargetError
from taskmanager.webhooks.schedule import Attempt
from taskmanager.webhooks.targets import Target, UnacceptableTargetError

CONNECT_SECONDS: Final = 3.0
ATTEMPT_SECONDS: Final = 10.0
_MOST_READ_BYTES: Final = 65_536
_KEPT_CHARACTERS: Final = 2_048
_LONGEST_ERROR: Final = 300


class Message(NamedTuple):
    """What is sent: a JSON document and the headers that sign it."""

    body: bytes
    headers: Sequence[tuple[str, str]]


async def attempt(guard: TargetGuard, url: str, message: Message) -> Attempt:
    """Send a message once, in ten seconds at most, and return how it went.

    Raises:
        ResolverBusyError: The name of the host cannot be looked up now; nothing was sent.
    """
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            target = guard.read(url)
            return await _exchange(target, await guard.addresses(target), message)
    except TimeoutError:
        return Attempt(error=f"no complete answer within {ATTEMPT_SECONDS:.0f} seconds")
    except UnacceptableTargetError as error:
        return Attempt(error=f"the URL {error}")
    except UnresolvedTargetError as error:
        return Attempt(error=str(error))
    except ssl.SSLCertVerificationError as error:
        return Attempt(error=f"the certificate is not good: {error.verify_message}"[:_LONGEST_ERROR])
    except (OSError, h11.ProtocolError) as error:
        return Attempt(error=_readable(f"{type(error).__name__}: {error}")[:_LONGEST_ERROR])


async def _exchange(target: Target, addresses: Sequence[str], message: Message) -> Attempt:
    reader, writer = await _connect(target, addresses)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_READ_BYTES)
        request = h11.Request(
            method="POST",
            target=target.path,
            headers=[
                ("host", target.authority),
                ("user-agent", _user_agent()),
                ("content-type", "application/json"),
                ("content-length", str(len(message.body))),
                ("accept", "*/*"),
                ("connection", "close"),
                *message.headers,
            ],
        )
        parts = (connection.send(request), connection.send(h11.Data(message.body)), connection.send(h11.EndOfMessage()))
        writer.write(b"".join(part or b"" for part in parts))
        with suppress(ConnectionError):  # some answer before they have read the request, and close
            await writer.drain()
        return await _read_answer(connection, reader)
    finally:
        # At once: to say goodbye to a receiver that drips would take as long as it likes.
        writer.transport.abort()


async def _connect(target: Target, addresses: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    tls = _tls_context() if target.is_encrypted else None
    failure: OSError = OSError("there is no address")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            for address in addresses:
                try:
                    return await asyncio.open_connection(
                        address, target.port, ssl=tls, server_hostname=target.host if tls else None
                    )
                except ssl.SSLError:
                    raise
                except OSError as error:
                    failure = error
    except TimeoutError:
        raise OSError(f"no connection within {CONNECT_SECONDS:.0f} seconds") from None
    raise failure


async def _read_answer(connection: h11.Connection, reader: asyncio.StreamReader) -> Attempt:
    response: h11.Response | None = None
    received = 0
    kept = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            # A header that never ends is refused by h11; a body is read up to the bound.
            data = b"" if received >= _MOST_READ_BYTES else await reader.read(_MOST_READ_BYTES)
            received += len(data)
            if received >= _MOST_READ_BYTES and response is not None:
                break
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            kept += bytes(event.data)[: _KEPT_CHARACTERS * 4 - len(kept)]
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            break
    if response is None:
        raise ConnectionError("the connection was closed without an answer")
    headers = {name: value.decode("latin-1") for name, value in response.headers}
    return Attempt(
        status=response.status_code,
        error=None if 200 <= response.status_code < 300 else f"the answer was {response.status_code}",
        answer=_readable(kept.decode("utf-8", "replace"))[:_KEPT_CHARACTERS],
        retry_after=headers.get(b"retry-after"),
    )


def _readable(text: str) -> str:
    # PostgreSQL stores no NUL.
    return text.replace("\0", "\ufffd")


@cache
def _tls_context() -> ssl.SSLContext:
    # Certificates and host names are verified; SSL_CERT_FILE adds authorities of one's own.
    return ssl.create_default_context()


@cache
def _user_agent() -> str:
    return f"taskmanager-webhooks/{version('task-manager-api')}"

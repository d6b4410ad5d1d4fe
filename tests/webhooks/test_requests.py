"""One attempt: its bounds of time and size, what counts as an answer, and TLS."""

import asyncio
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from taskmanager.webhooks import sending
from taskmanager.webhooks.guard import TargetGuard
from taskmanager.webhooks.schedule import Attempt
from taskmanager.webhooks.sending import Message
from tests.conftest import make_settings
from tests.support.webhook_receivers import Received, Receiver, Write, answer, receiving

MESSAGE = Message(b'{"a": 1}', (("webhook-id", "x"),))
SETTINGS = {"webhook_allowed_hosts": "127.0.0.1, localhost", "webhook_allowed_networks": "127.0.0.0/8, ::1"}


async def send(url: str) -> Attempt:
    return await sending.attempt(TargetGuard(make_settings(**SETTINGS)), url, MESSAGE)


async def answered(receiver: Receiver, *parts: bytes) -> Attempt:
    async def respond(_: Received, write: Write) -> None:
        for part in parts:
            await write(part)

    receiver.respond = respond
    return await send(receiver.url)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_success(receiver: Receiver, status: int) -> None:
    result = await answered(receiver, answer(status, body="ok" if status != 204 else ""))
    assert (result.is_accepted, result.status) == (True, status)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 400, 404, 410, 429, 500, 599])
async def test_everything_else_is_a_failure(receiver: Receiver, status: int) -> None:
    result = await answered(receiver, answer(status, "Location: http://169.254.169.254/"))
    assert (result.is_accepted, result.status, result.error) == (False, status, f"the answer was {status}")
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"nonsense\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
        (b"HTTP/1.1 99 No\r\n\r\n",),
    ],
)
async def test_what_is_no_complete_answer_is_a_failure(receiver: Receiver, parts: tuple[bytes, ...]) -> None:
    result = await answered(receiver, *parts)
    assert not result.is_accepted
    assert result.error
    assert len(result.error) <= 300


async def test_an_interim_answer_is_passed_over(receiver: Receiver) -> None:
    result = await answered(receiver, b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n", answer(200, body="yes"))
    assert (result.status, result.answer) == (200, "yes")


async def test_two_kibibytes_are_kept_without_nul(receiver: Receiver) -> None:
    result = await answered(receiver, answer(200, body="\x00" + "x" * 10_000))
    assert result.answer == "\ufffd" + "x" * 2_047


async def test_of_a_gibibyte_64_kibibytes_are_read(receiver: Receiver) -> None:
    written = 0

    async def respond(_: Received, write: Write) -> None:
        nonlocal written
        await write(f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 30}\r\n\r\n".encode())
        for _part in range(16_384):
            await write(b"x" * 65_536)
            written += 65_536

    receiver.respond = respond
    started = time.monotonic()
    result = await send(receiver.url)
    assert result.is_accepted
    assert result.answer == "x" * 2_048
    assert time.monotonic() - started < 5
    # What the sockets' buffers took; nobody read it.
    assert written < 32 << 20


@pytest.mark.parametrize(
    "drip", [b"H", b"HTTP/1.1 200 OK\r\nX-Drip: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
async def test_slow_drip_ends_in_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, drip: bytes) -> None:
    monkeypatch.setattr(sending, "ATTEMPT_SECONDS", 1.0)

    async def respond(_: Received, write: Write) -> None:
        await write(drip)
        for _part in range(1_000):
            await asyncio.sleep(0.02)
            await write(b"a")

    receiver.respond = respond
    started = time.monotonic()
    result = await send(receiver.url)
    assert result.error == "no complete answer within 1 seconds"
    assert 0.9 < time.monotonic() - started < 5


async def test_who_does_not_answer_ends_in_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "ATTEMPT_SECONDS", 0.3)
    gate = asyncio.Event()

    async def respond(_: Received, write: Write) -> None:
        await gate.wait()

    receiver.respond = respond
    result = await send(receiver.url)
    gate.set()
    assert (result.status, result.is_accepted) == (None, False)


async def test_nobody_listens(receiver: Receiver) -> None:
    url = receiver.url
    async with receiving() as other:
        url = other.url
    result = await send(url)
    assert result.error is not None
    assert "ConnectionRefusedError" in result.error or "OSError" in result.error


async def test_the_next_address_is_tried(receiver: Receiver) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["::1", "127.0.0.1"]

    guard = TargetGuard(make_settings(**SETTINGS), resolve)
    result = await sending.attempt(guard, f"http://localhost:{receiver.port}/", MESSAGE)
    assert result.is_accepted


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await send(receiver.url)).is_accepted


class TestTls:
    """Certificates are verified for the name of the URL, at the address that was checked."""

    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        file = tmp_path / "both.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem"), "-days", "2"),
                *("-subj", "/CN=receiver.example", "-addext", "subjectAltName=DNS:receiver.example"),
            ],
            check=True,
            capture_output=True,
        )
        file.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
        return file

    async def attempt(self, host: str, port: int) -> Attempt:
        async def resolve(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        guard = TargetGuard(make_settings(webhook_allowed_networks="127.0.0.1"), resolve)
        return await sending.attempt(guard, f"https://{host}:{port}/", MESSAGE)

    async def test_with_names(self, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate)
        names: list[str] = []
        server.sni_callback = lambda _, name, __: names.append(name)
        async with receiving(ssl=server) as receiver:
            sending._tls_context.cache_clear()
            unknown = await self.attempt("receiver.example", receiver.port)
            assert unknown.error is not None
            assert "certificate" in unknown.error
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            sending._tls_context.cache_clear()
            good = await self.attempt("receiver.example", receiver.port)
            assert (good.status, good.error) == (204, None)
            assert receiver.received[0].headers["host"] == f"receiver.example:{receiver.port}"
            wrong = await self.attempt("other.example", receiver.port)
            assert wrong.error is not None
            assert "certificate" in wrong.error
            assert names == ["receiver.example", "receiver.example", "other.example"]
            assert len(receiver.received) == 1
        sending._tls_context.cache_clear()

"""An offer to change the protocol is ignored (RFC 9110, section 7.8): the request is answered as if it had none."""

import asyncio
import json
import tomllib
from pathlib import Path

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.live_server import LiveServer
from tests.support.raw_http import chunked, head, raw_connection
from tests.support.rows import fetch_all

ROOT = Path(__file__).parents[2]
OFFERS = {
    "curl --http2": (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    ),
    "WebSocket": (
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ),
    "several": ("Connection: upgrade", "Upgrade: HTTP/3.0, TLS/1.2, IRC/6.9"),
    "in two lines": ("Connection: Upgrade", "Connection: keep-alive", "UPGRADE: a", "upgrade: b"),
    "of nothing": ("Connection: Upgrade", "Upgrade:"),
    "without Connection": ("Upgrade: h2c",),
}
# What an attacker would have the server take for a request of its own.
HIDDEN = b'DELETE /api/v1/users/me HTTP/1.1\r\nHost: x\r\n\r\n{"title": "x"}'


@pytest.fixture(params=OFFERS)
def offer(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The header lines of an offer."""
    return OFFERS[request.param]


def login(person: Person) -> str:
    return f"Authorization: Bearer {person.token}"


async def titles(database: Database) -> list[str]:
    return [row["title"] for row in await fetch_all(database, "SELECT title FROM tasks ORDER BY id")]


@pytest.mark.parametrize("apart", [False, True], ids=["together", "body in a packet of its own"])
async def test_a_body_is_read_and_the_connection_stays(
    live_server: LiveServer, alice: Person, database: Database, offer: tuple[str, ...], apart: bool
) -> None:
    body = b'{"title": "Offered"}'
    request = head("POST", "/api/v1/tasks", login(alice), *offer, body=body)
    async with raw_connection(live_server.port) as connection:
        for _ in range(2):
            await connection.send(*([request, body] if apart else [request + body]))
            made = await connection.receive()
            assert (made.status, made.json()["title"]) == (201, "Offered")
        await connection.send(head("GET", made.headers["location"], login(alice)))
        assert (await connection.receive()).json() == made.json()
        assert await connection.is_silent()
    assert await titles(database) == ["Offered"] * 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_every_method_is_answered_as_without_it(
    live_server: LiveServer, alice: Person, offer: tuple[str, ...], method: str
) -> None:
    body = None if method in {"GET", "HEAD", "OPTIONS"} else b'{"description": "x"}'
    async with raw_connection(live_server.port) as connection:
        answers = []
        for lines in ((), offer):
            request = head(method, "/api/v1/tasks/999999", login(alice), *lines, body=body)
            await connection.send(request + (body or b""))
            answers.append(await connection.receive(method))
        assert answers[0].status == answers[1].status
        assert "upgrade" not in answers[1].headers
        assert answers[0].headers.get("allow") == answers[1].headers.get("allow")
        assert await connection.is_silent()


async def test_a_body_is_never_the_next_request(live_server: LiveServer, alice: Person, offer: tuple[str, ...]) -> None:
    request = head("POST", "/api/v1/tasks", login(alice), *offer, body=HIDDEN)
    async with raw_connection(live_server.port) as connection:
        for pieces in ([request + HIDDEN], [request, HIDDEN], [request[:40], request[40:] + HIDDEN[:9], HIDDEN[9:]]):
            await connection.send(*pieces)
            assert (await connection.receive()).status == 400
            assert await connection.is_silent()


async def test_a_body_in_chunks_is_read(live_server: LiveServer, alice: Person, offer: tuple[str, ...]) -> None:
    lines = (login(alice), "Content-Type: application/json", "Transfer-Encoding: chunked", *offer)
    body = chunked([b'{"title": ', b'"In chunks"}'])
    async with raw_connection(live_server.port) as connection:
        await connection.send(head("POST", "/api/v1/tasks", *lines), body)
        assert (await connection.receive()).json()["title"] == "In chunks"
        await connection.send(head("POST", "/api/v1/tasks", *lines) + body)
        assert (await connection.receive()).status == 201


async def test_pipelined_requests_are_answered_in_their_order(
    live_server: LiveServer, alice: Person, offer: tuple[str, ...]
) -> None:
    bodies = [json.dumps({"title": f"Number {number}"}).encode() for number in range(20)]
    requests = [
        head("POST", "/api/v1/tasks", login(alice), *(offer if number % 3 else ()), body=body) + body
        for number, body in enumerate(bodies)
    ]
    async with raw_connection(live_server.port) as connection:
        await connection.send(b"".join(requests))
        made = [(await connection.receive()).json()["title"] for _ in requests]
        assert made == [f"Number {number}" for number in range(20)]
        assert await connection.is_silent()


@pytest.mark.parametrize(
    ("version", "extra"), [("1.0", ()), ("1.1", ("Connection: close",))], ids=["HTTP/1.0", "Connection: close"]
)
async def test_a_connection_that_ends_with_the_answer_ends(
    live_server: LiveServer, alice: Person, offer: tuple[str, ...], version: str, extra: tuple[str, ...]
) -> None:
    body = b'{"title": "Last"}'
    lines = (login(alice), *offer, *extra)
    async with raw_connection(live_server.port) as connection:
        await connection.send(head("POST", "/api/v1/tasks", *lines, version=version, body=body), body)
        made = await connection.receive()
        assert (made.status, made.headers["connection"]) == (201, "close")
        assert await connection.is_closed()


async def test_a_body_that_is_waited_for_is_asked_for(
    live_server: LiveServer, alice: Person, offer: tuple[str, ...]
) -> None:
    body = b'{"title": "Expected"}'
    async with raw_connection(live_server.port) as connection:
        await connection.send(head("POST", "/api/v1/tasks", login(alice), "Expect: 100-continue", *offer, body=body))
        assert (await connection.receive()).status == 100
        await connection.send(body)
        assert (await connection.receive()).status == 201


async def test_a_head_that_is_too_long_is_refused_with_it(live_server: LiveServer, offer: tuple[str, ...]) -> None:
    async with raw_connection(live_server.port) as connection:
        await connection.send(head("GET", "/livez", *offer, f"X-Long: {'x' * 70_000}"))
        assert (await connection.receive()).status == 431
        assert await connection.is_closed()


@pytest.mark.parametrize("path", ["/nope", "/api/v1/tasks", "/livez"])
async def test_a_handshake_is_answered_like_any_other_request(
    live_server: LiveServer, database: Database, path: str
) -> None:
    logged = len(live_server.log.read_bytes().splitlines())
    async with raw_connection(live_server.port) as connection:
        await connection.send(head("GET", path, *OFFERS["WebSocket"], "Origin: http://localhost:3000"))
        answer = await connection.receive()
    assert answer.status == {"/nope": 404, "/api/v1/tasks": 401, "/livez": 200}[path]
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    async with asyncio.timeout(5):
        while not (lines := live_server.log.read_bytes().splitlines()[logged:]):  # noqa: ASYNC110  # a thread writes it
            await asyncio.sleep(0.02)
    written = json.loads(lines[0])
    assert (written["path"], written["status"]) == (path, answer.status)
    assert len(lines) == 1
    assert written["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("target", ["localhost:80", "/", "/api/v1/tasks"])
async def test_a_tunnel_is_refused_and_nothing_is_read_from_it(live_server: LiveServer, target: str) -> None:
    async with raw_connection(live_server.port) as connection:
        await connection.send(head("CONNECT", target, body=HIDDEN) + HIDDEN)
        answer = await connection.receive()
        assert answer.status in {400, 405}
        assert answer.headers["connection"] == "close"
        assert await connection.is_closed()


def test_no_library_for_web_sockets_is_installed() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    packages = {package["name"]: package for package in lock["package"]}
    wanted, found = ["task-manager-api"], set[str]()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            package = packages[name]
            extras = package.get("optional-dependencies", {}).values()
            dependencies = [*package.get("dependencies", ()), *(one for extra in extras for one in extra)]
            wanted += [one["name"] for one in dependencies]
    assert {"uvicorn", "httptools", "uvloop"} <= found
    assert not {"websockets", "wsproto"} & found

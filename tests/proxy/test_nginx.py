"""The nginx configuration of docs/examples in front of the service, with a real nginx: `make proxy-test`.

It needs nginx: `apt-get install nginx-light`, or another package of it; NGINX names another binary.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from taskmanager.database.database import Database
from tests.support.credentials import API
from tests.support.live_server import LiveServer
from tests.support.nginx import nginx
from tests.support.ports import free_port

HEADER_SECONDS = 10


@pytest.fixture(scope="module")
def front(live_server: LiveServer) -> Iterator[str]:
    """The address of nginx in front of the service."""
    with nginx(live_server.port) as url:
        yield url


@pytest.fixture
async def client(front: str, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it."""
    async with httpx.AsyncClient(base_url=front, timeout=30) as client:
        yield client


@asynccontextmanager
async def recorder() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield a port whose owner answers 204 to everything, and what arrived there."""
    arrived: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                arrived.append(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                break
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], arrived


async def test_people_work_through_it(client: httpx.AsyncClient) -> None:
    person = {"username": "alice", "email": "alice@example.com", "password": "a long password"}
    assert (await client.post(f"{API}/users", json=person)).status_code == 201
    login = await client.post(f"{API}/token", data={"username": "alice", "password": "a long password"})
    client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
    made = await client.post(f"{API}/tasks", json={"title": "Through a proxy"})
    assert made.status_code == 201
    read = await client.get(made.headers["Location"], headers={"X-Request-ID": "my-own.id"})
    assert (read.status_code, read.json()) == (200, made.json())
    assert read.headers["X-Request-ID"] == "my-own.id"
    assert re.fullmatch("[0-9a-f]{32}", made.headers["X-Request-ID"])
    assert (await client.get(read.request.url.path, headers={"If-None-Match": read.headers["ETag"]})).status_code == 304
    assert "nginx/" not in read.headers.get("Server", "")
    assert (await client.get("/docs")).status_code == 200
    assert (await client.get("/health")).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_what_is_for_the_machine_is_not_public(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404
    assert (await client.get(f"{path}?x=1")).status_code == 404


async def test_a_large_body_is_refused_by_the_proxy(client: httpx.AsyncClient, live_server: LiveServer) -> None:
    lines = len(live_server.log.read_bytes().splitlines())
    headers = {"Content-Type": "application/json"}
    refused = await client.post(f"{API}/tasks", content=b" " * 1_100_000, headers=headers)
    assert refused.status_code == 413
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["type"] == "/docs/problems#content-too-large"
    # It never reached the service, and one of just the allowed size does.
    assert len(live_server.log.read_bytes().splitlines()) == lines
    assert (await client.post(f"{API}/tasks", content=b" " * 1_048_576, headers=headers)).status_code == 400


async def test_what_a_client_says_of_its_address_does_not_reach_the_service() -> None:
    async with recorder() as (port, arrived):
        with nginx(port) as url:
            forged = {
                "X-Forwarded-For": "203.0.113.7",
                "X-Forwarded-Proto": "gopher",
                "X-Forwarded-Prefix": "/forged",
                "X-Real-IP": "203.0.113.8",
                "Forwarded": "for=203.0.113.9",
                "X-Request-ID": "kept-1",
            }
            async with httpx.AsyncClient(base_url=url, headers=forged) as client:
                for _ in range(2):
                    assert (await client.get("/health")).status_code == 204
                assert (await client.get("/health", headers={"X-Request-ID": ""})).status_code == 204
    assert len(arrived) == 3
    for head in arrived:
        lines = [line.partition(": ") for line in head.decode().split("\r\n")]
        headers = {name.lower(): value for name, _, value in lines}
        assert b"203.0.113" not in head
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "http"
        assert not {"x-real-ip", "forwarded", "x-forwarded-prefix", "connection"} & set(headers)
        assert head.lower().count(b"x-forwarded-for") == 1
    assert b"X-Request-ID: kept-1\r\n" in arrived[0]
    assert re.search(rb"X-Request-ID: [0-9a-f]{32}\r\n", arrived[2])


async def test_a_slow_header_is_cut_while_others_are_served(client: httpx.AsyncClient, front: str) -> None:
    port = int(front.rpartition(":")[2])
    started = time.monotonic()

    async def send_slowly() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 100
        for byte in request:
            writer.write(bytes([byte]))
            try:
                await writer.drain()
                if await asyncio.wait_for(reader.read(1000), 1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        writer.close()
        return time.monotonic() - started

    slow = [asyncio.create_task(send_slowly()) for _ in range(50)]
    slowest = 0.0
    while not all(task.done() for task in slow):
        asked = time.monotonic()
        assert (await client.get("/health")).status_code == 200
        slowest = max(slowest, time.monotonic() - asked)
        assert asked - started < 2 * HEADER_SECONDS
        await asyncio.sleep(0.1)
    for task in slow:
        assert HEADER_SECONDS - 1 < await task < HEADER_SECONDS + 3
    assert slowest < 1


async def test_a_body_reaches_the_service_only_when_it_is_complete(front: str, live_server: LiveServer) -> None:
    port = int(front.rpartition(":")[2])
    lines = len(live_server.log.read_bytes().splitlines())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {API}/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"username"')
    started = time.monotonic()
    assert await reader.read() == b""
    assert HEADER_SECONDS - 1 < time.monotonic() - started < HEADER_SECONDS + 3
    writer.close()
    assert len(live_server.log.read_bytes().splitlines()) == lines


async def test_a_service_that_is_gone_is_503_to_be_tried_again() -> None:
    with nginx(free_port()) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["type"] == "/docs/problems#unavailable"


@pytest.mark.parametrize("given", ['a"b', 'x","status":200,"y":"', "a\\b", "ü", "a b", "x" * 129, "a, b", ""])
async def test_a_request_id_that_the_service_would_not_take_is_replaced(given: str) -> None:
    with nginx(free_port()) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            answer = await client.get("/health", headers=[(b"X-Request-ID", given.encode())])
            kept = await client.get("/health", headers={"X-Request-ID": "my-own.id"})
    assert answer.json()["status"] == 503
    assert re.fullmatch("[0-9a-f]{32}", answer.json()["request_id"])
    assert kept.json()["request_id"] == "my-own.id"


async def test_one_address_holds_so_many_connections_and_no_more(front: str) -> None:
    async with httpx.AsyncClient(base_url=front) as client:
        port = int(front.rpartition(":")[2])
        held = []
        # nginx counts a connection once it has read its header.
        head = f"POST {API}/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        for _ in range(200):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode())
            held.append(writer)
        await asyncio.sleep(0.5)
        refused = await client.get("/health")
        assert refused.status_code == 429
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["Retry-After"] == "1"
        for writer in held:
            writer.close()
        await asyncio.sleep(0.5)
        assert (await client.get("/health")).status_code == 200

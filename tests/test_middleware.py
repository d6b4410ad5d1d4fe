"""What every answer carries, whichever route made it: HEAD, CORS, the request's id and time, security headers."""

import re
from collections.abc import Mapping

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from taskmanager.main import create_app
from tests.applications import started
from tests.conftest import Person, client_for, make_settings

ORIGIN = "http://localhost:3000"
EXPOSED = {"Location", "Retry-After", "X-Request-ID", "X-Process-Time", "RateLimit", "RateLimit-Policy"}
PER_REQUEST = {"x-request-id", "x-process-time", "server-timing"}
# One of each kind: a greeting, a list, and refusals by router, authentication, validation and domain.
PATHS = ("/", "/health", "/api/v1/tasks", "/nope", "/api/v1/tasks/0", "/api/v1/tasks/999999", "/openapi.json")


def stable(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that don't differ between any two requests."""
    return {name.lower(): value for name, value in headers.items() if name.lower() not in PER_REQUEST}


class TestHead:
    """HEAD is GET without the body."""

    @pytest.mark.parametrize("path", PATHS)
    async def test_has_status_and_headers_of_get(self, alice: Person, path: str) -> None:
        get, head = await alice.client.get(path), await alice.client.head(path)
        assert head.status_code == get.status_code
        assert head.content == b""
        assert get.content != b""
        # Problem documents hold the request's id, always of the same length.
        assert stable(head.headers) == stable(get.headers)

    @pytest.mark.parametrize("path", ["/health", "/nope", "/api/v1/tasks"])
    async def test_sends_no_byte_of_a_body(self, app: FastAPI, path: str) -> None:
        # Asked without a client, which would drop a body that is not meant to be there.
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "HEAD", "path": path, "query_string": b"", "headers": []}
        await app(scope, receive, send)
        assert sent[0]["type"] == "http.response.start"
        assert b"".join(message.get("body", b"") for message in sent) == b""
        assert not sent[-1].get("more_body")

    async def test_needs_the_same_credential(self, client: httpx.AsyncClient) -> None:
        response = await client.head("/api/v1/tasks")
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"


class TestRequestId:
    """A good id is echoed, any other is replaced."""

    @pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 128, "0af7651916cd43dd8448eb211c80319c"])
    async def test_a_good_one_is_echoed(self, client: httpx.AsyncClient, given: str) -> None:
        for path in ("/health", "/nope"):
            response = await client.get(path, headers={"X-Request-ID": given})
            assert response.headers["X-Request-ID"] == given
        assert response.json()["request_id"] == given

    @pytest.mark.parametrize(
        "given",
        [
            b"",
            b" ",
            b"x" * 129,
            b"x" * 10_000,
            b"a b",
            b"a\tb",
            b"\xfc",
            "ü".encode(),
            b"a;b",
            b"<script>",
            b'"a"',
            b"a\x01",
        ],
        ids=lambda given: repr(given)[:20],
    )
    async def test_any_other_is_replaced(self, client: httpx.AsyncClient, given: bytes) -> None:
        response = await client.get("/nope", headers={b"X-Request-ID": given})
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])
        assert response.json()["request_id"] == response.headers["X-Request-ID"]

    async def test_each_request_gets_another(self, client: httpx.AsyncClient) -> None:
        ids = {(await client.get("/health")).headers["X-Request-ID"] for _ in range(10)}
        assert len(ids) == 10


@pytest.mark.parametrize("path", [*PATHS, "/docs"])
async def test_every_answer_tells_its_time_with_three_decimals(alice: Person, path: str) -> None:
    response = await alice.client.get(path)
    assert re.fullmatch(r"\d+\.\d{3}", response.headers["X-Process-Time"])
    assert float(response.headers["X-Process-Time"]) < 5


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_security_headers(alice: Person, path: str) -> None:
    headers = (await alice.client.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"


class TestCors:
    """Cross-origin requests, with the default origin of the settings."""

    @staticmethod
    async def _preflight(client: httpx.AsyncClient, path: str = "/api/v1/tasks", **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.options(path, headers={"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH", **given})

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    async def test_a_preflight_of_an_allowed_origin_is_granted(self, client: httpx.AsyncClient, method: str) -> None:
        response = await self._preflight(
            client,
            Access_Control_Request_Method=method,
            Access_Control_Request_Headers="authorization, content-type, idempotency-key, if-match",
        )
        assert response.status_code == 200
        headers = response.headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert method in headers["Access-Control-Allow-Methods"].split(", ")
        allowed = {name.strip() for name in headers["Access-Control-Allow-Headers"].lower().split(",")}
        assert {"authorization", "content-type", "idempotency-key", "if-match"} <= allowed
        assert "Origin" in headers["Vary"]
        assert headers["Access-Control-Max-Age"] == "600"
        assert headers["X-Request-ID"]

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:3000.evil.example"},
            {"Origin": "https://localhost:3000"},
            {"Origin": "http://localhost:3001"},
            {"Access_Control_Request_Method": "TRACE"},
            {"Access_Control_Request_Method": "CONNECT"},
        ],
        ids=lambda headers: "".join(headers.values()),
    )
    async def test_any_other_preflight_is_a_problem(self, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
        response = await self._preflight(client, **headers)
        assert response.status_code == 400
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["X-Request-ID"]
        assert int(response.headers["Content-Length"]) == len(response.content)
        if "Origin" in headers:
            assert "Access-Control-Allow-Origin" not in response.headers

    @pytest.mark.parametrize("path", PATHS)
    async def test_every_answer_may_be_read_by_an_allowed_origin(self, alice: Person, path: str) -> None:
        response = await alice.client.get(path, headers={"Origin": ORIGIN})
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) >= EXPOSED
        assert "Origin" in response.headers["Vary"]

    async def test_refusals_before_the_routes_may_be_read_too(self, client: httpx.AsyncClient) -> None:
        headers = {"Origin": ORIGIN, "Content-Length": "99999999"}
        response = await client.post("/api/v1/tasks", content=b"{}", headers=headers)
        assert response.status_code == 413
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN

    @pytest.mark.parametrize("path", PATHS)
    async def test_no_answer_may_be_read_by_another_origin(self, alice: Person, path: str) -> None:
        response = await alice.client.get(path, headers={"Origin": "http://evil.example"})
        assert "Access-Control-Allow-Origin" not in response.headers

    async def test_any_origin_may_be_allowed_without_credentials(self, database_url: str) -> None:
        settings = make_settings(database_url=database_url, allowed_origins="*", cors_allow_credentials=False)
        async with started(create_app(settings)) as client:
            for response in (
                await client.get("/health", headers={"Origin": "http://anywhere.example"}),
                await self._preflight(client, Origin="http://anywhere.example"),
            ):
                assert response.status_code == 200
                assert response.headers["Access-Control-Allow-Origin"] == "*"
                assert "Access-Control-Allow-Credentials" not in response.headers


async def test_other_protocols_pass_untouched(app: FastAPI) -> None:
    # A web socket to nowhere is closed by the router, not broken by a middleware.
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/nope", "headers": [], "query_string": b"", "app": app}
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent == ["websocket.close"]


async def test_answers_do_not_depend_on_the_client_being_known(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app=app, client=None)  # type: ignore[arg-type]
    async with client_for(app) as _, httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/health")).status_code == 200

"""What every answer carries, whichever route made it: HEAD, CORS, the request's id and time, security headers."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.responses import Response
from starlette.types import Message

from taskmanager.accounts.dependencies import AppWrites
from taskmanager.database.database import Database
from taskmanager.database.pools import SHARED_CONNECTIONS
from taskmanager.database.statements import Statement
from taskmanager.http.dependencies import AppReads
from taskmanager.main import create_app
from tests.conftest import Person, client_for, make_settings
from tests.support.applications import started
from tests.support.front_answers import PATHS
from tests.support.sessions import open_transaction

_SLEEP, _SLEEP_SHARED = (
    Statement("sleep", "SELECT pg_sleep(:seconds)", {"seconds": "float8"}, shared=shared) for shared in (False, True)
)


PER_REQUEST = {"x-request-id", "x-process-time", "server-timing"}


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


def durations(response: httpx.Response) -> dict[str, float]:
    """Read `Server-Timing` (W3C), in milliseconds."""
    found = re.fullmatch(
        r"pool;dur=(\d+\.\d\d), db;dur=(\d+\.\d\d), app;dur=(\d+\.\d\d)", response.headers["Server-Timing"]
    )
    assert found is not None, response.headers["Server-Timing"]
    return dict(zip(("pool", "db", "app"), map(float, found.groups()), strict=True))


class TestServerTiming:
    """Where the time of a request went."""

    @pytest.mark.parametrize("path", [*PATHS, "/docs"])
    async def test_it_adds_up_to_the_whole(self, alice: Person, path: str) -> None:
        response = await alice.client.get(path)
        milliseconds = float(response.headers["X-Process-Time"]) * 1000
        assert sum(durations(response).values()) == pytest.approx(milliseconds, abs=0.6)

    async def test_only_what_uses_the_database_has_time_there(self, alice: Person) -> None:
        probe, listed = durations(await alice.client.get("/livez")), durations(await alice.get("/tasks"))
        assert (probe["pool"], probe["db"]) == (0, 0)
        assert listed["db"] > 0

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_time_in_statements_is_the_database_s(self, slow: httpx.AsyncClient) -> None:
        for path in ("/sleep/0.2", "/sleep_in_commit/0.2", "/sleep_alone/0.2", "/sleep_shared/0.2"):
            found = durations(await slow.get(path))
            assert 200 <= found["db"] < 1_000, path
            assert found["app"] < 190, path

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_time_in_a_statement_that_was_given_up_is_too(self, slow: httpx.AsyncClient) -> None:
        for path in ("/sleep/5", "/sleep_alone/5", "/sleep_shared/5"):
            response = await slow.get(path)
            assert response.status_code == 503
            assert 400 <= durations(response)["db"] < 2_000, path

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_time_in_a_shared_write_that_was_given_up_is_too(
        self, slow: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        headers = {"Authorization": f"Bearer {alice.token}"}
        async with open_transaction(database) as session:
            await session.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
            response = await slow.post("/api/v1/tasks", json={"title": "New"}, headers=headers)
        assert response.status_code == 503
        assert 400 <= durations(response)["db"] < 2_000

    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_reads_beside_each_other_take_their_time_once(
        self, slow: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        async with open_transaction(database) as session:
            await session.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
            asked = asyncio.create_task(slow.get("/api/v1/tasks", headers={"Authorization": f"Bearer {alice.token}"}))
            await asyncio.sleep(0.25)
        response = await asked
        assert response.status_code == 200
        # The page and its count both waited for the lock.
        assert durations(response)["db"] >= 200
        milliseconds = float(response.headers["X-Process-Time"]) * 1000
        assert sum(durations(response).values()) == pytest.approx(milliseconds, abs=0.6)

    async def test_a_turn_that_did_not_come_is_the_pool_s(self, database_url: str) -> None:
        app = create_app(make_settings(database_url=database_url, database_pool_wait_seconds=0.2))
        app.add_api_route("/sleep_shared/{seconds}", sleep_shared, include_in_schema=False)
        async with started(app) as client, AsyncExitStack() as turns:
            for _ in range(SHARED_CONNECTIONS):
                await turns.enter_async_context(app.state.shared_connections.lend())
            response = await client.get("/sleep_shared/0")
        assert response.status_code == 503
        assert durations(response)["pool"] >= 190
        assert durations(response)["db"] == 0

    @pytest.mark.parametrize("path", ["/sleep", "/sleep_alone"])
    @pytest.mark.server_itself("time-outs that the role does not have")
    async def test_waiting_for_a_connection_is_the_pool_s(self, slow: httpx.AsyncClient, path: str) -> None:
        await asyncio.gather(*(slow.get(f"{path}/0.05") for _ in range(2)))  # opens both connections
        answers = await asyncio.gather(*(slow.get(f"{path}/0.4") for _ in range(4)))
        # There are two connections, so two of the four wait until the others are done.
        waits = sorted(durations(answer)["pool"] for answer in answers)
        assert waits[1] < 300
        assert waits[2] >= 300
        assert max(durations(answer)["db"] for answer in answers) < 790


async def sleep(seconds: float, writes: AppWrites) -> Response:
    """Keep a statement of a transaction busy."""
    async with writes.transaction() as run:
        await run.one(_SLEEP, seconds=seconds)
    return Response()


async def sleep_alone(seconds: float, reads: AppReads) -> Response:
    """Keep a read busy that runs alone."""
    await reads.one(_SLEEP, seconds=seconds)
    return Response()


async def sleep_shared(seconds: float, reads: AppReads) -> Response:
    """Keep a read busy that requests share."""
    await reads.one(_SLEEP_SHARED, seconds=seconds)
    return Response()


async def sleep_in_commit(seconds: float, writes: AppWrites) -> Response:
    """Keep the COMMIT busy, by a constraint that is checked there."""
    async with writes.transaction() as run:
        for sql in (
            "CREATE TEMPORARY TABLE slow (id int) ON COMMIT DROP",
            f"""
            CREATE FUNCTION pg_temp.nap() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$
            """,
            """
            CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION pg_temp.nap()
            """,
            "INSERT INTO slow VALUES (1)",
        ):
            await run.one(Statement("nap", sql))
    return Response()


@pytest.fixture
async def slow(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with two connections, half a second for a statement, and routes that need more."""
    settings = make_settings(database_url=database_url, database_pool_size=2, database_statement_timeout_ms=500)
    app = create_app(settings)
    for handler in (sleep, sleep_in_commit, sleep_alone, sleep_shared):
        app.add_api_route(f"/{handler.__name__}/{{seconds}}", handler, include_in_schema=False)
    async with started(app) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_security_headers(alice: Person, path: str) -> None:
    headers = (await alice.client.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"


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

"""Cross-origin requests: preflights and the headers that browsers look at."""

import httpx
import pytest

from taskmanager.main import create_app
from taskmanager.origins import why_refused
from tests.conftest import Person, make_settings
from tests.support.applications import started
from tests.support.front_answers import ORIGIN, PATHS

EXPOSED = {
    "Location",
    "Retry-After",
    "X-Request-ID",
    "X-Process-Time",
    "Server-Timing",
    "RateLimit",
    "RateLimit-Policy",
}


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
        "further",
        [
            {"Access_Control_Request_Private_Network": "true"},
            {"Access_Control_Request_Local_Network": "true"},
            {"Access_Control_Request_Anything": "x"},
            {"Private_Network_Access_Name": "x", "Sec_Fetch_Mode": "cors", "Sec_Purpose": "prefetch"},
        ],
        ids=lambda further: next(iter(further)),
    )
    async def test_a_header_that_means_nothing_here_changes_nothing(
        self, client: httpx.AsyncClient, further: dict[str, str]
    ) -> None:
        asked = {"Access_Control_Request_Headers": "authorization, if-match"}
        for origin, status in ((ORIGIN, 200), ("http://evil.example", 400)):
            plain = await self._preflight(client, Origin=origin, **asked)
            answer = await self._preflight(client, Origin=origin, **asked, **further)
            assert (answer.status_code, plain.status_code) == (status, status)
            own = {"x-request-id", "x-process-time", "server-timing"}
            lines = [{pair for pair in one.headers.multi_items() if pair[0] not in own} for one in (plain, answer)]
            assert lines[0] == lines[1]

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


class TestLocalPages:
    """Pages of the developer's own machine, and what is said of those that are refused."""

    async def test_any_port_of_this_machine(self, database_url: str) -> None:
        settings = make_settings(database_url=database_url, allow_local_origins=True)
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        async with started(create_app(settings)) as client:
            for origin in ("http://localhost:5173", "http://127.0.0.1:1", "https://[::1]:65535"):
                for response in (
                    await client.get("/health", headers={"Origin": origin}),
                    await client.options("/api/v1/tasks", headers={"Origin": origin, **asked}),
                ):
                    assert response.status_code == 200
                    assert response.headers["Access-Control-Allow-Origin"] == origin
            for origin in ("http://localhost.example:3000", "http://127.0.0.2", "file://localhost", "null"):
                refused = await client.options("/api/v1/tasks", headers={"Origin": origin, **asked})
                assert refused.status_code == 400, origin

    @pytest.mark.parametrize(
        ("origin", "reason"),
        [
            ("null", "a page that was opened as a file"),
            ("https://localhost:3000", "ALLOWED_ORIGINS has it with http only"),
            ("http://localhost:3001", "ALLOWED_ORIGINS has it with port 3000 only"),
            ("http://evil.example", "it is not in ALLOWED_ORIGINS"),
            ("http://[", "no browser sends such an origin"),
        ],
    )
    def test_the_reason(self, origin: str, reason: str) -> None:
        assert why_refused(origin, ("http://localhost:3000",)).startswith(reason)

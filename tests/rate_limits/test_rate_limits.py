"""Rate limits as a client meets them: what is counted for whom, what is told, and what is never limited."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.rate_limits.repository import Grant, PermitRepository
from tests.conftest import PASSWORD, SECRET, Person, make_settings
from tests.support.applications import started
from tests.support.live_server import LiveServer
from tests.support.rows import fetch_all, fetch_one

API = "/api/v1"
REVOKE = f"{API}/token/revoke"
TOKEN = {"refresh_token": "garbage"}
pytestmark = pytest.mark.usefixtures("database", "patient_limiter")
PROBES = ("/", "/health", "/livez", "/readyz", "/docs", "/redoc", "/openapi.json", "/docs/assets/pages.css")


@asynccontextmanager
async def limited(database_url: str, **values: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application with limits, such as `user=3`, and yield a client that comes through a trusted proxy."""
    limits = {f"rate_limit_{name}_per_minute": limit for name, limit in values.items() if isinstance(limit, int)}
    rest = {name: value for name, value in values.items() if not isinstance(value, int)}
    settings = make_settings(database_url=database_url, **{"trusted_proxies": "127.0.0.1", **limits, **rest})
    async with started(create_app(settings)) as client:
        yield client


def bearer(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}"}


def by_way_of(address: str) -> dict[str, str]:
    """Return the header that the proxy writes for a client at an address."""
    return {"X-Forwarded-For": address}


async def revoke(client: httpx.AsyncClient, address: str = "198.51.100.1") -> httpx.Response:
    """Make a request that anybody may make."""
    return await client.post(REVOKE, json=TOKEN, headers=by_way_of(address))


class TestAnswers:
    """Headers and the refusal."""

    async def test_every_answer_tells_what_is_left(self, database_url: str, alice: Person) -> None:
        async with limited(database_url, anonymous=3, user=2) as client:
            for remaining in (2, 1, 0):
                answer = await revoke(client)
                assert answer.status_code == 204
                assert answer.headers["RateLimit-Policy"] == '"default";q=3;w=60'
                name, left, seconds = answer.headers["RateLimit"].split(";")
                assert (name, left) == ('"default"', f"r={remaining}")
                assert 1 <= int(seconds.removeprefix("t=")) <= 60
            for remaining in (1, 0):
                answer = await client.post(f"{API}/tasks", json={"title": "A task"}, headers=bearer(alice))
                assert answer.status_code == 201
                assert answer.headers["RateLimit-Policy"] == '"default";q=2;w=60'
                assert answer.headers["RateLimit"].startswith(f'"default";r={remaining};t=')

    async def test_beyond_the_limit_the_answer_is_a_problem(self, database_url: str, alice: Person) -> None:
        async with limited(database_url, user=1) as client:
            assert (await client.get(f"{API}/tasks", headers=bearer(alice))).status_code == 200
            answer = await client.post(f"{API}/tasks", json={"title": "A task"}, headers=bearer(alice))
            assert answer.status_code == 429
            assert answer.headers["Content-Type"] == "application/problem+json"
            problem = answer.json()
            assert problem["type"] == "/docs/problems#rate-limited"
            assert problem["title"] == "Too Many Requests"
            assert problem["request_id"] == answer.headers["X-Request-ID"]
            seconds = int(answer.headers["Retry-After"])
            assert 55 <= seconds <= 60
            assert f"in {seconds} seconds" in problem["detail"]
            assert answer.headers["RateLimit-Policy"] == '"default";q=1;w=60'
            assert answer.headers["RateLimit"] == f'"default";r=0;t={seconds}'
            origin = {"Origin": "http://localhost:3000"}
            shown = await client.get(f"{API}/tasks", headers=bearer(alice) | origin)
            assert shown.status_code == 429
            exposed = set(shown.headers["Access-Control-Expose-Headers"].split(", "))
            assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= exposed

    async def test_refused_requests_change_nothing(self, database_url: str, alice: Person) -> None:
        async with limited(database_url, user=1) as client:
            for number in range(5):
                await client.post(f"{API}/tasks", json={"title": f"Task {number}"}, headers=bearer(alice))
        assert (await alice.get("/tasks")).json()["total"] == 1

    async def test_without_limits_nothing_is_told_and_nothing_stored(
        self, client: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        answers = [await alice.get("/tasks"), await client.post(REVOKE, json=TOKEN)]
        answers.append(await client.post(f"{API}/token", data={"username": "alice", "password": "wrong one"}))
        for answer in answers:
            assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers)
        assert await fetch_all(database, "SELECT key FROM rate_limits") == []


class TestWhatIsNotLimited:
    """Probes, documentation, what names no caller, and what browsers ask by themselves."""

    async def test_never_refused_and_never_counted(self, database_url: str, database: Database) -> None:
        async with limited(database_url, anonymous=1, user=1) as client:
            preflight = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
            for _ in range(3):
                for path in PROBES:
                    answer = await client.get(path)
                    assert answer.status_code == 200, path
                    assert "RateLimit" not in answer.headers
                assert (await client.options(REVOKE, headers=preflight)).status_code == 200
                assert (await client.get(f"{API}/nope")).status_code == 404
                assert (await client.get(f"{API}/tasks")).status_code == 401
                garbage = {"Authorization": "Bearer garbage"}
                refused = await client.get(f"{API}/tasks", headers=garbage)
                assert refused.status_code == 401
                assert "RateLimit" not in refused.headers
            assert await fetch_all(database, "SELECT key FROM rate_limits") == []
            assert (await revoke(client)).status_code == 204
            assert (await revoke(client)).status_code == 429


class TestWhoIsCounted:
    """A user, whatever they come with; anybody else by address."""

    async def test_all_logins_and_keys_of_a_user_count_together(
        self, database_url: str, alice: Person, bob: Person
    ) -> None:
        body = {"name": "A key", "scopes": ["tasks:read"]}
        key = (await alice.post("/users/me/api-keys", body)).json()["key"]
        form = {"username": "alice", "password": PASSWORD}
        other = (await alice.client.post(f"{API}/token", data=form)).json()["access_token"]
        async with limited(database_url, user=3) as client:
            credentials = [bearer(alice), {"Authorization": f"Bearer {other}"}, {"X-API-Key": key}, bearer(alice)]
            statuses = [(await client.get(f"{API}/tasks", headers=given)).status_code for given in credentials]
            assert statuses == [200, 200, 200, 429]
            assert (await client.get(f"{API}/tasks", headers=bearer(bob))).status_code == 200

    async def test_administrators_too(self, database_url: str, sign_up: Any) -> None:
        root = await sign_up("root", is_admin=True)
        key = (await root.post("/users/me/api-keys", {"name": "A key", "scopes": ["admin"]})).json()["key"]
        weak = (await root.post("/users/me/api-keys", {"name": "Weak", "scopes": ["account"]})).json()["key"]
        configured = "the key of the settings, of more than 32 characters"
        async with limited(database_url, user=2, api_key=configured) as client:

            async def ask(given: str) -> int:
                return (await client.get(f"{API}/admin/users", headers={"X-API-Key": given})).status_code

            # 429 comes before the missing scope, and a wrong key is nobody's.
            assert [await ask(given) for given in (key, weak, weak, key, "tm_1_wrong")] == [200, 403, 429, 429, 403]
            assert [await ask(configured) for _ in range(3)] == [200, 200, 429]

    async def test_the_order_of_refusals(self, database_url: str, alice: Person) -> None:
        key = (await alice.post("/users/me/api-keys", {"name": "A key", "scopes": ["tasks:read"]})).json()["key"]
        async with limited(database_url, user=1, anonymous=1, max_body_bytes="1024") as client:
            given = {"X-API-Key": key}
            assert (await client.get(f"{API}/tasks", headers=given)).status_code == 200

            async def post(content: bytes, media_type: str = "application/json", **more: str) -> int:
                headers = {"Content-Type": media_type, **given, **more}
                return (await client.post(f"{API}/tasks?unknown=1", content=content, headers=headers)).status_code

            assert await post(b"x" * 2_000) == 413
            assert await post(b"title", "text/plain") == 415
            assert await post(b"{") == 400
            assert await post(b"{}", **{"X-API-Key": "wrong"}) == 401
            assert await post(b"{}") == 429
            assert (await client.post(f"{REVOKE}?unknown=1", json={})).status_code == 422
            assert (await client.post(f"{REVOKE}?unknown=1", json={})).status_code == 429

    async def test_a_login_that_has_ended_takes_nothing_from_its_user(
        self, database_url: str, alice: Person, database: Database
    ) -> None:
        form = {"username": "alice", "password": PASSWORD}
        stolen = (await alice.client.post(f"{API}/token", data=form)).json()
        await alice.post("/token/revoke", {"refresh_token": stolen["refresh_token"]}, 204)
        async with limited(database_url, user=3) as client:
            for _ in range(5):
                headers = {"Authorization": f"Bearer {stolen['access_token']}"}
                refused = await client.get(f"{API}/tasks", headers=headers)
                assert refused.status_code == 401
                assert "RateLimit" not in refused.headers
            statuses = [(await client.get(f"{API}/tasks", headers=bearer(alice))).status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]

    async def test_a_refusal_counts_once_whoever_answers_it(self, database_url: str, alice: Person) -> None:
        async with limited(database_url, user=9) as client:
            for path, status in (("/tasks/999999", 404), ("/tasks?limit=0", 422), ("/tasks?sort_by=title", 200)):
                answer = await client.get(f"{API}{path}", headers=bearer(alice))
                assert answer.status_code == status
            assert answer.headers["RateLimit"].startswith('"default";r=6;')

    async def test_addresses_are_limited_each(self, database_url: str) -> None:
        async with limited(database_url, anonymous=2) as client:
            first = [(await revoke(client, "198.51.100.1")).status_code for _ in range(3)]
            second = [(await revoke(client, "198.51.100.2")).status_code for _ in range(3)]
            assert first == second == [204, 204, 429]

    async def test_an_ipv6_client_is_its_64_bit_network(self, database_url: str) -> None:
        async with limited(database_url, anonymous=2) as client:
            addresses = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::3", "2001:db8:1:3::1")
            assert [(await revoke(client, address)).status_code for address in addresses] == [204, 204, 429, 204]

    async def test_an_ipv4_address_is_the_same_in_ipv6(self, database_url: str) -> None:
        async with limited(database_url, anonymous=1) as client:
            statuses = [(await revoke(client, f"{prefix}198.51.100.1")).status_code for prefix in ("", "::ffff:")]
            assert statuses == [204, 429]

    @pytest.mark.parametrize("proxies", ["", "192.0.2.1", "unix"])
    async def test_a_forged_header_changes_nothing(self, database_url: str, database: Database, proxies: str) -> None:
        async with limited(database_url, anonymous=2, trusted_proxies=proxies) as client:
            statuses = [(await revoke(client, f"198.51.100.{number}")).status_code for number in range(5)]
            assert statuses == [204, 204, 429, 429, 429]
        assert (await fetch_one(database, "SELECT key FROM rate_limits"))["key"] == "anonymous 127.0.0.1"

    async def test_nor_does_what_a_client_writes_before_the_proxy(self, database_url: str) -> None:
        async with limited(database_url, anonymous=2) as client:
            statuses = [(await revoke(client, f"1.1.1.{n}, 198.51.100.1")).status_code for n in range(4)]
            assert statuses == [204, 204, 429, 429]

    async def test_the_log_tells_the_same_address(self, database_url: str) -> None:
        async with limited(database_url) as client:
            with capture_logs() as logs:
                await client.get("/health", headers=by_way_of("1.1.1.1, 2001:db8::5"))
                await client.get("/health", headers=by_way_of("garbage"))
        assert [line["client"] for line in logs if line["event"] == "request"] == ["2001:db8::5", "127.0.0.1"]

    async def test_without_an_address_all_count_together(self, database_url: str) -> None:
        # So it is over a Unix socket.
        async with limited(database_url, anonymous=2) as client:
            app = client._transport.app  # type: ignore[attr-defined]
            transport = httpx.ASGITransport(app=app, client=None)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as local:
                assert [(await revoke(local, f"198.51.100.{n}")).status_code for n in range(3)] == [204, 204, 429]
            assert (await revoke(client)).status_code == 204


class TestDatabaseSilent:
    """When nobody can say what is left."""

    async def test_requests_go_on_and_logins_do_not(
        self, database_url: str, alice: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: Any, **__: Any) -> dict[str, Grant]:
            raise ConnectionResetError

        async with limited(database_url, user=1, anonymous=1, login=1) as client:
            monkeypatch.setattr(PermitRepository, "take", refuse)
            for _ in range(3):
                answer = await client.get(f"{API}/tasks", headers=bearer(alice))
                assert answer.status_code == 200
                assert "RateLimit" not in answer.headers
                assert (await revoke(client)).status_code == 204
            answer = await client.post(f"{API}/token", data={"username": "alice", "password": PASSWORD})
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["type"] == "/docs/problems#unavailable"


async def all_started(server: LiveServer, workers: int) -> None:
    """Wait until every worker serves: the server is ready as soon as one does."""
    while server.log.read_text().count("Application startup complete") < workers:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def test_four_workers_admit_exactly_the_limit_together(
    database_url: str, database: Database, alice: Person, bob: Person, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET,
        "DATABASE_POOL_SIZE": "3",
        "RATE_LIMIT_ANONYMOUS_PER_MINUTE": "60",
        "RATE_LIMIT_USER_PER_MINUTE": "200",
    }
    server = LiveServer(environment, tmp_path / "log", workers=4)
    server.start(60)
    try:
        await asyncio.wait_for(all_started(server, 4), 60)
        # Once more if the machine was so busy that the limiter gave up waiting, which it says in the log.
        for address, person in (("127.0.0.1", alice), ("127.0.0.2", bob)):
            anonymous, users = await overrun(server.url, address, person)
            if "rate limits unavailable" not in server.log.read_text():
                break
    finally:
        server.stop()
    assert anonymous == {204: 60, 429: 90}
    # What the four hold unspent is less than a lease of four each.
    assert set(users) == {200, 429}
    assert 200 - 4 * 3 <= users[200] <= 200
    keys = {"address": f"anonymous {address}", "user": f"user {person.id}"}
    rows = await fetch_all(database, "SELECT key, used FROM rate_limits WHERE key IN (:address, :user)", **keys)
    assert {row["key"]: row["used"] for row in rows} == {keys["address"]: 60, keys["user"]: 200}


async def overrun(url: str, address: str, person: Person) -> tuple[Counter[int], Counter[int]]:
    """Send more requests than are admitted, each over a connection of its own and with a forged header."""
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_keepalive_connections=0))
    gate = asyncio.Semaphore(16)

    async def ask(method: str, path: str, number: int, **options: Any) -> int:
        async with gate:
            headers = {**by_way_of(f"198.51.100.{number % 250}"), **options.pop("headers", {})}
            return (await client.request(method, path, headers=headers, **options)).status_code

    async with httpx.AsyncClient(base_url=f"{url}{API}", transport=transport, timeout=30) as client:
        anonymous = Counter(await asyncio.gather(*(ask("POST", "/token/revoke", n, json=TOKEN) for n in range(150))))
        users = Counter(await asyncio.gather(*(ask("GET", "/users/me", n, headers=bearer(person)) for n in range(400))))
    return anonymous, users

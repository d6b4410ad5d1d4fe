"""Logging in, and what ends a login."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher as Argon2
from argon2 import extract_parameters
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person
from tests.support.sessions import open_session, open_transaction

TOKEN = "/api/v1/token"
FORM = {"username": "alice", "password": PASSWORD}
PER_REQUEST = {"x-request-id", "x-process-time", "server-timing", "date"}


def without_request(response: httpx.Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return what an answer says, without what differs between any two requests."""
    body = {name: value for name, value in response.json().items() if name != "request_id"}
    headers = {name: value for name, value in response.headers.items() if name.lower() not in PER_REQUEST}
    return response.status_code, body, headers


async def execute(database: Database, statement: str, **parameters: Any) -> None:
    """Change the database behind the application's back."""
    async with open_transaction(database) as session:
        await session.execute(text(statement), parameters)


async def stored_hash(database: Database, person: Person) -> str:
    """Return a user's password hash."""
    async with open_session(database) as session:
        statement = text("SELECT password_hash FROM users WHERE id = :id")
        return str((await session.execute(statement, {"id": person.id})).scalar_one())


class TestLogin:
    """POST /token."""

    async def test_register_then_token_then_me(self, client: httpx.AsyncClient) -> None:
        account = {"username": "Dora", "email": "dora@example.com", "password": "a long enough secret"}
        registered = await client.post("/api/v1/users", json=account)
        assert registered.status_code == 201
        form = {"grant_type": "password", "username": "Dora", "password": "a long enough secret"}
        token = (await client.post(TOKEN, data=form)).json()
        assert set(token) == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert (token["token_type"], token["expires_in"]) == ("bearer", 1800)
        me = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token['access_token']}"})
        assert me.status_code == 200
        assert me.json() == registered.json()

    async def test_answers_are_never_cached(self, client: httpx.AsyncClient, alice: Person) -> None:
        assert (await client.post(TOKEN, data=FORM)).headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("username", ["ALICE", "Alice"])
    async def test_case_of_the_name_does_not_count(
        self, client: httpx.AsyncClient, alice: Person, username: str
    ) -> None:
        assert (await client.post(TOKEN, data={**FORM, "username": username})).status_code == 200

    async def test_takes_a_multipart_form(self, client: httpx.AsyncClient, alice: Person) -> None:
        form = {name: (None, value) for name, value in FORM.items()}
        assert (await client.post(TOKEN, files=form)).status_code == 200

    async def test_each_login_is_a_session_of_its_own(
        self, client: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        headers = {b"User-Agent": b"a\xe4\tb" + b"x" * 300}
        first = (await client.post(TOKEN, data=FORM, headers=headers)).json()
        second = (await client.post(TOKEN, data=FORM)).json()
        assert first["access_token"] != second["access_token"]
        assert first["refresh_token"] != second["refresh_token"]
        async with open_session(database) as session:
            agents = (await session.execute(text("SELECT user_agent FROM sessions ORDER BY id"))).scalars().all()
        assert len(agents) == 3
        assert agents[1] == ("a??b" + "x" * 300)[:200]

    @pytest.mark.parametrize(
        "form",
        [
            {"username": "alice", "password": "wrong password"},
            {"username": "nobody", "password": PASSWORD},
            {"username": "alice@example.com", "password": PASSWORD},
            {"username": "no such form of a name", "password": PASSWORD},
            {"username": "a\x00b", "password": PASSWORD},
            {"username": "alice", "password": PASSWORD + "\x00"},
            {"username": "alice", "password": PASSWORD + " "},
            {"username": "alice", "password": PASSWORD.upper()},
            {"username": "alice", "password": "x" * 10_000},
            {"username": "disabled", "password": PASSWORD},
        ],
        ids=lambda form: repr(list(form.values()))[:50],
    )
    async def test_every_failure_answers_the_same(
        self, client: httpx.AsyncClient, alice: Person, sign_up: Any, database: Database, form: dict[str, str]
    ) -> None:
        await sign_up("disabled")
        await execute(database, "UPDATE users SET disabled = true WHERE username = 'disabled'")
        expected = without_request(await client.post(TOKEN, data={"username": "unknown_user", "password": "wrong one"}))
        status, body, headers = without_request(await client.post(TOKEN, data=form))
        assert (status, body, headers) == expected
        assert status == 401
        assert headers["www-authenticate"] == "Bearer"
        assert body["type"] == "/docs/problems#wrong-login"

    async def test_an_unknown_user_takes_as_long_as_a_wrong_password(
        self, client: httpx.AsyncClient, alice: Person
    ) -> None:
        async def fastest(username: str) -> float:
            times = []
            for _ in range(4):
                started = time.process_time()
                await client.post(TOKEN, data={"username": username, "password": "wrong password"})
                times.append(time.process_time() - started)
            return min(times)

        wrong_password = await fastest("alice")
        for username in ("unknown_user", "not a name"):
            assert 0.5 < await fastest(username) / wrong_password < 2

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"username": "alice"},
            {"password": PASSWORD},
        ],
        ids=lambda form: "-".join(form) or "empty",
    )
    async def test_an_incomplete_form_is_422_and_never_echoes_the_password(
        self, client: httpx.AsyncClient, alice: Person, form: dict[str, str]
    ) -> None:
        response = await client.post(TOKEN, data=form)
        assert response.status_code == 422
        assert PASSWORD not in response.text

    async def test_an_unknown_query_parameter_is_422(self, client: httpx.AsyncClient, alice: Person) -> None:
        assert (await client.post(f"{TOKEN}?scope=admin", data=FORM)).status_code == 422

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/x-www-form-urlencoded", b"a=1&" * 5_000),
            ("application/x-www-form-urlencoded", b"username=%ff%fe&password=%00"),
            ("application/x-www-form-urlencoded", b"\xff\xfe\x00"),
            ("application/x-www-form-urlencoded", b"username=alice&username=bob&password=a&password=b"),
            ("multipart/form-data", b"no boundary"),
            ("multipart/form-data; boundary=x", b"--x\r\nnot a part"),
            ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n\xff'),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\na\r\n--x--\r\n',
            ),
        ],
        ids=["many fields", "not UTF-8", "raw bytes", "repeated", "no boundary", "broken", "cut off", "file"],
    )
    async def test_a_strange_form_is_refused_and_never_an_error(
        self, client: httpx.AsyncClient, alice: Person, content_type: str, body: bytes
    ) -> None:
        response = await client.post(TOKEN, content=body, headers={"Content-Type": content_type})
        assert response.status_code in {400, 401, 422}
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.usefixtures("costly_hashes")
class TestRehash:
    """A hash with older parameters is replaced when its password is known: at login."""

    @pytest.fixture
    async def old_hash(self, alice: Person, database: Database) -> str:
        """A hash of Alice's password with weak parameters, stored."""
        weak = Argon2(time_cost=1, memory_cost=64, parallelism=2).hash(PASSWORD)
        await execute(database, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=weak, id=alice.id)
        return weak

    async def test_a_login_stores_a_stronger_hash(
        self, client: httpx.AsyncClient, alice: Person, database: Database, old_hash: str
    ) -> None:
        assert (await client.post(TOKEN, data=FORM)).status_code == 200
        renewed = extract_parameters(await stored_hash(database, alice))
        assert (renewed.memory_cost, renewed.time_cost, renewed.parallelism) == (19_456, 2, 1)
        assert (await client.post(TOKEN, data=FORM)).status_code == 200

    async def test_logins_at_the_same_time_all_succeed(
        self, client: httpx.AsyncClient, alice: Person, old_hash: str
    ) -> None:
        answers = await asyncio.gather(*(client.post(TOKEN, data=FORM) for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4

    async def test_a_failed_login_leaves_it(
        self, client: httpx.AsyncClient, alice: Person, database: Database, old_hash: str
    ) -> None:
        assert (await client.post(TOKEN, data={**FORM, "password": "wrong password"})).status_code == 401
        assert await stored_hash(database, alice) == old_hash

    async def test_a_login_with_a_current_hash_leaves_it(
        self, client: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        before = await stored_hash(database, alice)
        assert (await client.post(TOKEN, data=FORM)).status_code == 200
        assert await stored_hash(database, alice) == before

    @pytest.mark.parametrize("garbage", ["", "!", "$argon2id$v=19$m=19456,t=2,p=1$short", "plain text"])
    async def test_a_hash_that_is_none_lets_nobody_in(
        self, client: httpx.AsyncClient, alice: Person, database: Database, garbage: str
    ) -> None:
        await execute(database, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=garbage, id=alice.id)
        assert (await client.post(TOKEN, data={**FORM, "password": garbage or "x"})).status_code == 401


class TestRevocation:
    """What ends a login holds from the next request."""

    async def test_a_disabled_user_is_refused(
        self, client: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        await alice.get("/tasks")
        await execute(database, "UPDATE users SET disabled = true WHERE id = :id", id=alice.id)
        for path in ("/tasks", "/users/me", "/projects"):
            response = await alice.get(path, 401)
            assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        await alice.post("/tasks", {"title": "One more"}, 401)
        assert (await client.post(TOKEN, data=FORM)).status_code == 401

    async def test_a_revoked_session_is_refused_and_others_are_not(
        self, client: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        other = (await client.post(TOKEN, data=FORM)).json()["access_token"]
        await execute(database, "UPDATE sessions SET revoked_at = now() WHERE id = :id", id=alice.session_id)
        response = await alice.get("/tasks", 401)
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        headers = {"Authorization": f"Bearer {other}"}
        assert (await client.get("/api/v1/tasks", headers=headers)).status_code == 200

    async def test_a_session_that_is_gone_is_refused(self, alice: Person, database: Database) -> None:
        await execute(database, "DELETE FROM sessions WHERE id = :id", id=alice.session_id)
        await alice.get("/tasks", 401)

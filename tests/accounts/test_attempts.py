"""Guessing passwords: failures are counted, successes are not, and nobody locks anybody else out."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from taskmanager.errors import OverloadedError
from taskmanager.main import create_app
from tests.conftest import PASSWORD, Person, make_settings
from tests.support.applications import started
from tests.support.rows import execute, fetch_all

pytestmark = pytest.mark.usefixtures("patient_limiter")
API = "/api/v1"
HOME, ELSEWHERE = "198.51.100.1", "203.0.113.9"
WRONG = "not the right password"


@pytest.fixture
async def guarded(database_url: str, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that takes 10 failures of an account and 30 of an address."""
    settings = make_settings(
        database_url=database_url,
        trusted_proxies="127.0.0.1",
        rate_limit_login_per_minute=10,
        rate_limit_login_address_per_minute=30,
    )
    async with started(create_app(settings)) as client:
        yield client


async def log_in(
    client: httpx.AsyncClient, password: str = PASSWORD, username: str = "alice", address: str = HOME
) -> httpx.Response:
    """Log in from an address."""
    form = {"username": username, "password": password}
    return await client.post(f"{API}/token", data=form, headers={"X-Forwarded-For": address})


async def statuses(client: httpx.AsyncClient, times: int, **options: Any) -> list[int]:
    """Log in several times, one after the other."""
    return [(await log_in(client, **options)).status_code for _ in range(times)]


class TestLogin:
    """`POST /token`."""

    async def test_after_ten_failures_even_the_right_password_is_refused(
        self, guarded: httpx.AsyncClient, alice: Person
    ) -> None:
        assert await statuses(guarded, 10, password=WRONG) == [401] * 10
        for password in (WRONG, PASSWORD):
            answer = await log_in(guarded, password)
            assert answer.status_code == 429
            assert answer.json()["type"] == "/docs/problems#rate-limited"
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.headers["RateLimit-Policy"] == '"login";q=10;w=60'
            assert answer.headers["RateLimit"] == f'"login";r=0;t={answer.headers["Retry-After"]}'

    async def test_the_account_is_not_locked_for_others(
        self, guarded: httpx.AsyncClient, alice: Person, bob: Person
    ) -> None:
        assert await statuses(guarded, 11, password=WRONG) == [401] * 10 + [429]
        assert await statuses(guarded, 2, address=ELSEWHERE) == [200, 200]
        # Nor is the address for other accounts.
        assert await statuses(guarded, 2, username="bob") == [200, 200]
        assert (await alice.get("/users/me")).status_code == 200

    async def test_success_does_not_count(self, guarded: httpx.AsyncClient, alice: Person) -> None:
        assert await statuses(guarded, 9, password=WRONG) == [401] * 9
        assert await statuses(guarded, 40) == [200] * 40
        assert await statuses(guarded, 2, password=WRONG) == [401, 429]

    async def test_trying_many_at_once_gives_no_more_tries(self, guarded: httpx.AsyncClient, alice: Person) -> None:
        answers = await asyncio.gather(*(log_in(guarded, WRONG) for _ in range(40)))
        assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 30}

    async def test_the_case_of_the_name_gives_no_more_tries(self, guarded: httpx.AsyncClient, alice: Person) -> None:
        names = ["alice", "ALICE", "Alice", "aLICE"] * 3
        found = [(await log_in(guarded, WRONG, name)).status_code for name in names]
        assert found == [401] * 10 + [429] * 2

    @pytest.mark.parametrize("username", ["alice", "nobody_here", "no such name!", "a\x00b", "ü" * 5_000, ""])
    async def test_known_and_unknown_names_are_refused_alike(
        self, guarded: httpx.AsyncClient, alice: Person, username: str
    ) -> None:
        answers = [await log_in(guarded, WRONG, username) for _ in range(11)]
        if username:
            assert [answer.status_code for answer in answers] == [401] * 10 + [429]
            told = answers[-1].json()
            told["detail"] = told["detail"].replace(answers[-1].headers["Retry-After"], "N")
            assert (told["title"], told["detail"], set(told)) == (
                "Too Many Requests",
                "Too many failed attempts; try again in N seconds.",
                {"type", "code", "title", "status", "detail", "instance", "request_id", "error", "error_description"},
            )
        else:
            assert {answer.status_code for answer in answers} == {422}

    async def test_an_address_has_thirty_whatever_the_names(self, guarded: httpx.AsyncClient, alice: Person) -> None:
        found = [(await log_in(guarded, WRONG, f"name_{number}")).status_code for number in range(32)]
        assert found == [401] * 30 + [429] * 2
        assert (await log_in(guarded)).status_code == 429
        assert (await log_in(guarded, address=ELSEWHERE)).status_code == 200

    async def test_an_account_from_many_addresses_stays_open(self, guarded: httpx.AsyncClient, alice: Person) -> None:
        for number in range(3):
            address = f"203.0.113.{number}"
            assert await statuses(guarded, 11, password=WRONG, address=address) == [401] * 10 + [429]
        assert (await log_in(guarded)).status_code == 200

    async def test_what_never_tried_the_password_does_not_count(
        self, guarded: httpx.AsyncClient, alice: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: Any) -> bool:
            raise OverloadedError("logins")

        with monkeypatch.context() as patch:
            patch.setattr("taskmanager.accounts.password.hashing.PasswordHasher.verify", refuse)
            assert await statuses(guarded, 15) == [503] * 15
        assert await statuses(guarded, 10, password=WRONG) == [401] * 10

    async def test_who_goes_away_has_tried(
        self, database_url: str, alice: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def hang(*_: Any) -> bool:
            hashing.set()
            await asyncio.sleep(60)
            return False

        hashing = asyncio.Event()
        settings = make_settings(database_url=database_url, rate_limit_login_per_minute=1)
        async with started(create_app(settings)) as client:
            with monkeypatch.context() as patch:
                patch.setattr("taskmanager.accounts.password.hashing.PasswordHasher.verify", hang)
                task = asyncio.create_task(log_in(client, WRONG))
                await asyncio.wait_for(hashing.wait(), 20)
                task.cancel()
                await asyncio.wait([task])
            assert (await log_in(client)).status_code == 429

    async def test_names_are_not_stored(self, guarded: httpx.AsyncClient, alice: Person, database: Database) -> None:
        await log_in(guarded, WRONG, "my_secret_typed_as_a_name")
        keys = [row["key"] for row in await fetch_all(database, "SELECT key FROM rate_limits ORDER BY key")]
        assert [key.split()[0] for key in keys] == ["login", "login-address"]
        assert all("secret" not in key and len(key) < 100 for key in keys)

    async def test_the_next_minute_begins_anew(
        self, guarded: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        assert await statuses(guarded, 11, password=WRONG) == [401] * 10 + [429]
        await execute(database, "UPDATE rate_limits SET resets_at = resets_at - interval '1 minute'")
        assert await statuses(guarded, 11, password=WRONG) == [401] * 10 + [429]


class TestConfirmation:
    """What a logged-in user confirms with their password: a stolen token gives no more guesses than the login."""

    @pytest.fixture
    async def alice_guarded(self, guarded: httpx.AsyncClient, alice: Person) -> Person:
        """Alice, at the application with limits."""
        guarded.headers["Authorization"] = f"Bearer {alice.token}"
        return Person(alice.id, alice.username, alice.session_id, alice.token, guarded, alice.inbox_id)

    @staticmethod
    def change(current: str) -> dict[str, str]:
        return {"current_password": current, "new_password": "a new password", "confirm_password": "a new password"}

    async def test_ten_failures_of_both_routes_together(self, alice_guarded: Person) -> None:
        for _ in range(5):
            await alice_guarded.post("/users/me/password", self.change(WRONG), 403)
            await alice_guarded.post("/users/me/delete", {"password": WRONG}, 403)
        answer = await alice_guarded.post("/users/me/password", self.change(PASSWORD), 429)
        assert answer.headers["RateLimit-Policy"] == '"login";q=10;w=60'
        await alice_guarded.post("/users/me/delete", {"password": PASSWORD}, 429)
        # Neither the rest of the account nor its login is affected.
        await alice_guarded.get("/users/me")
        assert (await log_in(alice_guarded.client)).status_code == 200

    async def test_what_fails_otherwise_does_not_count(self, alice_guarded: Person, bob: Person) -> None:
        project = await alice_guarded.new_project()
        await alice_guarded.post(f"/projects/{project}/members", {"username": "bob", "role": "viewer"})
        for _ in range(6):
            await alice_guarded.post("/users/me/password", {**self.change(WRONG), "confirm_password": "x" * 9}, 422)
            await alice_guarded.post("/users/me/delete", {"password": PASSWORD}, 409)
        await alice_guarded.post("/users/me/password", self.change(PASSWORD), 204)

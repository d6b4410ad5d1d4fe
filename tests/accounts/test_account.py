"""One's own account: its names, its password and its logins."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import PASSWORD, Person, SignUp, make_settings
from tests.support.applications import started
from tests.support.credentials import API, log_in
from tests.support.rows import digests, fetch_one

NEW = "a brand new phrase"


def change(**values: Any) -> dict[str, Any]:
    """Return the body of a good change of password, but for the given values."""
    return {"current_password": PASSWORD, "new_password": NEW, "confirm_password": NEW, **values}


async def password_error(person: Person, new: str, **values: Any) -> dict[str, Any]:
    """Try a new password that has to be refused with 422 and return what is wrong with it."""
    body = change(new_password=new, confirm_password=new, **values)
    answer = await person.post("/users/me/password", body, expect=422)
    (error,) = answer.json()["errors"]
    return dict(error)


class TestMe:
    """GET and PATCH /users/me."""

    async def test_shows_the_account_and_never_a_hash(self, alice: Person) -> None:
        me = (await alice.get("/users/me")).json()
        assert me == {
            "id": alice.id,
            "username": "alice",
            "email": "alice@example.com",
            "disabled": False,
            "is_admin": False,
            "display_name": None,
            "time_zone": "UTC",
            "created_at": me["created_at"],
        }
        assert datetime.fromisoformat(me["created_at"]).utcoffset() == timedelta(0)

    @pytest.mark.parametrize(
        ("body", "changed"),
        [
            ({"username": "alice_2"}, {"username": "alice_2"}),
            ({"email": "a2@example.com"}, {"email": "a2@example.com"}),
            ({"username": "alice_2", "email": "a2@example.com"}, {"username": "alice_2", "email": "a2@example.com"}),
            # Also to one's own name in another case.
            ({"username": "ALICE"}, {"username": "ALICE"}),
            ({"email": "Alice@Example.COM"}, {}),
            ({"username": "alice", "email": "alice@example.com"}, {}),
            ({}, {}),
        ],
    )
    async def test_changes_only_what_is_given(
        self, alice: Person, body: dict[str, str], changed: dict[str, str]
    ) -> None:
        before = (await alice.get("/users/me")).json()
        answer = (await alice.patch("/users/me", body)).json()
        assert answer == {**before, **changed}
        assert (await alice.get("/users/me")).json() == answer

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"username": "bob"}, "username"),
            ({"username": "BoB"}, "username"),
            ({"email": "bob@example.com"}, "email"),
            ({"email": "BOB@Example.com"}, "email"),
            ({"username": "free_name", "email": "bob@example.com"}, "email"),
        ],
    )
    async def test_a_taken_name_in_any_case_is_409_and_changes_nothing(
        self, alice: Person, bob: Person, database: Database, body: dict[str, str], field: str
    ) -> None:
        before = await digests(database)
        answer = await alice.patch("/users/me", body, expect=409)
        assert (answer.json()["type"], answer.json()["field"]) == ("/docs/problems#already-taken", field)
        assert await digests(database) == before

    @pytest.mark.parametrize(
        "body",
        [
            {"username": None},
            {"email": None},
            {"username": "al"},
            {"username": "a" * 51},
            {"username": "ali ce"},
            {"username": "alicé"},
            {"username": "ali\nce"},
            {"username": 1},
            {"email": "nobody"},
            {"email": "nobody@"},
            {"email": f"{'x' * 250}@example.com"},
            {"email": "a\x00@example.com"},
            {"id": 1},
            {"is_admin": True},
            {"disabled": False},
            {"password": NEW},
            {"password_hash": "x"},
            {"created_at": "2026-01-01T00:00:00Z"},
            [],
            None,
        ],
    )
    async def test_anything_else_is_422_and_changes_nothing(self, alice: Person, database: Database, body: Any) -> None:
        before = await digests(database)
        await alice.patch("/users/me", body, expect=422)
        assert await digests(database) == before

    async def test_logs_in_with_the_new_name_only(self, alice: Person, client: httpx.AsyncClient) -> None:
        await alice.patch("/users/me", {"username": "renamed"})
        assert (await log_in(client, "renamed")).access
        old = await client.post(f"{API}/token", data={"username": "alice", "password": PASSWORD})
        assert old.status_code == 401

    async def test_the_name_given_up_is_free(self, alice: Person, bob: Person) -> None:
        await alice.patch("/users/me", {"username": "renamed", "email": "renamed@example.com"})
        answer = await bob.patch("/users/me", {"username": "Alice", "email": "alice@example.com"})
        assert (answer.json()["username"], answer.json()["email"]) == ("Alice", "alice@example.com")

    async def test_of_many_who_want_one_name_at_once_one_gets_it(self, sign_up: SignUp) -> None:
        people = [await sign_up(f"person_{number}") for number in range(8)]
        answers = await asyncio.gather(
            *(person.patch("/users/me", {"username": "wanted"}, expect=None) for person in people)
        )
        assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]


class TestPassword:
    """POST /users/me/password: what is refused; what it ends is told in test_revocation."""

    @pytest.mark.usefixtures("costly_hashes")
    async def test_the_new_password_replaces_the_old_one(
        self, alice: Person, client: httpx.AsyncClient, database: Database
    ) -> None:
        answer = await alice.post("/users/me/password", change(), expect=204)
        assert answer.content == b""
        await log_in(client, "alice", NEW)
        row = await fetch_one(database, "SELECT password_hash FROM users")
        assert row["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        # And back, from there.
        await alice.post(
            "/users/me/password",
            {"current_password": NEW, "new_password": PASSWORD, "confirm_password": PASSWORD},
            expect=204,
        )
        await log_in(client, "alice")

    @pytest.mark.parametrize("current", ["wrong", "", PASSWORD.upper(), f"{PASSWORD} ", "x" * 129, "x" * 1280])
    async def test_a_wrong_current_password_is_403_and_changes_nothing(
        self, alice: Person, database: Database, current: str
    ) -> None:
        before = await digests(database)
        answer = await alice.post("/users/me/password", change(current_password=current), expect=403)
        assert answer.json()["type"] == "/docs/problems#wrong-password"
        assert await digests(database) == before

    async def test_a_confirmation_that_differs_is_422(self, alice: Person, database: Database) -> None:
        before = await digests(database)
        answer = await alice.post("/users/me/password", change(confirm_password=f"{NEW}!"), expect=422)
        (error,) = answer.json()["errors"]
        assert error["loc"] == ["body", "confirm_password"]
        assert await digests(database) == before

    async def test_the_same_password_is_422(self, alice: Person) -> None:
        error = await password_error(alice, PASSWORD)
        assert error["loc"] == ["body", "new_password"]
        assert "differ" in error["msg"]

    @pytest.mark.parametrize("new", ["", "short", "1234567", "😀" * 7, "x" * 129, "😀" * 129])
    async def test_too_short_and_too_long_is_422(self, alice: Person, database: Database, new: str) -> None:
        before = await digests(database)
        assert (await password_error(alice, new))["loc"] == ["body", "new_password"]
        assert await digests(database) == before

    @pytest.mark.parametrize("new", ["8 chars!", "😀" * 8, "😀" * 128, " " * 8, "á\ttab and\nline"])
    async def test_any_characters_are_taken_from_8_to_128(
        self, alice: Person, client: httpx.AsyncClient, new: str
    ) -> None:
        body = change(new_password=new, confirm_password=new)
        await alice.post("/users/me/password", body, expect=204)
        await log_in(client, "alice", new)

    @pytest.mark.parametrize("new", ["password", "PassWord", "12345678", "qwertyuiop", "iloveyou1", "Football"])
    async def test_a_common_password_is_422(self, alice: Person, new: str) -> None:
        error = await password_error(alice, new)
        assert error["loc"] == ["body", "new_password"]
        assert "common" in error["msg"]

    @pytest.mark.parametrize(
        "new",
        [
            "longer_name_42",
            "LONGER_NAME_42",
            "longer_name_42@example.com",
            "Longer_Name_42@Example.Com",
        ],
    )
    async def test_user_name_and_email_are_422(self, sign_up: SignUp, new: str) -> None:
        person = await sign_up("longer_name_42")
        assert "name" in (await password_error(person, new))["msg"]

    async def test_the_address_without_its_domain_is_422(self, alice: Person) -> None:
        await alice.patch("/users/me", {"email": "somebody_else@example.com"})
        assert "address" in (await password_error(alice, "Somebody_Else"))["msg"]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"new_password": NEW, "confirm_password": NEW},
            {"current_password": PASSWORD, "new_password": NEW},
            {"current_password": PASSWORD, "confirm_password": NEW},
            change(new_password=None),
            change(confirm_password=None),
            change(current_password=None),
            change(new_password=12345678, confirm_password=12345678),
            change(current_password="x" * 1281),
            change(user_id=1),
        ],
    )
    async def test_a_body_of_another_shape_is_422_and_never_repeated(
        self, alice: Person, database: Database, body: dict[str, Any]
    ) -> None:
        before = await digests(database)
        answer = await alice.post("/users/me/password", body, expect=422)
        for secret in (PASSWORD, NEW):
            assert secret not in answer.text
        assert await digests(database) == before

    async def test_the_shortest_length_is_a_setting(self, database_url: str, alice: Person) -> None:
        settings = make_settings(database_url=database_url, password_min_characters=20)
        async with started(create_app(settings)) as client:
            client.headers["Authorization"] = f"Bearer {alice.token}"
            short = await client.post(f"{API}/users/me/password", json=change())
            assert short.status_code == 422
            body = change(new_password="x" * 20, confirm_password="x" * 20)
            assert (await client.post(f"{API}/users/me/password", json=body)).status_code == 204

    async def test_of_two_changes_at_once_one_wins(self, alice: Person, client: httpx.AsyncClient) -> None:
        bodies = [change(new_password=f"{NEW} {n}", confirm_password=f"{NEW} {n}") for n in range(4)]
        answers = await asyncio.gather(*(alice.post("/users/me/password", body, expect=None) for body in bodies))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(204) == 1
        assert set(statuses) <= {204, 403}
        await log_in(client, "alice", bodies[statuses.index(204)]["new_password"])

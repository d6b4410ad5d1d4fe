"""Names, addresses and passwords in every spelling in which a hand or a program writes them."""

from typing import Any

import httpx
import pytest

from taskmanager.accounts.names import find_email, normal_email
from taskmanager.accounts.password import hashing
from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import PASSWORD, Person, SignUp, client_for, make_settings
from tests.support.applications import started
from tests.support.credentials import API, bearer, log_in
from tests.support.rows import execute, fetch_one

COMPOSED, DECOMPOSED = "gr\u00fc\u00df Gott", "gru\u0308\u00df Gott"
FIND_HASH = "SELECT password_hash FROM users WHERE username = :name"


class TestEmail:
    """One address has one form."""

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ("bob@example.com", "bob@example.com"),
            (" Bob@Example.COM\n", "bob@example.com"),
            ("\u00a0bob@example.com\u3000", "bob@example.com"),
            ("root@localhost", "root@localhost"),
            ("anna@firma.local", "anna@firma.local"),
            ("Anna@FIRMA.Local", "anna@firma.local"),
            ("a@intern", "a@intern"),
            ("a@x.test", "a@x.test"),
            ("a@db.internal", "a@db.internal"),
            ("a@router.home.arpa", "a@router.home.arpa"),
            ("a@m\u00fcller.de", "a@m\u00fcller.de"),
            ("a@mu\u0308ller.de", "a@m\u00fcller.de"),
            ("a@M\u00dcLLER.DE", "a@m\u00fcller.de"),
            ("a@xn--mller-kva.de", "a@m\u00fcller.de"),
            ("a@XN--MLLER-KVA.DE", "a@m\u00fcller.de"),
            ("a@m\u00fcller.local", "a@m\u00fcller.local"),
            ("a@xn--mller-kva.local", "a@m\u00fcller.local"),
            ("jo\u0308rg@example.com", "j\u00f6rg@example.com"),
            ("J\u00d6RG@example.com", "j\u00f6rg@example.com"),
            ("o'brien+tag@example.com.com", "o'brien+tag@example.com.com"),
        ],
    )
    def test_it_is_normalised(self, given: str, stored: str) -> None:
        assert normal_email(given) == find_email(given) == stored
        assert normal_email(stored) == stored

    @pytest.mark.parametrize(
        "given",
        [
            *("", "bob", "@example.com", "bob@", "a b@example.com", "a@b@c.de", "a@-x.de", "a@x..de", "a@.de", "a@de."),
            *(
                "a@x_y.de",
                "a@\u200b.de",
                "a\x00@x.de",
                "a\u0007@x.de",
                "Bob <bob@example.com>",
                "a@xn--a.de",
                "a@ x.de",
            ),
            *("a@" + "x" * 64 + ".de", "a@" + "x." * 130 + "de"),
        ],
        ids=ascii,
    )
    def test_what_is_none_is_refused_but_may_be_looked_for(self, given: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            normal_email(given)
        assert isinstance(find_email(given), str)

    async def test_registration_member_and_change_take_every_spelling(
        self, client: httpx.AsyncClient, alice: Person
    ) -> None:
        new = {"username": " bob_1 ", "email": " Bob@xn--mller-kva.LOCAL ", "password": PASSWORD}
        bob = (await client.post(f"{API}/users", json=new)).json()
        assert (bob["username"], bob["email"]) == ("bob_1", "bob@m\u00fcller.local")
        for email in ("bob@m\u00fcller.local", "bob@mu\u0308ller.local", "bob@xn--mller-kva.local"):
            taken = await client.post(f"{API}/users", json={"username": "carol", "email": email, "password": PASSWORD})
            assert taken.status_code == 409
            assert (await alice.patch("/users/me", {"email": email}, expect=409)).json()["field"] == "email"
        for given in (
            {"email": " BOB@XN--MLLER-KVA.local\t"},
            {"username": "BOB_1 "},
            {"email": "bob@mu\u0308ller.local"},
        ):
            project = await alice.new_project()
            added = await alice.post(f"/projects/{project}/members", {**given, "role": "viewer"})
            assert added.json()["user_id"] == bob["id"]
        await alice.post(f"/projects/{project}/members", {"email": "no address", "role": "viewer"}, expect=404)
        assert (await alice.patch("/users/me", {"email": " Root@LocalHost "})).json()["email"] == "root@localhost"


class TestUsername:
    """Trimmed wherever one is taken."""

    @pytest.mark.parametrize("given", ["alice", "alice ", " ALICE", "\talice\n", "alice\u00a0"])
    async def test_logs_in(self, client: httpx.AsyncClient, alice: Person, given: str) -> None:
        await log_in(client, given)

    @pytest.mark.parametrize("given", ["al ice", "alice\u200b", "\u0430lice", "alic\u00e9", "", "alice\x00"])
    async def test_of_others_does_not(self, client: httpx.AsyncClient, alice: Person, given: str) -> None:
        answer = await client.post(f"{API}/token", data={"username": given, "password": PASSWORD})
        assert answer.status_code == (401 if given else 422)


class TestPassword:
    """The same on every system."""

    async def register(self, client: httpx.AsyncClient, password: str) -> int:
        person = {"username": "greta", "email": "greta@example.com", "password": password}
        return (await client.post(f"{API}/users", json=person)).status_code

    @pytest.mark.parametrize(("set_as", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
    async def test_it_logs_in_in_either_spelling(
        self, client: httpx.AsyncClient, database: Database, set_as: str, typed: str
    ) -> None:
        assert await self.register(client, set_as) == 201
        for password in (set_as, typed):
            await log_in(client, "greta", password)

    async def test_its_length_is_counted_in_its_normal_form(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        assert await self.register(client, "a\u0308" * 7) == 422
        assert await self.register(client, "\ufdfa" * 100) == 422
        assert await self.register(client, "\ufb01" * 4) == 201

    async def test_it_is_changed_and_confirmed_in_any_spelling(self, client: httpx.AsyncClient, alice: Person) -> None:
        change = {"current_password": PASSWORD, "new_password": COMPOSED, "confirm_password": DECOMPOSED}
        await alice.post("/users/me/password", change, expect=204)
        same = {"current_password": DECOMPOSED, "new_password": COMPOSED, "confirm_password": COMPOSED}
        await alice.post("/users/me/password", same, expect=422)
        back = {"current_password": DECOMPOSED, "new_password": PASSWORD, "confirm_password": PASSWORD}
        await alice.post("/users/me/password", back, expect=204)

    async def test_a_hash_of_the_raw_spelling_logs_in_once_and_is_made_anew(
        self, client: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        raw = hashing._ARGON2.hash(DECOMPOSED)
        await execute(database, "UPDATE users SET password_hash = :raw WHERE username = 'alice'", raw=raw)
        wrong = await client.post(f"{API}/token", data={"username": "alice", "password": COMPOSED})
        assert wrong.status_code == 401
        await log_in(client, "alice", DECOMPOSED)
        stored = (await fetch_one(database, FIND_HASH, name="alice"))["password_hash"]
        assert stored != raw
        await log_in(client, "alice", COMPOSED)
        await log_in(client, "alice", DECOMPOSED)
        assert (await fetch_one(database, FIND_HASH, name="alice"))["password_hash"] == stored

    async def test_both_tries_are_one_attempt(self, database_url: str, sign_up: SignUp) -> None:
        await sign_up("alice")
        settings = make_settings(database_url=database_url, rate_limit_login_per_minute=3)
        statuses: list[Any] = []
        async with started(create_app(settings)) as client:
            for username in (" ALICE", "alice ", "Alice", "ALICE\n"):  # the same account for the limit too
                form = {"username": username, "password": DECOMPOSED}
                statuses.append((await client.post(f"{API}/token", data=form)).status_code)
        assert statuses == [401, 401, 401, 429]

    async def test_it_deletes_the_account_as_older_versions_hashed_it(
        self, app: Any, alice: Person, database: Database
    ) -> None:
        raw = hashing._ARGON2.hash(DECOMPOSED)
        await execute(database, "UPDATE users SET password_hash = :raw WHERE username = 'alice'", raw=raw)
        async with client_for(app) as client:
            tokens = await log_in(client, "alice", DECOMPOSED)
            answer = await client.post(
                f"{API}/users/me/delete", json={"password": DECOMPOSED}, headers=bearer(tokens.access)
            )
        assert answer.status_code == 204

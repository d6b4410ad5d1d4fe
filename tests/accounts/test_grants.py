"""The token route as clients of OAuth use it (RFC 6749): both grants, and errors that they can read."""

from typing import Any

import httpx
import pytest

from tests.conftest import PASSWORD, Person
from tests.support.credentials import API, bearer, log_in, status_of

TOKEN = f"{API}/token"
LOGIN = {"username": "alice", "password": PASSWORD}


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of an error, which has to be a problem document and OAuth's error at the same time."""
    body = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert body["status"] == response.status_code
    assert body["error_description"] == body["detail"]
    assert PASSWORD not in response.text
    return response.status_code, body["error"]


class TestRefresh:
    """`grant_type=refresh_token`."""

    async def test_it_rotates_as_the_json_route_does(self, client: httpx.AsyncClient, alice: Person) -> None:
        tokens = await log_in(client, "alice")
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh}
        answer = await client.post(TOKEN, data={**form, "scope": "", "client_id": "spa", "client_secret": ""})
        assert answer.status_code == 200
        assert set(answer.json()) == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert answer.headers["Cache-Control"] == "no-store"
        assert await status_of(client, "/users/me", bearer(answer.json()["access_token"])) == 200
        successor = answer.json()["refresh_token"]
        assert successor != tokens.refresh
        # And from one route to the other.
        again = await client.post(f"{TOKEN}/refresh", json={"refresh_token": successor})
        assert again.status_code == 200
        final = await client.post(TOKEN, data={**form, "refresh_token": again.json()["refresh_token"]})
        assert final.status_code == 200

    async def test_a_token_that_was_spent_ends_the_login(self, client: httpx.AsyncClient, alice: Person) -> None:
        tokens = await log_in(client, "alice")
        first = await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": tokens.refresh})
        second = {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}
        third = (await client.post(TOKEN, data=second)).json()
        spent = await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": tokens.refresh})
        assert error_of(spent) == (400, "invalid_grant")
        ended = await client.post(TOKEN, data={**second, "refresh_token": third["refresh_token"]})
        assert error_of(ended) == (400, "invalid_grant")

    @pytest.mark.parametrize("token", ["nonsense", "x" * 5000, "a.b.c", "\u00e4", " "])
    async def test_garbage_is_an_invalid_grant(self, client: httpx.AsyncClient, token: str) -> None:
        answer = await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": token})
        assert error_of(answer) == (400, "invalid_grant")

    async def test_the_token_of_the_other_kind_is_an_invalid_grant(
        self, client: httpx.AsyncClient, alice: Person
    ) -> None:
        answer = await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": alice.token})
        assert error_of(answer) == (400, "invalid_grant")


class TestErrors:
    """Each says in OAuth's words what is wrong."""

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ({}, (422, "invalid_request")),
            ({"username": "alice"}, (422, "invalid_request")),
            ({"username": "", "password": ""}, (422, "invalid_request")),
            ({"grant_type": "refresh_token"}, (422, "invalid_request")),
            ({"grant_type": "refresh_token", "refresh_token": ""}, (422, "invalid_request")),
            ({**LOGIN, "grant_type": ["password", "password"]}, (400, "invalid_request")),
            ({**LOGIN, "username": ["alice", "bob"]}, (400, "invalid_request")),
            ({**LOGIN, "grant_type": "client_credentials"}, (400, "unsupported_grant_type")),
            ({**LOGIN, "grant_type": "Password"}, (400, "unsupported_grant_type")),
            ({"grant_type": "authorization_code", "code": "x"}, (400, "unsupported_grant_type")),
            ({"username": "alice", "password": "wrong"}, (401, "invalid_grant")),
        ],
        ids=lambda value: "-".join(map(str, value)),
    )
    async def test_of_the_form(
        self, client: httpx.AsyncClient, alice: Person, form: dict[str, Any], expected: tuple[int, str]
    ) -> None:
        assert error_of(await client.post(TOKEN, data=form)) == expected

    async def test_of_the_request(self, client: httpx.AsyncClient) -> None:
        other = await client.post(TOKEN, content="{}", headers={"Content-Type": "text/json"})
        assert error_of(other) == (415, "invalid_request")
        assert other.headers["Accept"].startswith("application/json, application/x-www-form-urlencoded")
        assert error_of(await client.post(f"{TOKEN}?x=1", data=LOGIN)) == (422, "invalid_request")
        zipped = await client.post(TOKEN, data=LOGIN, headers={"Content-Encoding": "gzip"})
        assert error_of(zipped) == (415, "invalid_request")

    async def test_an_empty_grant_type_is_none(self, client: httpx.AsyncClient, alice: Person) -> None:
        assert (await client.post(TOKEN, data={**LOGIN, "grant_type": ""})).status_code == 200

    async def test_other_routes_have_no_such_members(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(f"{TOKEN}/refresh", json={"refresh_token": "nonsense"})
        assert answer.status_code == 401
        assert "error" not in answer.json()


class TestJson:
    """A login in JSON is the same as one by a form, and as strict as every other JSON body."""

    async def test_it_logs_in_and_goes_on(self, client: httpx.AsyncClient, alice: Person) -> None:
        for body in (LOGIN, {**LOGIN, "grant_type": "password", "scope": "", "client_id": None}):
            answer = await client.post(TOKEN, json=body)
            assert answer.status_code == 200, answer.text
        grant = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
        refreshed = await client.post(TOKEN, json=grant)
        assert refreshed.status_code == 200, refreshed.text
        assert refreshed.json().keys() == answer.json().keys()

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("[]", (422, "invalid_request")),
            ("{}", (422, "invalid_request")),
            ('{"username": "alice", "password": 1}', (422, "invalid_request")),
            ('{"username": "alice", "password": "x", "remember": true}', (422, "invalid_request")),
            ('{"username": "alice", "password": "x", "refresh_token": "x"}', (422, "invalid_request")),
            ('{"grant_type": ["password"], "username": "alice", "password": "x"}', (422, "invalid_request")),
            ('{"grant_type": "client_credentials"}', (400, "unsupported_grant_type")),
            ('{"grant_type": "refresh_token", "refresh_token": "x"}', (400, "invalid_grant")),
            ('{"username": "alice", "username": "bob", "password": "x"}', (400, "invalid_request")),
            ('{"username": "alice", "password": NaN}', (400, "invalid_request")),
            ('{"username": "alice", "password": "wrong"}', (401, "invalid_grant")),
        ],
    )
    async def test_what_is_refused(
        self, client: httpx.AsyncClient, alice: Person, content: str, expected: tuple[int, str]
    ) -> None:
        answer = await client.post(TOKEN, content=content, headers={"Content-Type": "application/json"})
        assert error_of(answer) == expected
        if answer.status_code == 422:
            assert all(error["loc"][0] == "body" for error in answer.json()["errors"])

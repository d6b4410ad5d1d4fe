"""Access tokens: only whole, current and genuine ones are let in, and none is ever an error of the server."""

import base64
import hmac
import json
import time
from typing import Any

import httpx
import pytest

from tests.conftest import SECRET, Person
from tests.support.forged_tokens import answer_to, assert_refused, encode, sign

DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def decode(part: str) -> dict[str, Any]:
    """Return a part of a JWT."""
    document: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return document


def forge(person: Person, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
    """Return a person's token with other claims or headers, signed with the real key; Ellipsis leaves one out."""
    old_header, old_claims = (decode(part) for part in person.token.split(".")[:2])
    merged = [{**old_claims, **(claims or {})}, {**old_header, **(header or {})}]
    payload, head = (
        json.dumps({name: value for name, value in part.items() if value is not ...}).encode() for part in merged
    )
    return sign(head, payload)


async def test_a_token_forged_with_everything_right_is_accepted(client: httpx.AsyncClient, alice: Person) -> None:
    # Proves that each refusal below has the reason it names.
    now = int(time.time())
    response = await answer_to(client, f"Bearer {forge(alice, {'iat': now - 100, 'exp': now + 100})}")
    assert response.status_code == 200


async def test_the_clock_of_another_machine_may_be_a_minute_ahead(
    client: httpx.AsyncClient, alice: Person, subtests: pytest.Subtests
) -> None:
    for claim in ("iat", "nbf"):
        for seconds, status in ((2, 200), (50, 200), (90, 401)):
            with subtests.test(claim=claim, seconds=seconds):
                now = int(time.time())
                token = forge(alice, {claim: now + seconds, "exp": now + seconds + 1_800})
                assert (await answer_to(client, f"Bearer {token}")).status_code == status


async def test_a_token_is_no_longer_good_than_it_says(client: httpx.AsyncClient, alice: Person) -> None:
    now = int(time.time())
    for exp in (now - 1, now - 50):
        await assert_refused(client, forge(alice, {"iat": exp - 1_800, "exp": exp}))
        await assert_refused(client, forge(alice, {"iat": now + 20, "exp": exp}))


def test_a_token_says_who_which_login_and_how_long(alice: Person) -> None:
    header, claims = (decode(part) for part in alice.token.split(".")[:2])
    assert header == {"alg": "HS256", "typ": "at+jwt"}
    assert set(claims) == {"iss", "aud", "sub", "sid", "iat", "exp", "jti"}
    assert (claims["sub"], claims["sid"]) == (str(alice.id), str(alice.session_id))
    assert claims["exp"] - claims["iat"] == 30 * 60


async def test_every_claim_is_required(client: httpx.AsyncClient, alice: Person, subtests: pytest.Subtests) -> None:
    for claim in ("iss", "aud", "sub", "exp", "iat", "jti", "sid"):
        for value in (..., None):
            with subtests.test(claim=claim, value=value):
                await assert_refused(client, forge(alice, {claim: value}))


NOW = int(time.time())


BAD_CLAIMS: tuple[dict[str, Any], ...] = (
    {"iss": "somebody else"},
    {"iss": ["taskmanager"]},
    {"aud": "another service"},
    {"aud": ["another service"]},
    {"aud": []},
    {"aud": {"taskmanager-api": 1}},
    {"exp": NOW - 1, "iat": NOW - 100},
    {"exp": 0, "iat": 0},
    {"exp": -1},
    {"exp": NOW + 100_000},
    {"exp": 10**20},
    {"exp": 10**400},
    {"exp": 1e308},
    {"exp": float("inf")},
    {"exp": float("-inf")},
    {"exp": float("nan")},
    {"exp": str(NOW + 100)},
    {"exp": "never"},
    {"exp": True},
    {"exp": [NOW + 100]},
    {"exp": {}},
    {"iat": NOW + 1_000, "exp": NOW + 2_000},
    {"iat": float("inf")},
    {"iat": float("nan")},
    {"iat": "yesterday"},
    {"iat": -(10**20)},
    {"iat": []},
    {"nbf": NOW + 1_000},
    {"nbf": float("nan")},
    {"sub": 1},
    {"sub": ""},
    {"sub": "0"},
    {"sub": "-1"},
    {"sub": "01"},
    {"sub": "1.0"},
    {"sub": " 1"},
    {"sub": "alice"},
    {"sub": "\u0661"},
    {"sub": "9223372036854775808"},
    {"sub": "1" * 5_000},
    {"sub": ["1"]},
    {"sub": {"id": 1}},
    {"sub": True},
    {"sub": "999999999"},
    {"sid": 1},
    {"sid": ""},
    {"sid": "999999999"},
    {"sid": "9223372036854775808"},
    {"sid": "x"},
)


async def test_bad_claims_are_refused_though_well_signed(
    client: httpx.AsyncClient, alice: Person, subtests: pytest.Subtests
) -> None:
    for claims in BAD_CLAIMS:
        with subtests.test(claims=repr(claims)[:60]):
            await assert_refused(client, forge(alice, claims))


BAD_HEADERS: tuple[dict[str, Any], ...] = (
    {"typ": ...},
    {"typ": "JWT"},
    {"typ": "rt+jwt"},
    {"typ": None},
    {"typ": 1},
    {"crit": ["exp"]},
    {"crit": ["unknown"], "unknown": 1},
    {"crit": []},
    {"b64": False, "crit": ["b64"]},
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "HS384"},
    {"alg": "HS512"},
    {"alg": "RS256"},
    {"alg": "ES256"},
    {"alg": "hs256"},
    {"alg": ...},
    {"alg": None},
    {"alg": 256},
    {"alg": ["HS256"]},
    {"kid": 1},
)


async def test_bad_headers_are_refused_though_well_signed(
    client: httpx.AsyncClient, alice: Person, subtests: pytest.Subtests
) -> None:
    for header in BAD_HEADERS:
        with subtests.test(header=header):
            await assert_refused(client, forge(alice, header=header))


async def test_two_peoples_claims_do_not_mix(client: httpx.AsyncClient, alice: Person, bob: Person) -> None:
    await assert_refused(client, forge(alice, {"sub": str(bob.id)}))
    await assert_refused(client, forge(alice, {"sid": str(bob.session_id)}))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
async def test_unsigned_tokens_are_refused(client: httpx.AsyncClient, alice: Person, algorithm: str) -> None:
    header = encode(json.dumps({"alg": algorithm, "typ": "at+jwt"}).encode())
    payload = alice.token.split(".")[1]
    for signature in ("", alice.token.split(".")[2]):
        await assert_refused(client, f"{header}.{payload}.{signature}")
    await assert_refused(client, f"{header}.{payload}")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_other_algorithms_are_refused_with_a_right_signature_too(
    client: httpx.AsyncClient, alice: Person, algorithm: str
) -> None:
    header = json.dumps({"alg": algorithm, "typ": "at+jwt"}).encode()
    payload = json.dumps(decode(alice.token.split(".")[1])).encode()
    await assert_refused(client, sign(header, payload, digest=DIGESTS[algorithm]))


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"secret",
        b"another key of more than 32 bytes, as it has to be",
        SECRET.encode(),  # the key of this purpose is derived from it
        hmac.digest(SECRET.encode(), b"refresh token", "sha256"),
    ],
    ids=["empty", "short", "other", "the bare secret", "the refresh key"],
)
async def test_other_keys_are_refused(client: httpx.AsyncClient, alice: Person, key: bytes) -> None:
    header, payload = (json.dumps(decode(part)).encode() for part in alice.token.split(".")[:2])
    await assert_refused(client, sign(header, payload, key))


async def test_a_key_that_comes_with_the_token_is_not_believed(client: httpx.AsyncClient, alice: Person) -> None:
    key = b"an attacker's key of more than 32 bytes"
    header = {"alg": "HS256", "typ": "at+jwt", "jwk": {"kty": "oct", "k": encode(key)}}
    payload = json.dumps(decode(alice.token.split(".")[1])).encode()
    await assert_refused(client, sign(json.dumps(header).encode(), payload, key))


async def test_a_refresh_token_is_no_access_token(client: httpx.AsyncClient, alice: Person) -> None:
    form = {"username": "alice", "password": "correct horse battery"}
    token = (await client.post("/api/v1/token", data=form)).json()
    assert (await answer_to(client, f"Bearer {token['access_token']}")).status_code == 200
    await assert_refused(client, token["refresh_token"])


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_has_no_case(client: httpx.AsyncClient, alice: Person, scheme: str) -> None:
    assert (await answer_to(client, f"{scheme} {alice.token}")).status_code == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic YWxpY2U6c2VjcmV0", "{token}", "Token {token}"]
)
async def test_without_a_bearer_token_nobody_is_let_in(
    client: httpx.AsyncClient, alice: Person, authorization: str
) -> None:
    response = await answer_to(client, authorization.format(token=alice.token))
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_no_credential_at_all_is_asked_for_one(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/users/me")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["type"] == "/docs/problems#unauthenticated"


async def test_tokens_are_taken_from_the_header_only(client: httpx.AsyncClient, alice: Person) -> None:
    response = await client.get("/api/v1/users/me", params={"access_token": alice.token})
    assert response.status_code == 401
    client.cookies.set("access_token", alice.token)
    assert (await client.get("/api/v1/users/me")).status_code == 401

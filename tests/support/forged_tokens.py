"""What the tests of several files in tests/accounts share: forged tokens."""

import base64
import hmac

import httpx

from tests.conftest import SECRET

# The key that the service derives from its secret for this purpose alone.
KEY = hmac.digest(SECRET.encode(), b"access token", "sha256")


INVALID = 'Bearer error="invalid_token"'


def encode(part: bytes) -> str:
    """Return base64url without padding, as JWTs have it."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def sign(header: bytes, payload: bytes, key: bytes = KEY, digest: str = "sha256") -> str:
    """Return a JWT of any content, signed."""
    message = f"{encode(header)}.{encode(payload)}"
    return f"{message}.{encode(hmac.digest(key, message.encode(), digest))}"


async def answer_to(client: httpx.AsyncClient, authorization: str | bytes) -> httpx.Response:
    """Return the answer to a request with this header."""
    value = authorization if isinstance(authorization, bytes) else authorization.encode()
    return await client.get("/api/v1/users/me", headers={b"Authorization": value})


async def assert_refused(client: httpx.AsyncClient, token: str | bytes) -> None:
    """Check that a token is refused the way RFC 6750 says."""
    response = await answer_to(client, b"Bearer " + (token if isinstance(token, bytes) else token.encode()))
    assert response.status_code == 401, response.text
    assert response.headers["WWW-Authenticate"] == INVALID
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "/docs/problems#invalid-token"

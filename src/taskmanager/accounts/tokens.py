"""Access tokens (JWT, RFC 7519) and refresh tokens, both made and checked without any storage."""

import hmac
import re
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt

from taskmanager.errors import InvalidTokenError
from taskmanager.field_types import MAXIMUM_ID

_ALGORITHM = "HS256"
_TYPE = "at+jwt"
_ISSUER = "taskmanager"
_AUDIENCE = "taskmanager-api"
# How much the clocks of two machines may differ: where the clock is behind, a token is good before it was made.
CLOCK_LEEWAY_SECONDS = 60
LONGEST_LIFETIME_SECONDS = 24 * 3600
_REMEMBERED_TOKENS = 20_000
_CLAIMS = ["iss", "aud", "sub", "exp", "iat", "jti", "sid"]
_REFRESH_TOKEN = re.compile(r"tmr_([1-9][0-9]{0,18})_(0|[1-9][0-9]{0,8})_([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a good access token says; `expires_at` in seconds since 1970."""

    user_id: int
    session_id: int
    expires_at: float


@dataclass(frozen=True)
class RefreshClaims:
    """What a good refresh token says: a login, and how often it had been refreshed."""

    session_id: int
    generation: int


class TokenSigner:
    """Makes tokens with the first of the signing secrets and accepts those of any of them."""

    def __init__(self, secrets: Sequence[bytes], *, access_token_minutes: int) -> None:
        # One key per purpose, so that neither kind of token can ever pass for the other.
        self._access_keys = [hmac.digest(secret, b"access token", "sha256") for secret in secrets]
        self._refresh_keys = [hmac.digest(secret, b"refresh token", "sha256") for secret in secrets]
        self.access_token_seconds = access_token_minutes * 60
        # Checking the signature costs most of the check of a token. The database checks revocation.
        self._verified = lru_cache(maxsize=_REMEMBERED_TOKENS)(self._verify)

    def access_token(self, user_id: int, session_id: int, *, seconds: int | None = None) -> str:
        """Return a signed token for a user's login, good for so many seconds, or else for the configured minutes."""
        now = int(time.time())
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "iat": now,
            "exp": now + (seconds or self.access_token_seconds),
            "jti": uuid.uuid4().hex,
        }
        return jwt.encode(claims, self._access_keys[0], algorithm=_ALGORITHM, headers={"typ": _TYPE})

    def read_access_token(self, token: str) -> AccessClaims:
        """Return what a token says, once its signature, type, audience and times are checked (RFC 8725).

        Raises:
            InvalidTokenError: It is forged, expired, malformed or of another kind.
        """
        claims = self._verified(token)
        # Without leeway: a token ends when it says, and its holder can refresh it.
        if claims.expires_at <= time.time():
            raise InvalidTokenError
        return claims

    def _verify(self, token: str) -> AccessClaims:
        for key in self._access_keys[:-1]:
            with suppress(InvalidTokenError):
                return self._read_access_token(token, key)
        return self._read_access_token(token, self._access_keys[-1])

    @staticmethod
    def _read_access_token(token: str, key: bytes) -> AccessClaims:
        try:
            decoded = jwt.decode_complete(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                leeway=CLOCK_LEEWAY_SECONDS,
                options={"require": _CLAIMS, "enforce_minimum_key_length": True},
            )
            claims: dict[str, Any] = decoded["payload"]
            if decoded["header"].get("typ") != _TYPE or "crit" in decoded["header"]:
                raise InvalidTokenError
            if claims["exp"] - claims["iat"] > LONGEST_LIFETIME_SECONDS:
                raise InvalidTokenError
            return AccessClaims(user_id=_id(claims["sub"]), session_id=_id(claims["sid"]), expires_at=claims["exp"])
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise InvalidTokenError from None

    def refresh_token(self, claims: RefreshClaims) -> str:
        """Return the one token of a login's generation; the same each time it is asked for."""
        return f"tmr_{claims.session_id}_{claims.generation}_{_refresh_code(claims, self._refresh_keys[0])}"

    def read_refresh_token(self, token: str) -> RefreshClaims:
        """Return what a refresh token says, once its code is checked.

        Raises:
            InvalidTokenError: It was not made with this secret.
        """
        match = _REFRESH_TOKEN.fullmatch(token)
        if match is None:
            raise InvalidTokenError
        claims = RefreshClaims(int(match[1]), int(match[2]))
        if claims.session_id > MAXIMUM_ID:
            raise InvalidTokenError
        if not any(hmac.compare_digest(_refresh_code(claims, key), match[3]) for key in self._refresh_keys):
            raise InvalidTokenError
        return claims


def _refresh_code(claims: RefreshClaims, key: bytes) -> str:
    code = hmac.digest(key, f"{claims.session_id}.{claims.generation}".encode(), "sha256")
    return urlsafe_b64encode(code).rstrip(b"=").decode()


def _id(claim: Any) -> int:
    if not isinstance(claim, str) or not re.fullmatch(r"[1-9][0-9]{0,18}", claim, re.ASCII):
        raise InvalidTokenError
    if (number := int(claim)) > MAXIMUM_ID:
        raise InvalidTokenError
    return number

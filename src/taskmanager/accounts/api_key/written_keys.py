"""How API keys are written: `tm_<id>_<secret>`."""

import re
import secrets
from hashlib import sha256

PREFIX = "tm_"
_KEY = re.compile(r"tm_([1-9][0-9]{0,17})_([A-Za-z0-9_-]{43})", re.ASCII)


def new_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> bytes:
    """Return what is stored of a secret; it is random, so one round of SHA-256 is enough."""
    return sha256(secret.encode()).digest()


def write_key(key_id: int, secret: str) -> str:
    """Return the key as its owner uses it."""
    return f"{PREFIX}{key_id}_{secret}"


def read_key(key: str) -> tuple[int, str] | None:
    """Return id and secret of a written key, or None if it is not one."""
    match = _KEY.fullmatch(key)
    return (int(match[1]), match[2]) if match else None

"""The Idempotency-Key of a request (IETF draft-ietf-httpapi-idempotency-key-header-07), and what makes it the same."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from taskmanager.errors import MalformedHeaderError

_BARE = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')


@dataclass(frozen=True)
class RequestIdentity:
    """What makes two requests the same: who, what, the key, and a digest of query and body."""

    user_id: int
    method: str
    path: str
    key: str
    fingerprint: bytes

    @property
    def name(self) -> dict[str, Any]:
        """The parameters of a statement that looks for the key."""
        return {"key_user_id": self.user_id, "key_method": self.method, "key_path": self.path, "key": self.key}

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a statement that claims the key and stores the answer."""
        return {**self.name, "lock_id": self.lock_id, "fingerprint": self.fingerprint}

    @property
    def lock_id(self) -> int:
        """The advisory lock of the key: 64 bits of a digest; a collision makes one client try again."""
        identity = f"{self.user_id} {self.method} {self.path} {self.key}"
        return int.from_bytes(sha256(identity.encode()).digest()[:8], signed=True)


def identify_request(scope: Mapping[str, Any], key: str, body: bytes) -> RequestIdentity:
    """Return the identity of an ASGI scope's request whose caller is known."""
    digest = sha256(scope["query_string"] + b"\n" + body).digest()
    return RequestIdentity(scope["state"]["user_id"], scope["method"], scope["path"], key, digest)


def read_idempotency_key(value: str | None) -> str | None:
    """Return the key in an Idempotency-Key, 1 to 255 printable ASCII characters, bare or quoted; None without one.

    Raises:
        MalformedHeaderError: The header holds something else.
    """
    if value is None:
        return None
    if quoted := _QUOTED.fullmatch(value):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if not value.startswith('"') and _BARE.fullmatch(value):
        return value
    raise MalformedHeaderError("Idempotency-Key")

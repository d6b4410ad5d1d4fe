"""Safe retries of a POST (IETF draft-ietf-httpapi-idempotency-key-header-07).

The answer is stored in the transaction of the effect, so there is never one without the other. An advisory lock is
tried first: an insert would wait for the other request instead of telling that it still runs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import LargeBinary
from sqlalchemy.dialects.postgresql import JSONB

from taskmanager.database.database import WriteSession, statement
from taskmanager.errors import (
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    MalformedHeaderError,
    NotFoundError,
    RoleTooLowError,
)

KEPT_HOURS = 24
_STORED_HEADERS = ("content-type", "location", "etag")
_BARE = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')

_TRY_LOCK = statement("SELECT pg_try_advisory_xact_lock(:lock_id)")

_FIND = statement("""
SELECT k.fingerprint, k.status, k.headers, k.body, k.project_id, k.role AS needed, m.role
FROM idempotency_keys k
LEFT JOIN project_members m ON m.project_id = k.project_id AND m.user_id = k.user_id
WHERE k.user_id = :user_id AND k.method = :method AND k.path = :path AND k.key = :key
  AND k.created_at > now() - make_interval(hours => :kept_hours)
""")

# Each new key takes a few expired ones with it, so the table stays small without a job of its own.
_STORE = statement(
    """
WITH purged AS (
    DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_keys WHERE created_at <= now() - make_interval(hours => :kept_hours)
        AND NOT (user_id = :user_id AND method = :method AND path = :path AND key = :key)
        ORDER BY created_at LIMIT 5 FOR UPDATE SKIP LOCKED
    ))
)
INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, project_id, role, status, headers, body)
VALUES (:user_id, :method, :path, :key, :fingerprint, :project_id, :role, :status, :headers, :body)
ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
SET fingerprint = excluded.fingerprint, project_id = excluded.project_id, role = excluded.role,
    status = excluded.status, headers = excluded.headers, body = excluded.body, created_at = now()
""",
    headers=JSONB(),
    body=LargeBinary(),
    fingerprint=LargeBinary(),
)


@dataclass(frozen=True)
class StoredAnswer:
    """An answer as it was given the first time."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class RequestIdentity:
    """What makes two requests the same: who, what, the key, and a digest of query and body."""

    user_id: int
    method: str
    path: str
    key: str
    fingerprint: bytes

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a statement that looks for the key."""
        return {"user_id": self.user_id, "method": self.method, "path": self.path, "key": self.key}

    @property
    def lock_id(self) -> int:
        """The advisory lock of the key: 64 bits of a digest; a collision tells one client to try again."""
        identity = f"{self.user_id} {self.method} {self.path} {self.key}"
        return int.from_bytes(sha256(identity.encode()).digest()[:8], signed=True)


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


class IdempotencyStore:
    """Finds and stores answers in the transaction of the request."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def find(self, request: RequestIdentity) -> StoredAnswer | None:
        """Claim the key for this transaction and return the answer that is stored for it, if any.

        Raises:
            IdempotencyKeyInUseError: The same request is running now.
            IdempotencyKeyReusedError: The key was used for another body.
            NotFoundError: The caller may not see what was made any more.
            RoleTooLowError: The caller may not make it any more.
        """
        claimed = (await self._session.execute(_TRY_LOCK, {"lock_id": request.lock_id})).scalar_one()
        # A statement of its own: its snapshot must be younger than the lock. Who holds the lock may only be
        # giving the stored answer to another copy, so that is looked for either way.
        parameters = {**request.parameters, "kept_hours": KEPT_HOURS}
        row = (await self._session.execute(_FIND, parameters)).one_or_none()
        if row is None and not claimed:
            raise IdempotencyKeyInUseError
        if row is None:
            return None
        if row.fingerprint != request.fingerprint:
            raise IdempotencyKeyReusedError
        if row.project_id is not None:
            _require_role(row.role, needed=row.needed)
        return StoredAnswer(row.status, row.headers, row.body)

    async def store(
        self, request: RequestIdentity, answer: StoredAnswer, *, project_id: int | None, role: str | None
    ) -> None:
        """Store an answer; it is replayed only to who has at least this role in the project."""
        parameters = {
            **request.parameters,
            "kept_hours": KEPT_HOURS,
            "fingerprint": request.fingerprint,
            "project_id": project_id,
            "role": role,
            "status": answer.status,
            "headers": {name: value for name, value in answer.headers.items() if name in _STORED_HEADERS},
            "body": answer.body,
        }
        await self._session.execute(_STORE, parameters)


class ReplayError(Exception):
    """Ends a request whose answer is stored already."""

    def __init__(self, answer: StoredAnswer) -> None:
        super().__init__("replay")
        self.answer = answer


@dataclass
class PendingAnswer:
    """An answer that will be stored in the transaction of the request, and who may be given it again."""

    _store: IdempotencyStore
    _request: RequestIdentity
    _project_id: int | None = None
    _role: str | None = None

    def allow_replay(self, project_id: int, role: str) -> None:
        """Replay the answer only to the caller while they have at least this role in the project."""
        self._project_id, self._role = project_id, role

    async def store(self, answer: StoredAnswer) -> None:
        """Store the answer."""
        await self._store.store(self._request, answer, project_id=self._project_id, role=self._role)


PENDING_ANSWER = "pending_answer"
_ROLES = ("viewer", "editor", "owner")


def _require_role(role: str | None, *, needed: str) -> None:
    if role is None:
        raise NotFoundError("project")
    if _ROLES.index(role) < _ROLES.index(needed):
        raise RoleTooLowError(needed)

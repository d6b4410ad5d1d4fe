"""Every statement on API keys."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from taskmanager.accounts.api_key.written_keys import PREFIX
from taskmanager.accounts.schemas import ApiKeyRead
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import Runner
from taskmanager.errors import InvalidValueError, NotFoundError
from taskmanager.http.pagination import Page


@dataclass(frozen=True)
class StoredApiKey:
    """An API key, without its secret."""

    id: int
    name: str
    scopes: Sequence[str]
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None


_FIELDS = [field.name for field in fields(StoredApiKey)]
_COLUMNS = ", ".join(_FIELDS)

_CREATE = Write(
    "create API key",
    f"""
created AS (
    INSERT INTO api_keys (user_id, name, secret_hash, scopes, expires_at)
    SELECT :user_id, :name, :secret_hash, :scopes, :expires_time
    WHERE :user_id IS NOT NULL AND (:expires_time IS NULL OR :expires_time > now())
    RETURNING {_COLUMNS}
)""",
    f"SELECT {_COLUMNS} FROM created",
    {"name": "text", "secret_hash": "bytea", "scopes": "text[]"},
)

_NEXT = f"""
SELECT {_COLUMNS}, created_at AS key_time, id AS key_id FROM api_keys
WHERE user_id = :user_id AND {after_key("created_at", "id", descending=True)}
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
_LIST = Statement(
    "list API keys",
    json_page(_NEXT, json_object(ApiKeyRead, "row", prefix=f"concat('{PREFIX}', row.id, '_')"), descending=True),
    shared=True,
    most_shared=32,
)

_DELETE = Write(
    "delete API key",
    "deleted AS (DELETE FROM api_keys WHERE id = :key_id AND user_id = :user_id RETURNING id)",
    """
SELECT true AS done, id, CAST(NULL AS bigint) AS project_id, CAST(NULL AS integer) AS version,
       CAST(NULL AS bytea) AS body
FROM deleted
""",
)


class ApiKeyReader:
    """Reads API keys."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list_page(self, page: Page, *, user_id: int) -> FoundPage:
        """Return a page of a user's keys, newest first, as `json_page` has it."""
        row = await self._reads.page(_LIST, **page.parameters, user_id=user_id)
        assert row is not None  # an aggregate always gives a row
        return row


class ApiKeyWriter:
    """Writes API keys."""

    def __init__(self, writes: Runner) -> None:
        self._writes = writes

    async def create(
        self, *, user_id: int, name: str, secret_hash: bytes, scopes: Sequence[str], expires_at: datetime | None
    ) -> StoredApiKey:
        """Store a key.

        Raises:
            InvalidValueError: Its end has passed.
        """
        row = await self._writes.one(
            _CREATE, user_id=user_id, name=name, secret_hash=secret_hash, scopes=scopes, expires_time=expires_at
        )
        if row is None:
            raise InvalidValueError(("body", "expires_at"), "has passed")
        return StoredApiKey(**{name: row[name] for name in _FIELDS})

    async def delete(self, key_id: int, *, user_id: int) -> None:
        """Delete one of a user's keys.

        Raises:
            NotFoundError: They have no such key.
        """
        if await self._writes.one(_DELETE, key_id=key_id, user_id=user_id) is None:
            raise NotFoundError("API key")

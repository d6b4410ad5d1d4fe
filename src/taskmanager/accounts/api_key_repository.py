"""Every statement on API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.types import Text

from taskmanager.accounts.repository import Account
from taskmanager.database.database import ReadSession, WriteSession, statement
from taskmanager.errors import NotFoundError
from taskmanager.pagination import Page

_LAST_USE_PRECISION_SECONDS = 60


@dataclass(frozen=True)
class StoredApiKey:
    """An API key, without its secret."""

    id: int
    name: str
    scopes: Sequence[str]
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True)
class UsedApiKey:
    """An API key that was just shown: its scopes and its owner."""

    scopes: frozenset[str]
    account: Account


_COLUMNS = "id, name, scopes, expires_at, created_at, last_used_at"

_CREATE = statement(
    f"""
INSERT INTO api_keys (user_id, name, secret_hash, scopes, expires_at)
VALUES (:user_id, :name, :secret_hash, :scopes, :expires_at) RETURNING {_COLUMNS}
""",
    scopes=ARRAY(Text),
    expires_at=TIMESTAMP(timezone=True),
)

_LIST = statement(
    f"""
SELECT {_COLUMNS} FROM api_keys
WHERE user_id = :user_id AND (:after_id IS NULL OR (created_at, id) < (:after_time, :after_id))
ORDER BY created_at DESC, id DESC LIMIT :limit
""",
    after_time=TIMESTAMP(timezone=True),
)

_DELETE = statement("DELETE FROM api_keys WHERE id = :key_id AND user_id = :user_id RETURNING id")

# The last use is written at most once a minute, in the same statement that checks the key.
_USE = statement("""
WITH used AS (
    SELECT k.id AS key_id, k.scopes, k.last_used_at, u.id, u.username, u.email, u.disabled, u.is_admin, u.created_at
    FROM api_keys k JOIN users u ON u.id = k.user_id
    WHERE k.id = :key_id AND k.secret_hash = :secret_hash AND NOT u.disabled
      AND (k.expires_at IS NULL OR k.expires_at > now())
), noted AS (
    UPDATE api_keys k SET last_used_at = now() FROM used
    WHERE k.id = used.key_id
      AND (used.last_used_at IS NULL OR used.last_used_at < now() - make_interval(secs => :precision))
)
SELECT scopes, id, username, email, disabled, is_admin, created_at FROM used
""")


class ApiKeyReader:
    """Reads API keys."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def use(self, key_id: int, secret_hash: bytes) -> UsedApiKey | None:
        """Return the scopes and the owner of a key that is good now, and note its use; else None."""
        parameters = {"key_id": key_id, "secret_hash": secret_hash, "precision": _LAST_USE_PRECISION_SECONDS}
        row = (await self._session.execute(_USE, parameters)).mappings().one_or_none()
        if row is None:
            return None
        values = dict(row)
        return UsedApiKey(frozenset(values.pop("scopes")), Account(**values))

    async def list_page(self, page: Page, *, user_id: int) -> list[StoredApiKey]:
        """Return a user's keys, newest first: those of the page and one more, if there is one."""
        rows = (await self._session.execute(_LIST, {**page.parameters, "user_id": user_id})).mappings()
        return [StoredApiKey(**row) for row in rows]


class ApiKeyWriter:
    """Writes API keys."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def create(
        self, *, user_id: int, name: str, secret_hash: bytes, scopes: Sequence[str], expires_at: datetime | None
    ) -> StoredApiKey:
        """Store a key."""
        parameters = {
            "user_id": user_id,
            "name": name,
            "secret_hash": secret_hash,
            "scopes": list(scopes),
            "expires_at": expires_at,
        }
        return StoredApiKey(**(await self._session.execute(_CREATE, parameters)).mappings().one())

    async def delete(self, key_id: int, *, user_id: int) -> None:
        """Delete one of a user's keys.

        Raises:
            NotFoundError: They have no such key.
        """
        if (await self._session.execute(_DELETE, {"key_id": key_id, "user_id": user_id})).one_or_none() is None:
            raise NotFoundError("API key")

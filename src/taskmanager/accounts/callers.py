"""Who is calling: the credential of a request, and the statement that looks up the callers of all that wait."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg

from taskmanager.accounts.api_key.written_keys import PREFIX, hash_secret, read_key
from taskmanager.accounts.repository import Account
from taskmanager.accounts.scopes import Scope, includes
from taskmanager.accounts.statements import ACCOUNT_FIELDS, good_session
from taskmanager.accounts.tokens import TokenSigner
from taskmanager.database.reads import Begun, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import Runner
from taskmanager.errors import InvalidTokenError, UnauthenticatedError

_LAST_USE_PRECISION_SECONDS = 60
_ACCOUNT = ", ".join(f"u.{name}" for name in ACCOUNT_FIELDS)

# Logins and keys alike, so that one statement serves all requests; the unused half finds nothing.
_FIND = Statement(
    "find caller",
    f"""
SELECT {_ACCOUNT}, CAST(NULL AS text[]) AS scopes, CAST(NULL AS timestamptz) AS expires_at, false AS is_use_unnoted
{good_session(":session_id", ":user_id")}
UNION ALL
SELECT {_ACCOUNT}, k.scopes, k.expires_at,
       k.last_used_at IS NULL OR k.last_used_at < now() - make_interval(secs => {_LAST_USE_PRECISION_SECONDS})
FROM api_keys k JOIN users u ON u.id = k.user_id
WHERE k.id = :key_id AND k.secret_hash = :secret_hash AND NOT u.disabled
  AND (k.expires_at IS NULL OR k.expires_at > now())
""",
    {"secret_hash": "bytea"},
    shared=True,
)
_NOTE_USE = Write(
    "note use of API key",
    f"""
noted AS (
    UPDATE api_keys SET last_used_at = now()
    WHERE id = :key_id
      AND (last_used_at IS NULL OR last_used_at < now() - make_interval(secs => {_LAST_USE_PRECISION_SECONDS}))
)""",
    "SELECT true AS done",
)


class Credential(NamedTuple):
    """A login whose token is good, or a written API key; only the database knows whether they still hold."""

    session_id: int | None = None
    user_id: int | None = None
    key_id: int | None = None
    secret_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a request, and the login or the API key, with its scopes, that they came with."""

    user_id: int
    session_id: int | None = None
    scopes: frozenset[str] | None = None
    key_id: int | None = None

    def may(self, scope: str) -> bool:
        """Return whether the credential covers a scope; a login covers all but administration."""
        return scope != Scope.ADMIN if self.scopes is None else includes(self.scopes, scope)


@dataclass(frozen=True, slots=True)
class AccountCaller(Caller):
    """A caller with their account, and the end of the API key that they came with, if it has one."""

    account: Account = None  # type: ignore[assignment]  # always given; fields without a default cannot follow others
    key_expires_at: datetime | None = None


def read_credential(token: str | None, key: str | None, signer: TokenSigner) -> Credential:
    """Return the credential in a Bearer token, which may be an API key, and an X-API-Key, which goes first.

    One text in both is one credential: clients of some generators send it in every place that the description names.

    Raises:
        UnauthenticatedError: There is none.
        InvalidTokenError: It is neither a good token nor a written key.
    """
    if token is not None and key in {None, token}:
        key = token if token.startswith(PREFIX) else None
    if key is not None:
        return read_written_key(key)
    if token is None:
        raise UnauthenticatedError
    claims = signer.read_access_token(token)
    return Credential(session_id=claims.session_id, user_id=claims.user_id)


def read_written_key(key: str) -> Credential:
    """Return the credential that an API key is.

    Raises:
        InvalidTokenError: It is not written like one.
    """
    if (parts := read_key(key)) is None:
        raise InvalidTokenError
    key_id, secret = parts
    return Credential(key_id=key_id, secret_hash=hash_secret(secret))


# More than there are declared reads; the statements of lists are made per request and may be evicted.
@lru_cache(maxsize=512)
def _with_login(read: Statement) -> Statement:
    """Return a statement that also says whether the login of the given session and user holds.

    It gives one row: `login_holds`, `is_found`, and the row of the read, if that found one.
    """
    sql = f"""
        SELECT EXISTS (SELECT {good_session(":login_session_id", ":login_user_id")}) AS login_holds, found.*
        FROM (VALUES (true)) AS always
        LEFT JOIN LATERAL (SELECT true AS is_found, one.* FROM ({read.sql}) AS one) AS found ON true
    """
    return Statement(read.name, sql, read.types, shared=read.is_shared, most_shared=read.most_shared)


class RequestReads(Reads):
    """The reads of one request; with its `login` each of them checks that too, in the same statement.

    `has_checked` says whether one of them has found that it holds.
    """

    def __init__(self, reads: Reads) -> None:
        self.login: Credential | None = None
        self.has_checked = False
        self._reads = reads

    def prepare(self, statement: Statement, **values: Any) -> Begun:
        """Return a statement that gives one row at most, which is sent when that is asked for."""
        if self.login is None:
            return self._reads.prepare(statement, **values)
        login = {"login_session_id": self.login.session_id, "login_user_id": self.login.user_id}
        return _BegunWithLogin(self, self._reads.prepare(_with_login(statement), **values, **login))


class _BegunWithLogin(Begun):
    """A read that checks the login of its request."""

    __slots__ = ("_begun", "_request")

    def __init__(self, request: RequestReads, begun: Begun) -> None:
        self._request = request
        self._begun = begun

    def begin(self) -> None:
        """Send it now if it is shared, while the request goes on."""
        self._begun.begin()

    async def row(self) -> asyncpg.Record | None:
        """Return its row.

        Raises:
            InvalidTokenError: The login has ended, or the account is disabled.
        """
        row = await self._begun.row()
        if row is None or not row["login_holds"]:
            raise InvalidTokenError
        self._request.has_checked = True
        return row if row["is_found"] else None


class Callers:
    """Looks callers up on every request, so that a revocation holds from the next one on."""

    def __init__(self, reads: Reads, writes: Runner) -> None:
        self._reads = reads
        self._writes = writes
        self._noting = set[int]()

    async def find(self, credential: Credential) -> AccountCaller:
        """Look a caller up.

        Raises:
            InvalidTokenError: The login has ended, the key is none that holds, or the account is disabled.
        """
        row = await self._reads.one(_FIND, **credential._asdict())
        if row is None:
            raise InvalidTokenError
        if row["is_use_unnoted"] and credential.key_id is not None:
            await self._note_use(credential.key_id)
        return _caller(row, credential)

    async def _note_use(self, key_id: int) -> None:
        if key_id in self._noting:
            return
        self._noting.add(key_id)
        try:
            await self._writes.one(_NOTE_USE, key_id=key_id)
        finally:
            self._noting.discard(key_id)


def _caller(row: asyncpg.Record, credential: Credential) -> AccountCaller:
    values: dict[str, Any] = {name: row[name] for name in Account.__dataclass_fields__}
    scopes = None if row["scopes"] is None else frozenset(row["scopes"])
    return AccountCaller(
        row["id"], credential.session_id, scopes, credential.key_id, Account(**values), row["expires_at"]
    )

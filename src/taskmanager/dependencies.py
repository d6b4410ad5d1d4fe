"""What handlers of every feature ask for, as annotated aliases."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Query, Request, Response

from taskmanager.client_addresses import ClientAddresses, rate_limit_subject
from taskmanager.database.database import Database, ReadSession, WriteSession
from taskmanager.errors import RateLimitedError
from taskmanager.idempotency import (
    PENDING_ANSWER,
    IdempotencyStore,
    PendingAnswer,
    ReplayError,
    RequestIdentity,
    read_idempotency_key,
)
from taskmanager.pagination import CursorSigner, Page, PageQuery, cut_page, kept_parameters, next_link, read_page
from taskmanager.preconditions import IfMatch, matches_known, read_if_match
from taskmanager.rate_limits.limiter import Key, RateLimiter
from taskmanager.settings import Settings

_T = TypeVar("_T")


async def get_settings(request: Request) -> Settings:
    """Return the application's settings."""
    settings: Settings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    """Return the application's database."""
    database: Database = request.app.state.database
    return database


AppSettings = Annotated[Settings, Depends(get_settings)]
AppDatabase = Annotated[Database, Depends(get_database)]


async def get_rate_limit_subject(request: Request) -> str:
    """Return what the limits of a client's address are kept by."""
    addresses: ClientAddresses = request.app.state.client_addresses
    return rate_limit_subject(addresses.find(request.scope))


RateLimitSubject = Annotated[str, Depends(get_rate_limit_subject)]


async def limit_requests(request: Request, key: Key) -> None:
    """Count a request, whose answer then tells what is left; one that is run again counts once.

    Raises:
        RateLimitedError: The caller has made all the requests of this window.
    """
    if hasattr(request.state, "rate_limit"):
        return
    limiter: RateLimiter = request.app.state.rate_limiter
    request.state.rate_limit = decision = limiter.try_take(key) or await limiter.take(key)
    if not decision.admitted:
        raise RateLimitedError("requests", decision.reset_seconds)


async def open_transaction(database: AppDatabase) -> AsyncIterator[WriteSession]:
    """Yield the request's transaction; it is committed before the first byte of the answer."""
    async with database.transaction() as session:
        yield session


async def open_reader(database: AppDatabase) -> AsyncIterator[ReadSession]:
    """Yield the request's session for reads; its connection is back in the pool before the answer."""
    async with database.reader() as session:
        yield session


async def get_if_match(
    settings: AppSettings,
    if_match: Annotated[
        str | None, Header(alias="If-Match", description="Change it at this version only, that of the ETag; else 412.")
    ] = None,
) -> IfMatch:
    """Return which versions the request may replace."""
    return read_if_match(if_match, required=settings.require_if_match)


@dataclass(frozen=True)
class KnownVersions:
    """What the client has already (If-None-Match)."""

    tags: str | None

    @property
    def given(self) -> bool:
        """Whether the client says anything about it."""
        return self.tags is not None

    def include(self, version: int) -> bool:
        """Tell whether the client has this version."""
        return self.tags is not None and matches_known(self.tags, version)


async def get_known_versions(
    if_none_match: Annotated[
        str | None, Header(alias="If-None-Match", description="Answer 304 if this is its version still.")
    ] = None,
) -> KnownVersions:
    """Return the versions that the client has."""
    return KnownVersions(if_none_match)


class Pager:
    """Reads the cursor of a request, and leads to the next page."""

    def __init__(self, signer: CursorSigner, request: Request, response: Response) -> None:
        self.signer = signer
        self._request = request
        self._response = response

    def start(self, query: PageQuery, binding: str) -> Page:
        """Return what to read of a list in order of (time, id); `binding` names list, filter and user.

        Raises:
            InvalidCursorError: The cursor is not one of this list.
        """
        return read_page(query, self.signer, binding)

    def finish(
        self, rows: Sequence[_T], page: Page, binding: str, key: Callable[[_T], tuple[datetime, int]]
    ) -> tuple[list[_T], str | None]:
        """Return the rows of the page, and the cursor of the next one."""
        shown, last = cut_page(rows, page)
        return list(shown), self.link(None if last is None else self.signer.write(key(last), binding))

    def link(self, cursor: str | None) -> str | None:
        """Add the `Link` header, if there is a next page, and return its cursor."""
        if cursor is not None:
            query = self._request.query_params.multi_items()
            self._response.headers["Link"] = next_link(self._request.url.path, kept_parameters(query), cursor)
        return cursor


async def get_pager(request: Request, response: Response) -> Pager:
    """Return what turns pages."""
    return Pager(request.app.state.cursor_signer, request, response)


@dataclass(frozen=True)
class IdempotentWrite:
    """The transaction of a POST, whose answer may be stored for a retry."""

    session: WriteSession
    pending: PendingAnswer | None

    def allow_replay(self, project_id: int, role: str) -> None:
        """Replay the answer only to the caller while they have at least this role in the project."""
        if self.pending is not None:
            self.pending.allow_replay(project_id, role)


# Function scope ends the block before the response is sent. With the default scope the client
# would have its 201 before COMMIT ran, and a failed commit would never be told.
Transaction = Annotated[WriteSession, Depends(open_transaction, scope="function")]


async def open_idempotent_transaction(
    request: Request,
    session: Transaction,
    idempotency_key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="Sent again with this key, the request has one effect and answer."),
    ] = None,
) -> IdempotentWrite:
    """Return the request's transaction; a request that was answered before ends here.

    Must stand behind the caller in a handler's signature.

    Raises:
        ReplayError: The answer is stored.
        IdempotencyKeyInUseError: The same request is running now.
        IdempotencyKeyReusedError: The key was used for another body.
        NotFoundError: The caller may not see what was made any more.
        RoleTooLowError: The caller may not make it any more.
    """
    key = read_idempotency_key(idempotency_key)
    if key is None:
        return IdempotentWrite(session, None)
    fingerprint = sha256(request.scope["query_string"] + b"\n" + await request.body()).digest()
    identity = RequestIdentity(request.state.user_id, request.method, request.url.path, key, fingerprint)
    store = IdempotencyStore(session)
    if answer := await store.find(identity):
        raise ReplayError(answer)
    pending = PendingAnswer(store, identity)
    setattr(request.state, PENDING_ANSWER, pending)
    return IdempotentWrite(session, pending)


IdempotentTransaction = Annotated[IdempotentWrite, Depends(open_idempotent_transaction, scope="function")]
Condition = Annotated[IfMatch, Depends(get_if_match)]
Known = Annotated[KnownVersions, Depends(get_known_versions)]
Paging = Annotated[Pager, Depends(get_pager)]
PageOf = Annotated[PageQuery, Query()]
Reader = Annotated[ReadSession, Depends(open_reader, scope="function")]

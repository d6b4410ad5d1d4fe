"""What handlers of every feature ask for, as annotated aliases."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quote
from typing import Annotated

from fastapi import Depends, Header, Query, Request, Response
from starlette.types import Scope

from taskmanager.database.reads import Document, FoundPage, Reads
from taskmanager.errors import RateLimitedError
from taskmanager.http.answers import JsonAnswer, NotModified
from taskmanager.http.client_addresses import ClientAddresses, rate_limit_subject
from taskmanager.http.pagination import CursorSigner, Page, PageQuery, kept_parameters, next_link, read_page
from taskmanager.http.preconditions import IfMatch, matches_known, read_if_match
from taskmanager.rate_limits.limiter import Key, RateLimiter
from taskmanager.settings import Settings


async def get_settings(request: Request) -> Settings:
    """Return the application's settings."""
    settings: Settings = request.app.state.settings
    return settings


AppSettings = Annotated[Settings, Depends(get_settings)]


async def get_rate_limit_subject(request: Request) -> str:
    """Return the key of the limits of a client's address."""
    addresses: ClientAddresses = request.app.state.client_addresses
    return rate_limit_subject(addresses.find(request.scope))


RateLimitSubject = Annotated[str, Depends(get_rate_limit_subject)]


async def limit_requests(request: Request, key: Key) -> None:
    """Count a request, whose answer then says what is left; one that is run again counts once.

    Raises:
        RateLimitedError: The caller has made all the requests of this window.
    """
    if hasattr(request.state, "rate_limit"):
        return
    limiter: RateLimiter = request.app.state.rate_limiter
    request.state.rate_limit = decision = limiter.try_take(key) or await limiter.take(key)
    if not decision.admitted:
        raise RateLimitedError("requests", decision.reset_seconds)


async def get_reads(request: Request) -> Reads:
    """Return what runs the reads of all requests."""
    reads: Reads = request.app.state.reads
    return reads


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

    async def answer(
        self,
        find: Callable[[], Awaitable[Document]],
        find_version: Callable[[], Awaitable[int]],
        *,
        is_named_by_version: bool = True,
    ) -> Response:
        """Return what `find` finds; or 304 if the client has the version of it, without reading the rest.

        What the version alone does not name, because other things are shown with it, is never 304.
        """
        if (
            is_named_by_version
            and self.tags is not None
            and matches_known(self.tags, str(version := await find_version()))
        ):
            return NotModified(version)
        found = await find()
        return JsonAnswer(found.body, version=found.version)


async def get_known_versions(
    if_none_match: Annotated[
        str | None, Header(alias="If-None-Match", description="Answer 304 if this is its version still.")
    ] = None,
) -> KnownVersions:
    """Return the versions that the client has."""
    return KnownVersions(if_none_match)


class Pager:
    """Reads the cursor of a request, and leads to the next page."""

    def __init__(self, signer: CursorSigner, scope: Scope) -> None:
        self.signer = signer
        self._scope = scope

    def start(self, query: PageQuery, binding: str) -> Page:
        """Return what to read of a list in order of (time, id); `binding` names list, filter and user.

        Raises:
            InvalidCursorError: The cursor is not one of this list.
        """
        return read_page(query, self.signer, binding)

    def answer(self, name: str, page: FoundPage, limit: int, binding: str, *, more: str = "") -> JsonAnswer:
        """Return a page that was found, its elements under `name`; `more` are other fields, each with `,`.

        The answer links to the next page, if there is one.
        """
        cursor = None
        if page.found > limit:
            cursor = self.signer.write([page.last_time, page.last_id], binding)
        tail = f'"next_cursor":{"null" if cursor is None else quote(cursor)}}}'
        body = b'{"%b":[%b],%b%b%b' % (name.encode(), page.items, more.encode(), page.more, tail.encode())
        return JsonAnswer(body, link=self.link(cursor))

    def link(self, cursor: str | None) -> str | None:
        """Return the `Link` header to the next page, if there is one."""
        if cursor is None:
            return None
        return next_link(kept_parameters(self._scope["query_string"]), cursor)


async def get_pager(request: Request) -> Pager:
    """Return what turns pages."""
    return Pager(request.app.state.cursor_signer, request.scope)


Condition = Annotated[IfMatch, Depends(get_if_match)]
Known = Annotated[KnownVersions, Depends(get_known_versions)]
Paging = Annotated[Pager, Depends(get_pager)]
PageOf = Annotated[PageQuery, Query()]
AppReads = Annotated[Reads, Depends(get_reads)]

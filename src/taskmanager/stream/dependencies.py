"""What the routes of the stream ask for."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import SecurityScopes

from taskmanager.accounts.callers import Caller
from taskmanager.accounts.dependencies import (
    AppCallers,
    AppTokenSigner,
    BearerToken,
    KeyHeader,
    authenticate,
)
from taskmanager.accounts.scopes import Scope
from taskmanager.errors import ScopeMissingError
from taskmanager.http.dependencies import limit_requests
from taskmanager.http.routing import refuse_unknown_query
from taskmanager.stream.feed import StreamFeed
from taskmanager.stream.repository import Tickets

_SCOPES = [Scope.TASKS_READ.value, Scope.PROJECTS_READ.value]


async def admit(
    request: Request,
    needed: SecurityScopes,
    token: BearerToken,
    key: KeyHeader,
    callers: AppCallers,
    signer: AppTokenSigner,
) -> Caller:
    """Return the caller, by the ticket in the query if there is one, which is spent then.

    Raises:
        UnauthenticatedError: There is neither a ticket nor a credential.
        InvalidTokenError: The ticket or the credential is not good, or not any more.
        RateLimitedError: The user has made all the requests of this window.
        ScopeMissingError: The API key was not made for this.
        UnknownQueryParameterError: The query has parameters that the route does not know.
    """
    ticket = request.query_params.get("ticket")
    if ticket is None:
        return await authenticate(request, needed, token, key, callers, signer)
    caller = await Tickets(request.app.state.writes).spend(ticket)
    request.state.user_id = caller.user_id
    await limit_requests(request, ("user", caller.user_id))
    for scope in needed.scopes:
        if not caller.may(scope):
            raise ScopeMissingError(scope)
    refuse_unknown_query(request)
    return caller


async def get_stream_feed(request: Request) -> StreamFeed:
    """Return the application's streams."""
    feed: StreamFeed = request.app.state.stream_feed
    return feed


StreamReader = Annotated[Caller, Security(admit, scopes=_SCOPES)]
TicketBuyer = Annotated[Caller, Security(authenticate, scopes=_SCOPES)]
Streams = Annotated[StreamFeed, Depends(get_stream_feed)]

"""Who is calling: what a handler's signature says about access."""

import re
from functools import partial
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer, SecurityScopes

from taskmanager.accounts.administrators import (
    LIMIT_OF_SETTINGS_KEY,
    find_administrator,
    read_administrator,
    require_administrator,
)
from taskmanager.accounts.callers import AccountCaller, Caller, Callers, RequestReads, read_credential
from taskmanager.accounts.login.attempts import PasswordAttempts
from taskmanager.accounts.login.grants import PasswordGrant, RefreshGrant, read_grant
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.request_writes import RequestWrites
from taskmanager.accounts.scopes import DESCRIPTIONS, Scope
from taskmanager.accounts.tokens import TokenSigner
from taskmanager.database.writes import Writes
from taskmanager.errors import MalformedHeaderError, ScopeMissingError
from taskmanager.http.dependencies import AppSettings, RateLimitSubject, limit_requests
from taskmanager.http.routing import refuse_unknown_query
from taskmanager.idempotency.header import identify_request, read_idempotency_key
from taskmanager.rate_limits.limiter import Decision

_login_scopes = {scope.value: text for scope, text in DESCRIPTIONS.items() if scope is not Scope.ADMIN}
_bearer_token = OAuth2PasswordBearer(
    tokenUrl="/api/v1/token", auto_error=False, scheme_name="Login", scopes=_login_scopes
)
# An API key can be sent like a token; where a login is no credential, that is all that the header may hold.
_key_as_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/token", auto_error=False, scheme_name="ApiKeyAsBearer")
_key_as_bearer.model = HTTPBearerModel(description="An API key, sent like a token.")
_key_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKey")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


async def get_token_signer(request: Request) -> TokenSigner:
    """Return the application's token signer."""
    signer: TokenSigner = request.app.state.token_signer
    return signer


async def get_password_hasher(request: Request) -> PasswordHasher:
    """Return the application's password hasher."""
    hasher: PasswordHasher = request.app.state.password_hasher
    return hasher


async def get_callers(request: Request) -> Callers:
    """Return what looks callers up."""
    callers: Callers = request.app.state.callers
    return callers


AppCallers = Annotated[Callers, Depends(get_callers)]
AppTokenSigner = Annotated[TokenSigner, Depends(get_token_signer)]
AppPasswordHasher = Annotated[PasswordHasher, Depends(get_password_hasher)]
BearerToken = Annotated[str | None, Depends(_bearer_token)]
KeyAsBearer = Annotated[str | None, Depends(_key_as_bearer)]
KeyHeader = Annotated[str | None, Depends(_key_header)]


async def authenticate(
    request: Request,
    needed: SecurityScopes,
    token: BearerToken,
    key: KeyHeader,
    callers: AppCallers,
    signer: AppTokenSigner,
) -> AccountCaller:
    """Return the caller, whose login or key is looked up on every request so that a revocation holds immediately.

    Raises:
        UnauthenticatedError: There is no credential.
        InvalidTokenError: The credential is not good, or its login, key or user is not any more.
        RateLimitedError: The user has made all the requests of this window.
        ScopeMissingError: The API key was not made for this.
        UnknownQueryParameterError: The query has parameters that the route does not know.
    """
    caller = await callers.find(read_credential(token, key, signer))
    request.state.user_id = caller.user_id
    await limit_requests(request, ("user", caller.user_id))
    for scope in needed.scopes:
        if not caller.may(scope):
            raise ScopeMissingError(scope)
    refuse_unknown_query(request)
    return caller


async def authenticate_account(caller: Annotated[AccountCaller, Security(authenticate)]) -> AccountCaller:
    """Return the caller for a handler that needs their account."""
    return caller


async def authenticate_administrator(
    request: Request, token: KeyAsBearer, key: KeyHeader, callers: AppCallers, settings: AppSettings
) -> int | None:
    """Let in an administrator's API key with scope `admin`, or the key of the settings; return the user's id, if any.

    Raises:
        UnauthenticatedError: There is no credential.
        InvalidTokenError: A login token is no credential here.
        WrongAdminKeyError: The key is unknown, or its owner is not an administrator.
        RateLimitedError: The key's owner has made all the requests of this window.
        ScopeMissingError: The key has not the scope.
        UnknownQueryParameterError: The query has parameters that the route does not know.
    """
    credential = read_administrator(token, key, settings)
    user_id = None
    if credential is None:
        await limit_requests(request, LIMIT_OF_SETTINGS_KEY)
    else:
        caller = await find_administrator(callers, credential)
        await limit_requests(request, ("user", caller.user_id))
        require_administrator(caller)
        request.state.user_id = user_id = caller.user_id
    refuse_unknown_query(request)
    return user_id


async def allow_anyone(request: Request, subject: RateLimitSubject) -> None:
    """Admit a request without a caller, within the limit of its address and with known query parameters only.

    Raises:
        RateLimitedError: The address has sent all the requests of this window.
        UnknownQueryParameterError: The query has such parameters.
    """
    await limit_requests(request, ("anonymous", subject))
    refuse_unknown_query(request)


async def get_password_attempts(request: Request, subject: RateLimitSubject) -> PasswordAttempts:
    """Return the limits on the client's wrong passwords."""

    def report(refusal: Decision) -> None:
        request.state.rate_limit = refusal

    return PasswordAttempts(request.app.state.rate_limiter, subject, report)


async def get_user_agent(request: Request) -> str | None:
    """Return the client's User-Agent: at most 200 printable ASCII characters."""
    value = _NOT_PRINTABLE.sub("?", request.headers.get("user-agent", ""))[:200]
    return value or None


async def get_writes(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="Sent again with this key, the request has one effect and answer."),
    ] = None,
) -> RequestWrites:
    """Return the writes of the request; must stand behind the caller in a handler's signature.

    Raises:
        MalformedHeaderError: The Idempotency-Key cannot be read, or the caller has no account to keep the answer for.
    """
    key = read_idempotency_key(idempotency_key)
    if key is not None and getattr(request.state, "user_id", None) is None:
        raise MalformedHeaderError("Idempotency-Key")
    identify = None if key is None else partial(identify_request, request.scope, key, await request.body())
    state = request.app.state
    return RequestWrites(state.writes, RequestReads(state.reads), identify)


async def get_unkept_writes(request: Request) -> RequestWrites:
    """Return the writes of a request whose answer is a secret and is therefore never stored for a retry."""
    state = request.app.state
    return RequestWrites(state.writes, RequestReads(state.reads), None)


async def get_app_writes(request: Request) -> Writes:
    """Return the writes of all requests, which check no login."""
    writes: Writes = request.app.state.writes
    return writes


Writing = Annotated[RequestWrites, Depends(get_writes)]
UnkeptWriting = Annotated[RequestWrites, Depends(get_unkept_writes)]
AppWrites = Annotated[Writes, Depends(get_app_writes)]
Anyone = Annotated[None, Depends(allow_anyone)]
CurrentUser = Annotated[AccountCaller, Security(authenticate_account)]
AccountOwner = Annotated[AccountCaller, Security(authenticate_account, scopes=[Scope.ACCOUNT.value])]
AccountUser = Annotated[Caller, Security(authenticate, scopes=[Scope.ACCOUNT.value])]
ProjectsReader = Annotated[Caller, Security(authenticate, scopes=[Scope.PROJECTS_READ.value])]
ProjectsWriter = Annotated[Caller, Security(authenticate, scopes=[Scope.PROJECTS_WRITE.value])]
TasksReader = Annotated[Caller, Security(authenticate, scopes=[Scope.TASKS_READ.value])]
TasksWriter = Annotated[Caller, Security(authenticate, scopes=[Scope.TASKS_WRITE.value])]
Administrator = Annotated[int | None, Security(authenticate_administrator, scopes=[Scope.ADMIN.value])]
Attempts = Annotated[PasswordAttempts, Depends(get_password_attempts)]
UserAgent = Annotated[str | None, Depends(get_user_agent)]
TokenGrant = Annotated[PasswordGrant | RefreshGrant, Depends(read_grant)]

"""Who is calling: what a handler's signature says about access."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm

from taskmanager.accounts.passwords import PasswordHasher
from taskmanager.accounts.repository import Account, AccountReader
from taskmanager.accounts.tokens import TokenSigner
from taskmanager.dependencies import AppDatabase
from taskmanager.errors import InvalidTokenError, UnauthenticatedError
from taskmanager.routing import refuse_unknown_query

_bearer_token = OAuth2PasswordBearer(tokenUrl="/api/v1/token", auto_error=False, scheme_name="Login")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True)
class Caller:
    """The authenticated user of a request and the login they came with."""

    account: Account
    session_id: int

    @property
    def user_id(self) -> int:
        """The caller's id."""
        return self.account.id


async def get_token_signer(request: Request) -> TokenSigner:
    """Return the application's token signer."""
    signer: TokenSigner = request.app.state.token_signer
    return signer


async def get_password_hasher(request: Request) -> PasswordHasher:
    """Return the application's password hasher."""
    hasher: PasswordHasher = request.app.state.password_hasher
    return hasher


AppTokenSigner = Annotated[TokenSigner, Depends(get_token_signer)]
AppPasswordHasher = Annotated[PasswordHasher, Depends(get_password_hasher)]


async def authenticate(
    request: Request,
    token: Annotated[str | None, Depends(_bearer_token)],
    database: AppDatabase,
    signer: AppTokenSigner,
) -> Caller:
    """Return the caller, whose login is looked up on every request so that a revocation holds at once.

    Raises:
        UnauthenticatedError: There is no credential.
        InvalidTokenError: The token is not good, or its login or user is not any more.
        UnknownQueryParameterError: The query has parameters that the route does not know.

    """
    if token is None:
        raise UnauthenticatedError
    claims = signer.read_access_token(token)
    # A session of its own, closed at once: held on, it would take a second connection beside the handler's.
    async with database.reader() as session:
        account = await AccountReader(session).find_by_session(user_id=claims.user_id, session_id=claims.session_id)
    if account is None:
        raise InvalidTokenError
    request.state.user_id = account.id
    refuse_unknown_query(request)
    return Caller(account, claims.session_id)


async def allow_anyone(request: Request) -> None:
    """Let anybody in, but not with parameters that the route does not know.

    Raises:
        UnknownQueryParameterError: The query has such parameters.

    """
    refuse_unknown_query(request)


async def get_user_agent(request: Request) -> str | None:
    """Return what the client calls itself: at most 200 printable ASCII characters."""
    value = _NOT_PRINTABLE.sub("?", request.headers.get("user-agent", ""))[:200]
    return value or None


CurrentUser = Annotated[Caller, Depends(authenticate)]
Anyone = Annotated[None, Depends(allow_anyone)]
UserAgent = Annotated[str | None, Depends(get_user_agent)]
LoginForm = Annotated[OAuth2PasswordRequestForm, Depends()]

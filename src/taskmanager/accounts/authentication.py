"""How compiled handlers find their caller: the same rules as `dependencies`, for plain requests."""

from collections.abc import Sequence
from functools import partial

from taskmanager.accounts.administrators import (
    LIMIT_OF_SETTINGS_KEY,
    find_administrator,
    read_administrator,
    require_administrator,
)
from taskmanager.accounts.callers import Caller, Callers, RequestReads, read_credential
from taskmanager.accounts.tokens import TokenSigner
from taskmanager.errors import InvalidTokenError, RateLimitedError, ScopeMissingError
from taskmanager.http.binding import Authentication, Confirm, NotPlainError, PlainRequest
from taskmanager.http.client_addresses import ClientAddresses, rate_limit_subject
from taskmanager.http.retries import retry_lost
from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.rate_limits.policies import Key
from taskmanager.settings import Settings

_BEARER = b"Bearer "


class CallerAuthentication(Authentication):
    """Looks the caller up, by a statement of its own or by the read of the handler.

    If the handler `needs_account`, or the caller sends an API key, the caller is looked up first. Otherwise the first
    statement of the request checks the login, so whether it holds is known only after that.
    """

    def __init__(
        self, callers: Callers, signer: TokenSigner, limiter: RateLimiter, *, needs_account: bool = False
    ) -> None:
        self._callers = callers
        self._signer = signer
        self._limiter = limiter
        self._needs_account = needs_account

    async def admit(self, request: PlainRequest, scopes: Sequence[str]) -> tuple[Caller, Confirm | None]:
        """Return the caller; with a `Confirm` it is not known yet whether their login still holds.

        Raises:
            NotPlainError: The credential is an unusual one.
            UnauthenticatedError: There is none.
            InvalidTokenError: It does not hold.
            RateLimitedError: The user has made all the requests of this window.
            ScopeMissingError: The API key was not made for this.
        """
        credential = read_credential(*_written_credentials(request), self._signer)
        reads = request.reads
        if credential.user_id is None or self._needs_account or not isinstance(reads, RequestReads):
            caller = await retry_lost(partial(self._callers.find, credential))
            request.scope["state"]["user_id"] = caller.user_id
            await _limit(request, self._limiter, ("user", caller.user_id))
            for scope in scopes:
                if not caller.may(scope):
                    raise ScopeMissingError(scope)
            return caller, None
        key: Key = ("user", credential.user_id)
        decision = self._limiter.try_take(key) or await self._limiter.take(key)

        async def confirm() -> None:
            if reads.has_checked:
                return
            try:
                await retry_lost(partial(self._callers.find, credential))
            except InvalidTokenError:
                # A login that has ended does not use up the user's limit.
                if decision.admitted:
                    self._limiter.put_back(key, decision)
                request.scope["state"].pop("rate_limit", None)
                request.scope["state"].pop("user_id", None)
                raise

        state = request.scope["state"]
        state["user_id"] = credential.user_id
        state["rate_limit"] = decision
        if not decision.admitted:
            await confirm()
            raise RateLimitedError("requests", decision.reset_seconds)
        reads.login = credential
        return Caller(credential.user_id, credential.session_id), confirm


class AdministratorAuthentication(Authentication):
    """Lets in an administrator's API key, or the key of the settings."""

    def __init__(self, callers: Callers, limiter: RateLimiter, settings: Settings) -> None:
        self._callers = callers
        self._limiter = limiter
        self._settings = settings

    async def admit(self, request: PlainRequest, scopes: Sequence[str]) -> tuple[int | None, None]:  # noqa: ARG002
        """Return the administrator's id, None for the key of the settings.

        Raises:
            NotPlainError: The credential is an unusual one, or there is no account to keep the answer for.
            UnauthenticatedError: There is none.
            InvalidTokenError: It is a login.
            WrongAdminKeyError: The key is unknown, or its owner is not an administrator.
            RateLimitedError: The key's owner has made all the requests of this window.
            ScopeMissingError: The key has not the scope.
        """
        credential = read_administrator(*_written_credentials(request), self._settings)
        if credential is None:
            if b"idempotency-key" in request.headers:
                raise NotPlainError
            await _limit(request, self._limiter, LIMIT_OF_SETTINGS_KEY)
            return None, None
        caller = await retry_lost(partial(find_administrator, self._callers, credential))
        await _limit(request, self._limiter, ("user", caller.user_id))
        require_administrator(caller)
        request.scope["state"]["user_id"] = caller.user_id
        return caller.user_id, None


class NoAuthentication(Authentication):
    """Lets in anyone, within the limit of their address."""

    def __init__(self, addresses: ClientAddresses, limiter: RateLimiter) -> None:
        self._addresses = addresses
        self._limiter = limiter

    async def admit(self, request: PlainRequest, scopes: Sequence[str]) -> tuple[None, None]:  # noqa: ARG002
        """Return nobody.

        Raises:
            RateLimitedError: The address has sent all the requests of this window.
        """
        subject = rate_limit_subject(self._addresses.find(request.scope))
        await _limit(request, self._limiter, ("anonymous", subject))
        return None, None


def _written_credentials(request: PlainRequest) -> tuple[str | None, str | None]:
    """Return the Bearer token and the X-API-Key of a request."""
    authorization = request.headers.get(b"authorization")
    key = request.headers.get(b"x-api-key") or None  # an empty key counts as none, as in FastAPI
    token = None
    if authorization is not None:
        if not authorization.startswith(_BEARER):
            raise NotPlainError
        token = authorization[len(_BEARER) :].decode("latin-1").strip()
    return token, None if key is None else key.decode("latin-1")


async def _limit(request: PlainRequest, limiter: RateLimiter, key: Key) -> None:
    request.scope["state"]["rate_limit"] = decision = limiter.try_take(key) or await limiter.take(key)
    if not decision.admitted:
        raise RateLimitedError("requests", decision.reset_seconds)

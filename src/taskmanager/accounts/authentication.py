"""How compiled handlers find their caller: the same rules as `dependencies`, for plain requests."""

from collections.abc import Sequence

from taskmanager.accounts.callers import (
    AccountCaller,
    Caller,
    Callers,
    Credential,
    RequestReads,
    read_credential,
)
from taskmanager.accounts.tokens import TokenSigner
from taskmanager.errors import InvalidTokenError, RateLimitedError, ScopeMissingError
from taskmanager.http.binding import Authentication, Confirm, NotPlainError, PlainRequest
from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.rate_limits.policies import Decision, Key

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
        credential = self._read(request)
        reads = request.reads
        if credential.user_id is None or self._needs_account or not isinstance(reads, RequestReads):
            caller = await self._callers.find(credential)
            await self._limit(request, caller)
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
                await self._callers.find(credential)
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

    def _read(self, request: PlainRequest) -> Credential:
        authorization = request.headers.get(b"authorization")
        key = request.headers.get(b"x-api-key") or None  # an empty key counts as none, as in FastAPI
        token = None
        if authorization is not None:
            if not authorization.startswith(_BEARER):
                raise NotPlainError
            token = authorization[len(_BEARER) :].decode("latin-1").strip()
        return read_credential(token, None if key is None else key.decode("latin-1"), self._signer)

    async def _limit(self, request: PlainRequest, caller: AccountCaller) -> None:
        state = request.scope["state"]
        state["user_id"] = caller.user_id
        key: Key = ("user", caller.user_id)
        decision: Decision = self._limiter.try_take(key) or await self._limiter.take(key)
        state["rate_limit"] = decision
        if not decision.admitted:
            raise RateLimitedError("requests", decision.reset_seconds)

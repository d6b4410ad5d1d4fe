"""How often a wrong password may be tried: failures are counted, never logins that succeed.

A try is reserved before the password is hashed and given back unless the password was wrong, so simultaneous
tries gain nothing. Failures are counted for an account and a client's address together, so a client elsewhere cannot
lock a user out. A second, wider limit counts the failures of an address for all accounts.
"""

from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

from taskmanager.accounts.names import normal_username
from taskmanager.errors import RateLimitedError, WrongLoginError, WrongPasswordError
from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.rate_limits.policies import Decision, Key


class PasswordAttempts:
    """Bounds the wrong passwords of one client; `report` is called with the decision that refuses a try."""

    def __init__(self, limiter: RateLimiter, subject: str, report: Callable[[Decision], None]) -> None:
        self._limiter = limiter
        self._subject = subject
        self._report = report

    @asynccontextmanager
    async def log_in(self, username: str) -> AsyncIterator[None]:
        """Run a login; the account need not exist.

        Raises:
            RateLimitedError: The account from this address, or the address, has had all its failures.
            OSError: Nobody knows how many there were, so that none can be allowed.
        """
        # A digest, because a client may send anything as a name.
        name = sha256(normal_username(username).lower().encode("utf-8", "surrogatepass")).hexdigest()[:32]
        async with self._bounded(("login", f"{name} {self._subject}"), ("login-address", self._subject)):
            yield

    @asynccontextmanager
    async def confirm(self, user_id: int) -> AsyncIterator[None]:
        """Run what a user confirms with their password.

        Raises:
            RateLimitedError: The user has had all their failures.
            OSError: Nobody knows how many there were, so that none can be allowed.
        """
        async with self._bounded(("password", user_id)):
            yield

    @asynccontextmanager
    async def _bounded(self, *keys: Key) -> AsyncIterator[None]:
        reservation = await self._limiter.reserve(*keys)
        if reservation.refusal is not None:
            self._report(reservation.refusal)
            raise RateLimitedError("failed attempts", reservation.refusal.reset_seconds)
        try:
            yield
        except (WrongLoginError, WrongPasswordError, CancelledError):
            raise
        except BaseException:
            await self._limiter.give_back(reservation.held)
            raise
        await self._limiter.give_back(reservation.held)

"""Who administers: an administrator's API key with scope `admin`, or the key of the settings."""

import hmac

from taskmanager.accounts.api_key.written_keys import PREFIX
from taskmanager.accounts.callers import AccountCaller, Callers, Credential, read_written_key
from taskmanager.accounts.scopes import Scope
from taskmanager.errors import InvalidTokenError, ScopeMissingError, UnauthenticatedError, WrongAdminKeyError
from taskmanager.rate_limits.policies import Key
from taskmanager.settings import Settings

# The key of the settings has no owner, and is limited like one.
LIMIT_OF_SETTINGS_KEY: Key = ("user", 0)


def read_administrator(token: str | None, key: str | None, settings: Settings) -> Credential | None:
    """Return the API key in a Bearer token or an X-API-Key, which goes first; None for the key of the settings.

    Raises:
        UnauthenticatedError: There is none.
        InvalidTokenError: A login token is no credential here.
        WrongAdminKeyError: It is not written like a key.
    """
    if key is None and token is not None:
        if not token.startswith(PREFIX) and not _is_of_settings(token, settings):
            raise InvalidTokenError
        key = token
    if key is None:
        raise UnauthenticatedError
    if _is_of_settings(key, settings):
        return None
    try:
        return read_written_key(key)
    except InvalidTokenError:
        raise WrongAdminKeyError from None


async def find_administrator(callers: Callers, credential: Credential) -> AccountCaller:
    """Look up who owns a key, whether or not they may administer.

    Raises:
        WrongAdminKeyError: The key is unknown, or has ended.
    """
    try:
        return await callers.find(credential)
    except InvalidTokenError:
        raise WrongAdminKeyError from None


def require_administrator(caller: AccountCaller) -> None:
    """Check that a caller may administer with the key that they came with.

    Raises:
        ScopeMissingError: The key has not the scope.
        WrongAdminKeyError: Its owner is not an administrator.
    """
    if not caller.may(Scope.ADMIN):
        raise ScopeMissingError(Scope.ADMIN)
    if not caller.account.is_admin:
        raise WrongAdminKeyError


def _is_of_settings(given: str, settings: Settings) -> bool:
    if settings.api_key is None:
        return False
    expected = settings.api_key.get_secret_value()
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())

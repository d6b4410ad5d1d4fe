"""Logging in: from a user name and a password to a pair of tokens."""

import re

from taskmanager.accounts.passwords import PasswordHasher
from taskmanager.accounts.repository import AccountReader, AccountWriter
from taskmanager.accounts.schemas import PASSWORD_MAX_CHARACTERS, Token
from taskmanager.accounts.tokens import RefreshClaims, TokenSigner
from taskmanager.database import Database
from taskmanager.errors import WrongLoginError

_USERNAME = re.compile(r"[A-Za-z0-9_]{3,50}", re.ASCII)


async def log_in(
    *,
    username: str,
    password: str,
    user_agent: str | None,
    database: Database,
    hasher: PasswordHasher,
    signer: TokenSigner,
) -> Token:
    """Start a session for a user; no connection is held while the password is hashed.

    Raises:
        WrongLoginError: Unknown or disabled user, or wrong password; all take the same time.
        OverloadedError: Too many logins are waiting.

    """
    login = None
    if _USERNAME.fullmatch(username):
        async with database.reader() as reader:
            login = await AccountReader(reader).find_login(username)
    checked = password[:PASSWORD_MAX_CHARACTERS].encode("utf-8", "replace").decode()
    matches = await hasher.verify(checked, login.password_hash if login else None)
    if login is None or not matches or len(password) > PASSWORD_MAX_CHARACTERS:
        raise WrongLoginError
    new_hash = await hasher.hash(password) if hasher.needs_rehash(login.password_hash) else None
    async with database.transaction() as transaction:
        writer = AccountWriter(transaction)
        session_id = await writer.start_session(login, user_agent)
        if new_hash is not None:
            await writer.replace_hash(login, new_hash)
    return issue_tokens(signer, login.user_id, RefreshClaims(session_id, 0))


def issue_tokens(signer: TokenSigner, user_id: int, refresh: RefreshClaims) -> Token:
    """Return the tokens of one generation of a login."""
    return Token(
        access_token=signer.access_token(user_id, refresh.session_id),
        expires_in=signer.access_token_seconds,
        refresh_token=signer.refresh_token(refresh),
    )

"""Logging in, refreshing and logging out."""

import re

from taskmanager.accounts.names import normal_username
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.repository import AccountReader, AccountWriter, StoredLogin
from taskmanager.accounts.schemas import Token
from taskmanager.accounts.sessions.repository import RefreshOutcome, SessionWriter
from taskmanager.accounts.tokens import RefreshClaims, TokenSigner
from taskmanager.database.reads import Reads
from taskmanager.database.writes import Runner
from taskmanager.errors import InvalidTokenError, WrongLoginError

_USERNAME = re.compile(r"[A-Za-z0-9_]{3,50}", re.ASCII)


async def log_in(
    *,
    username: str,
    password: str,
    user_agent: str | None,
    reads: Reads,
    writes: Runner,
    hasher: PasswordHasher,
    signer: TokenSigner,
) -> Token:
    """Start a session for a user; no connection is held while the password is hashed.

    Raises:
        WrongLoginError: Unknown or disabled user, or wrong password; all take the same time.
        OverloadedError: Too many logins are waiting.
    """
    accounts = AccountWriter(writes)
    async with hasher.turn():
        login, is_outdated = await _check(username, password, reads, hasher)
        if is_outdated:
            new_hash = await hasher.hash(password)
            try:
                session_id = await accounts.start_session(login, user_agent, new_hash=new_hash)
            except WrongLoginError:  # perhaps another login has replaced the hash
                login, _ = await _check(username, password, reads, hasher)
                session_id = await accounts.start_session(login, user_agent)
        else:
            session_id = await accounts.start_session(login, user_agent)
        return _issue_tokens(signer, login.user_id, RefreshClaims(session_id, 0))


async def _check(username: str, password: str, reads: Reads, hasher: PasswordHasher) -> tuple[StoredLogin, bool]:
    """Return the login whose password it is, and whether its hash should be made anew."""
    # Looked up even if no such name can exist, so that the time reveals nothing.
    name = normal_username(username)
    known_form = name if _USERNAME.fullmatch(name) else ""
    login = await AccountReader(reads).find_login(known_form)
    verdict = await hasher.verify(password, login.password_hash if login else None)
    if login is None or not verdict.matches:
        raise WrongLoginError
    return login, verdict.is_outdated


async def refresh(token: str, *, writes: Runner, signer: TokenSigner, idle_days: int) -> Token:
    """Exchange a refresh token for its successor and a new access token.

    Raises:
        InvalidTokenError: It is not ours, its login has ended, or it was spent before; then the login ends here.
    """
    claims = signer.read_refresh_token(token)
    result = await SessionWriter(writes).refresh(claims, idle_days=idle_days)
    if result is None or result.outcome in {RefreshOutcome.REUSED, RefreshOutcome.REFUSED}:
        raise InvalidTokenError
    return _issue_tokens(signer, result.user_id, RefreshClaims(claims.session_id, claims.generation + 1))


async def log_out(token: str, *, writes: Runner, signer: TokenSigner) -> None:
    """End the login of a refresh token; an invalid one changes nothing and raises nothing (RFC 7009)."""
    try:
        claims = signer.read_refresh_token(token)
    except InvalidTokenError:
        return
    await SessionWriter(writes).revoke_family(claims.session_id)


def _issue_tokens(signer: TokenSigner, user_id: int, refresh_claims: RefreshClaims) -> Token:
    return Token(
        access_token=signer.access_token(user_id, refresh_claims.session_id),
        expires_in=signer.access_token_seconds,
        refresh_token=signer.refresh_token(refresh_claims),
    )

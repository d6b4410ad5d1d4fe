"""`taskmanager user ...` and `taskmanager key create`: accounts and API keys for those who run the service."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer
from pydantic import SecretStr, ValidationError

from taskmanager.accounts.api_key.repository import ApiKeyWriter
from taskmanager.accounts.api_key.written_keys import hash_secret, new_secret, write_key
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.password.rules import check_password
from taskmanager.accounts.repository import Account, AccountReader, AccountWriter, list_accounts
from taskmanager.accounts.schemas import ApiKeyCreate, UserCreate
from taskmanager.accounts.scopes import Scope
from taskmanager.accounts.sessions.repository import SessionWriter
from taskmanager.administration.repository import AdministrationWriter
from taskmanager.commands.refusals import describe_errors, read_database_settings, refuse
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.failures import describe_failure
from taskmanager.database.writes import Writes, open_writes
from taskmanager.database_settings import DatabaseSettings
from taskmanager.errors import AdministratorOnlyError, AlreadyTakenError, InvalidValueError, NotFoundError

_MIN_CHARACTERS = 8
_LISTED = 1_000
_T = TypeVar("_T")


def create_user(
    username: str,
    email: str,
    *,
    admin: Annotated[bool, typer.Option("--admin", help="May manage the accounts of others.")] = False,
) -> None:
    """Create an account; the password is prompted for, or read from standard input."""
    settings = _read_settings()
    password = _read_password()
    try:
        new = UserCreate(username=username, email=email, password=SecretStr(password))
    except ValidationError as error:
        refuse(*describe_errors(error))
    _check_password(password, username=new.username, email=new.email)
    try:
        user_id = _run(settings, lambda writes: _create_user(writes, new, is_admin=admin))
    except AlreadyTakenError as error:
        refuse(f"this {error.field} is already taken", code=1)
    typer.echo(f"Created {'administrator' if admin else 'user'} {new.username} with id {user_id}.")


def list_users() -> None:
    """List the accounts, oldest first: id, name, e-mail address, and whether disabled or an administrator."""
    _run(_read_settings(), _list_users)


def enable_user(username: str) -> None:
    """Let an account in again."""
    _switch(username, lambda writer, account: writer.enable(account.id), "Enabled")


def disable_user(username: str) -> None:
    """Shut an account out, the only administrator's too: its logins and keys fail from now on."""
    _switch(username, lambda writer, account: writer.disable(account.id, keeps_administrator=False), "Disabled")


def set_password(username: str) -> None:
    """Give an account a new password and end its logins; the password is prompted for, or read from standard input."""
    settings = _read_settings()
    account = _run(settings, lambda writes: _find(writes, username))
    password = _read_password()
    _check_password(password, username=account.username, email=account.email)
    ended = _run(settings, lambda writes: _set_password(writes, account.id, password))
    typer.echo(f"Set the password of {account.username}, {ended} logins ended.")


def create_key(
    username: str,
    *,
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may be used for; may be repeated.")],
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it ends.")] = None,
) -> None:
    """Create an API key for a user and print it, this once."""
    settings = _read_settings()
    try:
        expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
        new = ApiKeyCreate(name=name, scopes=scope, expires_at=expires_at)
    except ValidationError as error:
        refuse(*describe_errors(error))
    try:
        typer.echo(_run(settings, lambda writes: _create_key(writes, username, new)))
    except AdministratorOnlyError:
        refuse(f"{username} is not an administrator, so no key of theirs can have the scope admin", code=1)
    except InvalidValueError:
        refuse("EXPIRES_AT: has passed by the clock of the database", code=1)


def _read_settings() -> DatabaseSettings:
    return read_database_settings(DatabaseSettings)


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\n")


def _check_password(password: str, *, username: str, email: str) -> None:
    try:
        check_password(password, field="password", min_characters=_MIN_CHARACTERS, username=username, email=email)
    except InvalidValueError as error:
        refuse(f"PASSWORD: {error.message}")


def _run(settings: DatabaseSettings, work: Callable[[Writes], Awaitable[_T]]) -> _T:
    """Return what the work on the database returns.

    Raises:
        typer.Exit: There is no such user, or the database refuses or cannot be reached.
    """

    async def run() -> _T:
        async with open_writes(settings) as writes:
            return await work(writes)

    try:
        return asyncio.run(run())
    except _UnknownUserError as error:
        refuse(f"there is no user {error}", code=1)
    except DATABASE_ERRORS as error:
        refuse(describe_failure(error))


class _UnknownUserError(Exception):
    """There is no user of this name."""


async def _find(writes: Writes, username: str) -> Account:
    account = await AccountReader(writes).find_by_name(username)
    if account is None:
        raise _UnknownUserError(username)
    return account


def _switch(username: str, switch: Callable[[AdministrationWriter, Account], Awaitable[object]], done: str) -> None:
    async def work(writes: Writes) -> str:
        account = await _find(writes, username)
        try:
            await switch(AdministrationWriter(writes, user_id=None), account)
        except NotFoundError:  # deleted meanwhile
            raise _UnknownUserError(username) from None
        return account.username

    typer.echo(f"{done} {_run(_read_settings(), work)}.")


async def _list_users(writes: Writes) -> None:
    after_id, found = 0, _LISTED
    while found == _LISTED:
        page = await list_accounts(writes, after_id=after_id, limit=_LISTED)
        for account in page:
            marks = [word for word, holds in (("disabled", account.disabled), ("admin", account.is_admin)) if holds]
            typer.echo("\t".join([str(account.id), account.username, account.email, ",".join(marks) or "-"]))
            after_id = account.id
        found = len(page)


async def _create_user(writes: Writes, new: UserCreate, *, is_admin: bool) -> int:
    password_hash = await _hash(new.password.get_secret_value())
    user = await AccountWriter(writes).create(
        username=new.username, email=new.email, password_hash=password_hash, is_admin=is_admin
    )
    return user.id


async def _set_password(writes: Writes, user_id: int, password: str) -> int:
    password_hash = await _hash(password)
    # Only a later statement sees, and can end, a login that began before the hash was replaced.
    async with writes.transaction() as run:
        await AccountWriter(run).set_hash(password_hash, user_id=user_id)
        return await SessionWriter(run).revoke_others(user_id=user_id, kept_id=None)


async def _hash(password: str) -> str:
    hasher = PasswordHasher(threads=1, queue=1)
    try:
        return await hasher.hash(password)
    finally:
        hasher.close()


async def _create_key(writes: Writes, username: str, new: ApiKeyCreate) -> str:
    account = await _find(writes, username)
    if account.disabled:
        refuse(
            f"{username} is disabled, so a key of theirs would open nothing: taskmanager user enable {username}", code=1
        )
    if Scope.ADMIN in new.scopes and not account.is_admin:
        raise AdministratorOnlyError
    secret = new_secret()
    stored = await ApiKeyWriter(writes).create(
        user_id=account.id,
        name=new.name,
        secret_hash=hash_secret(secret),
        scopes=sorted(set(new.scopes)),
        expires_at=new.expires_at,
    )
    return write_key(stored.id, secret)

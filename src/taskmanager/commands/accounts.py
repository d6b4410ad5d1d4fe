"""`taskmanager user create` and `taskmanager key create`: accounts and API keys for those who run the service."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError

from taskmanager.accounts.api_key.repository import ApiKeyWriter
from taskmanager.accounts.api_key.written_keys import hash_secret, new_secret, write_key
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.password.rules import check_password
from taskmanager.accounts.repository import AccountReader, AccountWriter
from taskmanager.accounts.schemas import ApiKeyCreate, UserCreate
from taskmanager.accounts.scopes import Scope
from taskmanager.commands.refusals import describe_errors, read_settings, refuse, require_database
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.failures import describe_failure
from taskmanager.database.writes import open_writes
from taskmanager.errors import AdministratorOnlyError, AlreadyTakenError, InvalidValueError, NotFoundError
from taskmanager.settings import DatabaseSettings


def create_user(
    username: str,
    email: str,
    *,
    admin: Annotated[bool, typer.Option("--admin", help="May manage the accounts of others.")] = False,
) -> None:
    """Create an account; the password is prompted for, or read from standard input."""
    settings = read_settings(DatabaseSettings)
    require_database(settings)
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        new = UserCreate(username=username, email=email, password=SecretStr(password))
        check_password(password, field="password", min_characters=8, username=new.username, email=new.email)
    except ValidationError as error:
        refuse(*describe_errors(error))
    except InvalidValueError as error:
        refuse(f"PASSWORD: {error.message}")
    try:
        user_id = asyncio.run(_create_user(settings, new, is_admin=admin))
    except AlreadyTakenError as error:
        refuse(f"this {error.field} is already taken", code=1)
    except DATABASE_ERRORS as error:
        refuse(describe_failure(error))
    typer.echo(f"Created {'administrator' if admin else 'user'} {new.username} with id {user_id}.")


def create_key(
    username: str,
    *,
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may be used for; may be repeated.")],
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it ends.")] = None,
) -> None:
    """Create an API key for a user and print it, this once."""
    settings = read_settings(DatabaseSettings)
    require_database(settings)
    try:
        expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
        new = ApiKeyCreate(name=name, scopes=scope, expires_at=expires_at)
        typer.echo(asyncio.run(_create_key(settings, username, new)))
    except ValidationError as error:
        refuse(*describe_errors(error))
    except NotFoundError:
        refuse(f"there is no user {username}", code=1)
    except AdministratorOnlyError:
        refuse(f"{username} is not an administrator, so no key of theirs can have the scope admin", code=1)
    except DATABASE_ERRORS as error:
        refuse(describe_failure(error))


async def _create_user(settings: DatabaseSettings, new: UserCreate, *, is_admin: bool) -> int:
    hasher = PasswordHasher(threads=1, queue=1)
    password_hash = await hasher.hash(new.password.get_secret_value())
    hasher.close()
    async with open_writes(settings) as writes:
        user = await AccountWriter(writes).create(
            username=new.username, email=new.email, password_hash=password_hash, is_admin=is_admin
        )
    return user.id


async def _create_key(settings: DatabaseSettings, username: str, new: ApiKeyCreate) -> str:
    secret = new_secret()
    async with open_writes(settings) as writes:
        account = await AccountReader(writes).find_by_name(username)
        if account is None:
            raise NotFoundError("user")
        if Scope.ADMIN in new.scopes and not account.is_admin:
            raise AdministratorOnlyError
        stored = await ApiKeyWriter(writes).create(
            user_id=account.id,
            name=new.name,
            secret_hash=hash_secret(secret),
            scopes=sorted(set(new.scopes)),
            expires_at=new.expires_at,
        )
    return write_key(stored.id, secret)

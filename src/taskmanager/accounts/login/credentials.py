"""Changing a password and deleting an account: both ask for the password first."""

from pydantic import SecretStr

from taskmanager.accounts.deletion.repository import AccountDeleter
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.password.rules import check_password, normal_password
from taskmanager.accounts.repository import Account, AccountReader, AccountWriter, StoredLogin
from taskmanager.accounts.schemas import PasswordChange
from taskmanager.accounts.sessions.repository import SessionWriter
from taskmanager.database.reads import Reads
from taskmanager.database.writes import WriteRunner
from taskmanager.errors import InvalidValueError, OwnsSharedProjectsError, WrongPasswordError


async def change_password(
    account: Account,
    change: PasswordChange,
    *,
    session_id: int | None,
    min_characters: int,
    reads: Reads,
    writes: WriteRunner,
    hasher: PasswordHasher,
) -> None:
    """Store a new password and end all other logins of the account.

    Raises:
        InvalidValueError: The new password is not acceptable, not repeated, or the old one.
        WrongPasswordError: The current password is not right.
        OverloadedError: Too many passwords are being checked.
    """
    new = change.new_password.get_secret_value()
    if new != change.confirm_password.get_secret_value():
        raise InvalidValueError(("body", "confirm_password"), "must be the new password again")
    if new == normal_password(change.current_password.get_secret_value()):
        raise InvalidValueError(("body", "new_password"), "must differ from the current password")
    check_password(
        new,
        field="new_password",
        min_characters=min_characters,
        username=account.username,
        email=account.email,
    )
    async with hasher.turn():
        login = await _confirm(account.id, change.current_password, reads=reads, hasher=hasher)
        new_hash = await hasher.hash(new)
    # Only a later statement sees, and can end, a login that began before the hash was replaced.
    async with writes.transaction() as run:
        if not await AccountWriter(run).replace_hash(login, new_hash):
            raise WrongPasswordError
        await SessionWriter(run).revoke_others(user_id=account.id, kept_id=session_id)


async def delete_account(
    user_id: int, password: SecretStr, *, reads: Reads, writes: WriteRunner, hasher: PasswordHasher
) -> None:
    """Delete an account with its unshared projects; elsewhere its name goes and its contributions stay.

    Raises:
        WrongPasswordError: The password is not right.
        OwnsSharedProjectsError: Projects with other members would be left without an owner who can log in.
        LastAdministratorError: Nobody else who can log in is an administrator.
        OverloadedError: Too many passwords are being checked.
    """
    async with hasher.turn():
        login = await _confirm(user_id, password, reads=reads, hasher=hasher)
    async with writes.transaction(long=True) as run:
        deleter = AccountDeleter(run)
        unshared, orphaned = await deleter.lock_projects(user_id=user_id)
        if orphaned:
            raise OwnsSharedProjectsError(orphaned)
        if not await deleter.anonymise(user_id=user_id, password_hash=login.password_hash):
            raise WrongPasswordError
        await deleter.delete_projects(unshared, user_id=user_id)
        await deleter.leave_projects(user_id=user_id)
        await deleter.forget_authorship(user_id=user_id)


async def _confirm(user_id: int, password: SecretStr, *, reads: Reads, hasher: PasswordHasher) -> StoredLogin:
    login = await AccountReader(reads).find_login_of(user_id)
    verdict = await hasher.verify(password.get_secret_value(), login.password_hash if login else None)
    if login is None or not verdict.matches:
        raise WrongPasswordError
    return login

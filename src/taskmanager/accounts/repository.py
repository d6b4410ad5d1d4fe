"""Every statement on users and their logins."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, TextClause
from sqlalchemy.exc import IntegrityError

from taskmanager.database.database import ReadSession, WriteSession, statement
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.errors import AlreadyTakenError, InvalidTokenError, WrongLoginError

_TAKEN = {"users_lower_username_idx": "username", "users_email_idx": "email"}


@dataclass(frozen=True)
class Account:
    """A user, as every request of theirs needs it."""

    id: int
    username: str
    email: str
    disabled: bool
    is_admin: bool
    created_at: datetime


@dataclass(frozen=True)
class StoredLogin:
    """What a login is checked against."""

    user_id: int
    password_hash: str


_CREATE = statement("""
WITH new_user AS (
    INSERT INTO users (username, email, password_hash, is_admin)
    VALUES (:username, :email, :password_hash, :is_admin)
    RETURNING id, username, email, disabled, is_admin, created_at
), inbox AS (
    INSERT INTO projects (name, inbox_of) SELECT 'Inbox', id FROM new_user
    RETURNING id, inbox_of, name
), membership AS (
    INSERT INTO project_members (project_id, user_id, role) SELECT id, inbox_of, 'owner' FROM inbox
), logged AS (
    INSERT INTO events (project_id, actor_id, entity, entity_id, version, action, changes)
    SELECT id, inbox_of, 'project', id, 1, 'created',
           jsonb_build_object('name', jsonb_build_object('old', NULL, 'new', name))
    FROM inbox
)
SELECT * FROM new_user
""")

_FIND_LOGIN = statement("""
SELECT id AS user_id, password_hash FROM users
WHERE lower(username) = lower(:username) AND deleted_at IS NULL AND NOT disabled
""")

_FIND_LOGIN_OF = statement("""
SELECT id AS user_id, password_hash FROM users WHERE id = :user_id AND deleted_at IS NULL AND NOT disabled
""")

_FIND_BY_NAME = statement("""
SELECT id, username, email, disabled, is_admin, created_at FROM users WHERE lower(username) = lower(:username)
""")

_UPDATE = statement("""
UPDATE users
SET username = COALESCE(CAST(:username AS text), username), email = COALESCE(CAST(:email AS text), email)
WHERE id = :user_id AND deleted_at IS NULL
RETURNING id, username, email, disabled, is_admin, created_at
""")

# The lock waits for a change of the password, which then does not match any more.
_START_SESSION = statement("""
INSERT INTO sessions (user_id, user_agent)
SELECT id, :user_agent FROM users
WHERE id = :user_id AND password_hash = :password_hash AND NOT disabled
FOR SHARE
RETURNING id
""")

_REPLACE_HASH = statement("""
UPDATE users SET password_hash = :new_hash WHERE id = :user_id AND password_hash = :old_hash RETURNING id
""")


class AccountReader:
    """Reads users and logins."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def find_login(self, username: str) -> StoredLogin | None:
        """Return what to check a user's password against, or None if there is no such active user."""
        row = (await self._session.execute(_FIND_LOGIN, {"username": username})).mappings().one_or_none()
        return StoredLogin(**row) if row else None

    async def find_login_of(self, user_id: int) -> StoredLogin | None:
        """Return what to check the password of a known user against, or None if they are gone."""
        row = (await self._session.execute(_FIND_LOGIN_OF, {"user_id": user_id})).mappings().one_or_none()
        return StoredLogin(**row) if row else None

    async def find_by_name(self, username: str) -> Account | None:
        """Return the user of this name, in any case, or None."""
        row = (await self._session.execute(_FIND_BY_NAME, {"username": username})).mappings().one_or_none()
        return Account(**row) if row else None


class AccountWriter:
    """Writes users and logins."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def create(self, *, username: str, email: str, password_hash: str, is_admin: bool = False) -> Account:
        """Store a new user with their personal project.

        Raises:
            AlreadyTakenError: Another account has the user name or the address.
        """
        parameters = {"username": username, "email": email, "password_hash": password_hash, "is_admin": is_admin}
        row = await self._execute_unique(_CREATE, parameters)
        assert row is not None  # the statement always answers with the new user
        return Account(**row)

    async def update(self, user_id: int, *, username: str | None, email: str | None) -> Account:
        """Change the given fields of a user.

        Raises:
            AlreadyTakenError: Another account has the user name or the address.
            InvalidTokenError: The user is being deleted.
        """
        parameters = {"user_id": user_id, "username": username, "email": email}
        row = await self._execute_unique(_UPDATE, parameters)
        if row is None:
            raise InvalidTokenError
        return Account(**row)

    async def start_session(self, login: StoredLogin, user_agent: str | None) -> int:
        """Store a login and return its id, provided that the password is still the one that was checked.

        Raises:
            WrongLoginError: Meanwhile the password changed or the user was disabled.
        """
        parameters = {"user_id": login.user_id, "password_hash": login.password_hash, "user_agent": user_agent}
        session_id: int | None = (await self._session.execute(_START_SESSION, parameters)).scalar()
        if session_id is None:
            raise WrongLoginError
        return session_id

    async def replace_hash(self, login: StoredLogin, new_hash: str) -> bool:
        """Store another hash; false if the password changed meanwhile."""
        parameters = {"user_id": login.user_id, "old_hash": login.password_hash, "new_hash": new_hash}
        return (await self._session.execute(_REPLACE_HASH, parameters)).one_or_none() is not None

    async def _execute_unique(self, statement: TextClause, parameters: dict[str, Any]) -> RowMapping | None:
        try:
            return (await self._session.execute(statement, parameters)).mappings().one_or_none()
        except IntegrityError as error:
            if field := _TAKEN.get(violated_constraint(error) or ""):
                raise AlreadyTakenError(field) from None
            raise

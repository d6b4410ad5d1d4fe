"""Every statement on users and their logins."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from taskmanager.accounts.folding import folded_name
from taskmanager.accounts.names import normal_username
from taskmanager.accounts.schemas import UserRead, UserUpdate
from taskmanager.accounts.statements import ACCOUNT_COLUMNS
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.json_rows import json_object
from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import Runner, Writes, Written
from taskmanager.errors import AlreadyTakenError, InvalidTokenError, InvalidValueError, WrongLoginError
from taskmanager.events.statements import EVENT_COLUMNS

_TAKEN = {
    "users_lower_username_idx": "username",
    "users_folded_username_idx": "username",
    "users_email_idx": "email",
}


@dataclass(frozen=True)
class Account:
    """A user, as every request of theirs needs it."""

    id: int
    username: str
    email: str
    disabled: bool
    is_admin: bool
    display_name: str | None
    time_zone: str
    created_at: datetime


@dataclass(frozen=True)
class StoredLogin:
    """What a login is checked against."""

    user_id: int
    password_hash: str


@dataclass(frozen=True)
class NewUser:
    """A user who was just stored: the id, and the account as the bytes of its JSON object."""

    id: int
    body: bytes


_CREATE = Write(
    "create user",
    f"""
new_user AS (
    INSERT INTO users (username, email, password_hash, is_admin)
    VALUES (:username, :email, :password_hash, :is_admin)
    RETURNING {ACCOUNT_COLUMNS}
), inbox AS (
    INSERT INTO projects (name, inbox_of) SELECT 'Inbox', id FROM new_user
    RETURNING id, inbox_of, name
), membership AS (
    INSERT INTO project_members (project_id, user_id, role) SELECT id, inbox_of, 'owner' FROM inbox
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT id, inbox_of, 'project', id, 1, 'created',
           jsonb_build_object('name', jsonb_build_object('old', NULL, 'new', name))
    FROM inbox
)""",
    f"SELECT id, convert_to({json_object(UserRead, 'new_user')}, 'UTF8') AS body FROM new_user",
    {"username": "text", "email": "text", "password_hash": "text", "is_admin": "boolean"},
)

_FIND_LOGIN = Statement(
    "find login",
    f"""
SELECT id AS user_id, password_hash FROM users
WHERE {folded_name("username")} = {folded_name(":username")} AND deleted_at IS NULL AND NOT disabled
""",
    {"username": "text"},
    shared=True,
)

_FIND_LOGIN_OF = Statement(
    "find login of user",
    "SELECT id AS user_id, password_hash FROM users WHERE id = :user_id AND deleted_at IS NULL AND NOT disabled",
    shared=True,
)

_FIND_BY_NAME = Statement(
    "find user by name",
    f"""
SELECT {ACCOUNT_COLUMNS} FROM users
WHERE {folded_name("username")} = {folded_name(":username")}
""",
    {"username": "text"},
)

_LIST_AFTER = Statement(
    "list users by id",
    f"""
SELECT {ACCOUNT_COLUMNS} FROM users
WHERE deleted_at IS NULL AND id > :after_id ORDER BY id LIMIT :limit
""",
)

# Who is in more projects than this has a new name in the others when their clients next load them anew.
_RENAMED_IN = 1_000
_UPDATE = Write(
    "update user",
    f"""
zone AS MATERIALIZED (
    SELECT CASE WHEN :patch -> 'time_zone' IS NULL THEN true
           ELSE EXISTS (SELECT FROM pg_timezone_names WHERE name = :patch ->> 'time_zone') END AS is_known
), changed AS (
    UPDATE users
    SET username = COALESCE(:patch ->> 'username', username), email = COALESCE(:patch ->> 'email', email),
        display_name = CASE WHEN jsonb_exists(:patch, 'display_name') THEN :patch ->> 'display_name'
                            ELSE display_name END,
        time_zone = COALESCE(:patch ->> 'time_zone', time_zone)
    WHERE id = :user_id AND deleted_at IS NULL AND (SELECT is_known FROM zone)
    RETURNING {ACCOUNT_COLUMNS}, (old.username, old.display_name) IS DISTINCT FROM (new.username, new.display_name)
              AS is_renamed
), memberships AS MATERIALIZED (
    -- In the order in which the deletion of an account locks those of others.
    SELECT m.project_id, m.user_id FROM changed JOIN project_members m ON m.user_id = changed.id
    WHERE is_renamed ORDER BY m.project_id LIMIT {_RENAMED_IN} FOR NO KEY UPDATE OF m
), renamed AS (
    UPDATE project_members m SET version = m.version + 1 FROM memberships s
    WHERE m.project_id = s.project_id AND m.user_id = s.user_id
    RETURNING m.project_id, m.user_id, m.version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, user_id, 'member', user_id, version, 'updated', '{{}}' FROM renamed
)""",
    f"""
SELECT changed.id IS NOT NULL AS done, zone.is_known AS is_known_zone, changed.id,
       CAST(NULL AS bigint) AS project_id, CAST(NULL AS integer) AS version,
       CASE WHEN changed.id IS NOT NULL THEN convert_to({json_object(UserRead, "changed")}, 'UTF8') END AS body
FROM zone LEFT JOIN changed ON true
""",
    {"patch": "jsonb"},
)

# The lock waits for a change of the password, which then does not match any more.
_CHECKED = """
checked AS MATERIALIZED (
    SELECT id FROM users WHERE id = :user_id AND password_hash = :password_hash AND NOT disabled {lock}
), started AS (
    INSERT INTO sessions (user_id, user_agent) SELECT id, :user_agent FROM checked RETURNING id
)"""
_LOGIN_TYPES = {"password_hash": "text", "user_agent": "text"}
_START_SESSION = Write("start session", _CHECKED.format(lock="FOR SHARE"), "SELECT id FROM started", _LOGIN_TYPES)

# Two of these with FOR SHARE would wait for each other.
_START_SESSION_AND_REPLACE_HASH = Write(
    "start session and replace hash",
    f"""
{_CHECKED.format(lock="FOR NO KEY UPDATE")}, replaced AS (
    UPDATE users u SET password_hash = :new_hash FROM checked WHERE u.id = checked.id
)""",
    "SELECT id FROM started",
    {**_LOGIN_TYPES, "new_hash": "text"},
)

_REPLACE_HASH = Write(
    "replace hash",
    """
replaced AS (
    UPDATE users SET password_hash = :new_hash WHERE id = :user_id AND password_hash = :old_hash RETURNING id
)""",
    "SELECT id FROM replaced",
    {"new_hash": "text", "old_hash": "text"},
)


_SET_HASH = Write(
    "set hash",
    "changed AS (UPDATE users SET password_hash = :new_hash WHERE id = :user_id AND deleted_at IS NULL)",
    "SELECT true AS done",
    {"new_hash": "text"},
)


class AccountReader:
    """Reads users and logins."""

    def __init__(self, reads: Reads | Runner) -> None:
        self._reads = reads

    async def find_login(self, username: str) -> StoredLogin | None:
        """Return what to check a user's password against, or None if there is no such active user."""
        row = await self._reads.one(_FIND_LOGIN, username=normal_username(username))
        return None if row is None else StoredLogin(row["user_id"], row["password_hash"])

    async def find_login_of(self, user_id: int) -> StoredLogin | None:
        """Return what to check the password of a known user against, or None if they are gone."""
        row = await self._reads.one(_FIND_LOGIN_OF, user_id=user_id)
        return None if row is None else StoredLogin(row["user_id"], row["password_hash"])

    async def find_by_name(self, username: str) -> Account | None:
        """Return the user of this name, in any case, or None."""
        row = await self._reads.one(_FIND_BY_NAME, username=normal_username(username))
        return None if row is None else Account(**row)


class AccountWriter:
    """Writes users and logins."""

    def __init__(self, writes: Runner) -> None:
        self._writes = writes

    async def create(self, *, username: str, email: str, password_hash: str, is_admin: bool = False) -> NewUser:
        """Store a new user with their personal project.

        Raises:
            AlreadyTakenError: Another account has the user name or the address.
        """
        row = await self._write_unique(
            _CREATE, username=username, email=email, password_hash=password_hash, is_admin=is_admin
        )
        assert row is not None  # the statement always returns the new user
        return NewUser(row["id"], row["body"])

    async def update(self, changes: UserUpdate, *, user_id: int) -> Written:
        """Change the given fields of a user; those who follow the user's projects learn of another name.

        Raises:
            AlreadyTakenError: Another account has the user name or the address.
            InvalidTokenError: The user is being deleted.
            InvalidValueError: There is no such time zone.
        """
        row = await self._write_unique(_UPDATE, user_id=user_id, patch=changes.model_dump_json(exclude_unset=True))
        assert row is not None  # whether the time zone is known always gives a row
        if not row["is_known_zone"]:
            raise InvalidValueError(("body", "time_zone"), "must be a name of the IANA's time zones")
        if not row["done"]:
            raise InvalidTokenError
        return Written(row["id"], None, row["body"])

    async def start_session(self, login: StoredLogin, user_agent: str | None, *, new_hash: str | None = None) -> int:
        """Store a login and return its id, provided that the password is still the one that was checked.

        A `new_hash` of that password takes the place of the stored one.

        Raises:
            WrongLoginError: Meanwhile the password changed or the user was disabled.
        """
        values = {"user_id": login.user_id, "password_hash": login.password_hash, "user_agent": user_agent}
        if new_hash is None:
            row = await self._writes.one(_START_SESSION, **values)
        else:
            row = await self._writes.one(_START_SESSION_AND_REPLACE_HASH, **values, new_hash=new_hash)
        if row is None:
            raise WrongLoginError
        session_id: int = row["id"]
        return session_id

    async def replace_hash(self, login: StoredLogin, new_hash: str) -> bool:
        """Store another hash; false if the password changed meanwhile."""
        row = await self._writes.one(
            _REPLACE_HASH, user_id=login.user_id, old_hash=login.password_hash, new_hash=new_hash
        )
        return row is not None

    async def set_hash(self, new_hash: str, *, user_id: int) -> None:
        """Store another hash, whatever the password was."""
        await self._writes.one(_SET_HASH, user_id=user_id, new_hash=new_hash)

    async def _write_unique(self, write: Write, **values: Any) -> asyncpg.Record | None:
        try:
            return await self._writes.one(write, **values)
        except asyncpg.UniqueViolationError as error:
            if field := _TAKEN.get(violated_constraint(error) or ""):
                raise AlreadyTakenError(field) from None
            raise


async def list_accounts(writes: Writes, *, after_id: int, limit: int) -> list[Account]:
    """Return so many accounts whose ids come next, disabled ones included."""
    rows = await writes.all(_LIST_AFTER, after_id=after_id, limit=limit)
    return [Account(**row) for row in rows]

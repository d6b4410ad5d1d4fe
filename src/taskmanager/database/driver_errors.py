"""What an error of the driver or of SQLAlchemy says about its cause."""

import re
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# All that a call of the database may raise.
DATABASE_ERRORS = (
    DBAPIError,
    PoolTimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
# Class 08 connection, 53 resources, 57 intervention (time-out, shutdown), 40 rollback, 55P03 lock time-out,
# 25006 a standby, 3D000 and 28 a server that is being set up: the caller is to blame for none of them.
_TRANSIENT_SQLSTATES = ("08", "53", "57", "40", "55P03", "25006", "3D000", "28")


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE that the server answered with, to SQLAlchemy or the driver, or None if it never answered."""
    state: str | None = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state


def is_transient(error: BaseException) -> bool:
    """Return whether an error comes from the state of the database rather than from what it was asked."""
    if isinstance(error, (DBAPIError, asyncpg.PostgresError)):
        state = sqlstate_of(error)
        return state is None or state.startswith(_TRANSIENT_SQLSTATES)
    # A refused connection and a time-out arrive unwrapped, not as DBAPIError; TimeoutError is an OSError.
    # asyncpg raises InternalClientError for a connection that the server has ended but that is not closed here yet.
    return isinstance(error, (PoolTimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError))


def violated_constraint(error: DBAPIError | asyncpg.PostgresError) -> str | None:
    """Return the name of the violated constraint, without the shard number that Citus appends."""
    cause: Any = getattr(error.orig, "__cause__", None) if isinstance(error, DBAPIError) else error
    name: str | None = getattr(cause, "constraint_name", None)
    return re.sub(r"_\d+$", "", name) if name else None

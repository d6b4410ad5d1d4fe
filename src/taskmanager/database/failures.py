"""What stopped a call of the database, in words for operators."""

import errno
import socket
import ssl

from sqlalchemy.exc import DBAPIError

from taskmanager.database.driver_errors import sqlstate_of
from taskmanager.database.server_settings import UnfitConnectionError

_UNREACHABLE = "the database cannot be reached"
# ENOENT: there is no such socket.
_NETWORK_ERRORS = {
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.ENOENT),
    *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL),
}
_TRANSACTION_MODE = "the pooler before the database is in transaction mode, set DATABASE_POOLER=transaction"
# The first that begins a SQLSTATE counts (PostgreSQL's appendix A).
_REASONS = {
    "08": "the connection to the database is lost",
    "28": "the database refuses the login",
    "3D000": "the database does not exist",
    "40": "the database gave way to another transaction",
    "42501": "the database role lacks a right",
    "25006": "the database is read-only",
    # A prepared statement that is on another server connection, or was left on this one.
    "26000": _TRANSACTION_MODE,
    "42P05": _TRANSACTION_MODE,
    "53100": "the disk of the database is full",
    "53200": "the database server is out of memory",
    "53300": "the database has no connection left",
    "53": "the database is out of resources",
    "55P03": "another transaction holds a lock of the database for too long",
    "57014": "the database took too long",
    "57P01": "the database server shut the connection down",
    "57P02": "the database server crashed",
    "57P03": "the database takes no connections now",
    "57P04": "the database was dropped",
    "57P05": "the database server closed an idle connection",
    "58": "the database server has a system error",
    "XX": "the database server has an internal error",
}


def failure_reason(error: BaseException) -> str:
    """Return in a few words why a call of the database failed, without any name from it."""
    state = sqlstate_of(error)
    if state is not None:
        return next((words for begin, words in _REASONS.items() if state.startswith(begin)), "the database refuses")
    cause = _cause(error)
    if isinstance(cause, UnfitConnectionError):
        return cause.reason
    if isinstance(cause, ssl.SSLError):
        return "the encrypted connection to the database failed"
    return _UNREACHABLE if _is_of_the_network(cause) else "the connection to the database failed"


def describe_failure(error: BaseException) -> str:
    """Return one line: `failure_reason` and what the server, the driver or the system said."""
    cause = _cause(error)
    if isinstance(cause, UnfitConnectionError):
        return str(cause)
    message = (getattr(cause, "message", None) or str(cause)).partition("\n")[0]
    if not message:
        message = "no answer in time" if isinstance(cause, TimeoutError) else type(cause).__name__
    return f"{failure_reason(error)}: {message}"


def _is_of_the_network(cause: BaseException) -> bool:
    if isinstance(cause, TimeoutError | socket.gaierror):
        return True
    # Of a host with several addresses asyncio raises one error without a number, with what became of each.
    is_of_several = type(cause) is OSError and cause.errno is None
    return isinstance(cause, OSError) and (is_of_several or cause.errno in _NETWORK_ERRORS)


def _cause(error: BaseException) -> BaseException:
    # SQLAlchemy wraps its adapter's error, and the adapter the driver's, whose words are the server's.
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error

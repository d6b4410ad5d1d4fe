"""What an API key may be used for."""

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """A kind of use; a write scope includes its read scope."""

    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    PROJECTS_READ = "projects:read"
    PROJECTS_WRITE = "projects:write"
    ACCOUNT = "account"
    ADMIN = "admin"


DESCRIPTIONS = {
    Scope.TASKS_READ: "Read tasks and comments",
    Scope.TASKS_WRITE: "Read and change tasks and comments",
    Scope.PROJECTS_READ: "Read projects and their members",
    Scope.PROJECTS_WRITE: "Read and change projects and their members",
    Scope.ACCOUNT: "Change the account, its logins and its keys",
    Scope.ADMIN: "Manage the accounts of others; only administrators can have it",
}


def includes(granted: Iterable[str], needed: str) -> bool:
    """Return whether one of the granted scopes covers the needed one."""
    return any(scope == needed or scope.replace(":write", ":read") == needed for scope in granted)

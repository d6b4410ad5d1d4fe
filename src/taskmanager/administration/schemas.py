"""What administration routes answer."""

from taskmanager.accounts.schemas import UserRead
from taskmanager.field_types import ResponseModel, Timestamp


class UserList(ResponseModel):
    """Accounts, oldest first."""

    users: list[UserRead]
    next_cursor: str | None = None


class OwnerlessProject(ResponseModel):
    """A project none of whose owners can log in."""

    id: int
    name: str
    archived: bool
    created_at: Timestamp


class OwnerlessProjectList(ResponseModel):
    """Projects, oldest first."""

    projects: list[OwnerlessProject]
    next_cursor: str | None = None


class Done(ResponseModel):
    """What was done, in a sentence."""

    message: str

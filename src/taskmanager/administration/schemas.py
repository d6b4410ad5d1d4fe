"""What administration routes answer."""

from taskmanager.accounts.schemas import UserRead
from taskmanager.field_types import ResponseModel


class UserList(ResponseModel):
    """Accounts, oldest first."""

    users: list[UserRead]
    next_cursor: str | None = None


class Done(ResponseModel):
    """What was done, in a sentence."""

    message: str

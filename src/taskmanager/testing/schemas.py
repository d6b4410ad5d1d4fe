"""What the routes for tests take and answer."""

from typing import Annotated

from pydantic import Field

from taskmanager.accounts.schemas import Email, NewPassword, Token, Username, UserRead
from taskmanager.accounts.tokens import LONGEST_LIFETIME_SECONDS
from taskmanager.field_types import UNCHANGED, RequestModel

LifetimeSeconds = Annotated[int, Field(ge=1, le=LONGEST_LIFETIME_SECONDS)]


class DisposableUserCreate(RequestModel):
    """A user for a test; what is left out is made up."""

    username: Username = UNCHANGED
    email: Email = UNCHANGED
    password: NewPassword = UNCHANGED
    is_admin: bool = False
    access_token_seconds: LifetimeSeconds = UNCHANGED


class DisposableUser(Token):
    """A user for a test, who is logged in."""

    user: UserRead
    password: str

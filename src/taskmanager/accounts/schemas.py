"""What account routes take and answer."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic.networks import validate_email

from taskmanager.field_types import RequestModel, ResponseModel, Timestamp

PASSWORD_MAX_CHARACTERS = 128

Username = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_]{3,50}$")]


def _normal_email(value: str) -> str:
    # Checks the form only: no look-up of the domain.
    return validate_email(value)[1].lower()


Email = Annotated[
    str,
    StringConstraints(max_length=255, pattern=r"^[^\x00]*$"),
    AfterValidator(_normal_email),
    Field(json_schema_extra={"format": "email"}),
]
Password = Annotated[SecretStr, Field(max_length=PASSWORD_MAX_CHARACTERS)]


class UserCreate(RequestModel):
    """A new account."""

    username: Username
    email: Email
    password: Annotated[SecretStr, Field(min_length=8, max_length=PASSWORD_MAX_CHARACTERS)]


class UserRead(ResponseModel):
    """An account, as its owner sees it."""

    id: int
    username: str
    email: str
    disabled: bool
    is_admin: bool
    created_at: Timestamp


class Token(ResponseModel):
    """The answer to a login (RFC 6749, section 5.1)."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105  # the name of a kind, not a secret
    expires_in: int = Field(description="Lifetime of the access token, in seconds.")
    refresh_token: str

"""What account routes take and answer."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints

from taskmanager.accounts.names import LONGEST_EMAIL, normal_email, normal_username
from taskmanager.accounts.password.rules import MAX_CHARACTERS, normal_password
from taskmanager.accounts.scopes import Scope
from taskmanager.field_types import UNCHANGED, Line, Moment, RequestModel, ResponseModel, Timestamp


def _trim(value: Any) -> Any:
    """Return a name or an address without what a hand or a program leaves around it."""
    return normal_username(value) if isinstance(value, str) else value


def _normal_password(value: Any) -> Any:
    """Return a password as it is hashed, so that its characters are counted after that."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return normal_password(value) if isinstance(value, str) else value


Username = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_]{3,50}$"), BeforeValidator(_trim)]
Email = Annotated[
    str,
    StringConstraints(max_length=LONGEST_EMAIL),
    AfterValidator(normal_email),
    Field(json_schema_extra={"format": "email"}),
    BeforeValidator(_trim),
]
DisplayName = Annotated[str, Line(100)]
# Whether there is such a zone is up to PostgreSQL, which counts the days.
TimeZone = Annotated[str, Line(100), Field(examples=["Europe/Berlin"])]
NewPassword = Annotated[
    SecretStr,
    Field(min_length=8, max_length=MAX_CHARACTERS, examples=["a better password"]),
    BeforeValidator(_normal_password),
]
RepeatedPassword = Annotated[SecretStr, Field(examples=["a better password"]), BeforeValidator(_normal_password)]
# Checked as it came, since it may have been hashed so.
# No longer password is ever stored, so a longer one is wrong, not invalid.
GivenPassword = Annotated[SecretStr, Field(max_length=10 * MAX_CHARACTERS, examples=["demo-password"])]
RefreshTokenText = Annotated[str, StringConstraints(max_length=500)]


class UserCreate(RequestModel):
    """A new account."""

    username: Annotated[Username, Field(examples=["grace"])]
    email: Annotated[Email, Field(examples=["grace@example.com"])]
    password: NewPassword


class UserUpdate(RequestModel):
    """Changes to an account; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "demo@example.org"}]})

    username: Username = UNCHANGED
    email: Email = UNCHANGED
    display_name: DisplayName | None = Field(default=None, description="Null shows the user name instead.")
    time_zone: TimeZone = UNCHANGED


class UserRead(ResponseModel):
    """An account, as its owner sees it."""

    id: int
    username: str
    email: str
    disabled: bool
    is_admin: bool
    display_name: str | None = Field(description="What others are shown; null for the user name.")
    time_zone: str = Field(description="Where the person's days begin and end, a name of the IANA's database.")
    created_at: Timestamp


class Token(ResponseModel):
    """The answer to a login (RFC 6749, section 5.1)."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105  # the name of a kind, not a secret
    expires_in: int = Field(description="Lifetime of the access token, in seconds.")
    refresh_token: str


class RefreshToken(RequestModel):
    """A refresh token, given back."""

    refresh_token: RefreshTokenText


class PasswordChange(RequestModel):
    """A new password, confirmed by the old one."""

    current_password: GivenPassword
    new_password: NewPassword
    confirm_password: RepeatedPassword


class PasswordConfirmation(RequestModel):
    """The caller's password, for what cannot be undone."""

    password: GivenPassword


class SessionRead(ResponseModel):
    """A login."""

    id: int
    user_agent: str | None
    created_at: Timestamp
    last_used_at: Timestamp = Field(description="When its tokens were last issued.")
    current: bool = Field(description="True for the login of this request.")


class SessionList(ResponseModel):
    """The caller's logins, newest first."""

    sessions: list[SessionRead]
    next_cursor: str | None = None


class ApiKeyCreate(RequestModel):
    """A new API key."""

    name: Annotated[str, Line(100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Moment | None = None


class ApiKeyRead(ResponseModel):
    """An API key; the secret part is never shown again."""

    id: int
    name: str
    prefix: str = Field(description="How the key begins.", examples=["tm_1_"])
    scopes: list[Scope]
    expires_at: Timestamp | None
    created_at: Timestamp
    last_used_at: Timestamp | None = Field(description="To the minute.")


class ApiKeyCreated(ApiKeyRead):
    """A new API key, with the key itself, this once."""

    key: str = Field(description="The key itself.", examples=["tm_1_c2VjcmV0"])


class ApiKeyList(ResponseModel):
    """The caller's API keys, newest first."""

    api_keys: list[ApiKeyRead]
    next_cursor: str | None = None

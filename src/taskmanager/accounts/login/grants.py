"""The form of the token route: what a client asks tokens for (RFC 6749, sections 4.3, 5.2 and 6)."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Form, Request
from fastapi.exceptions import RequestValidationError

from taskmanager.errors import UnsupportedGrantTypeError
from taskmanager.http.problems import Answer

_ERRORS: Final = {
    "invalid-grant": "invalid_grant",
    "wrong-login": "invalid_grant",
    "unsupported-grant-type": "unsupported_grant_type",
    "rate-limited": "temporarily_unavailable",
}


@dataclass(frozen=True)
class PasswordGrant:
    """A login with user name and password."""

    username: str
    password: str


@dataclass(frozen=True)
class RefreshGrant:
    """A login that goes on."""

    refresh_token: str


async def read_grant(
    request: Request,
    grant_type: Annotated[str | None, Form(description="`password`, also if left out, or `refresh_token`.")] = None,
    username: Annotated[str | None, Form(description="For the grant `password`.")] = None,
    password: Annotated[
        str | None, Form(description="For the grant `password`.", json_schema_extra={"format": "password"})
    ] = None,
    refresh_token: Annotated[str | None, Form(description="For the grant `refresh_token`.")] = None,
    scope: Annotated[str, Form(description="Ignored: a login may do all that its user may.")] = "",  # noqa: ARG001
    client_id: Annotated[str | None, Form(description="Ignored.")] = None,  # noqa: ARG001
    client_secret: Annotated[  # noqa: ARG001
        str | None, Form(description="Ignored.", json_schema_extra={"format": "password"})
    ] = None,
) -> PasswordGrant | RefreshGrant:
    """Return what the client asks tokens for; a field without a value counts as left out.

    Raises:
        UnsupportedGrantTypeError: It is neither of the two.
        fastapi.exceptions.RequestValidationError: A field is missing or repeated.
    """
    given = Counter(name for name, _ in (await request.form()).multi_items())
    _require_none([name for name, times in given.items() if times > 1], "Give this field once", "repeated")
    if grant_type == "refresh_token":
        _require_none([] if refresh_token else ["refresh_token"], "Field required", "missing")
        return RefreshGrant(refresh_token or "")
    if grant_type not in {None, "password"}:
        raise UnsupportedGrantTypeError
    values = {"username": username, "password": password}
    _require_none([name for name, value in values.items() if not value], "Field required", "missing")
    return PasswordGrant(username or "", password or "")


def _require_none(names: list[str], msg: str, kind: str) -> None:
    if names:
        raise RequestValidationError([{"loc": ("body", name), "msg": msg, "type": kind} for name in sorted(names)])


def token_error(answer: Answer) -> dict[str, str]:
    """Return the members that OAuth's clients read from an error."""
    unavailable = "temporarily_unavailable" if answer.status == 503 else "invalid_request"
    code = "server_error" if answer.status == 500 else _ERRORS.get(answer.kind, unavailable)
    return {"error": code, "error_description": answer.detail}

"""What a client asks tokens for (RFC 6749, sections 4.3, 5.2 and 6), in a form or in JSON."""

from collections import Counter
from typing import Any, Final, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, SecretStr, ValidationError

from taskmanager.errors import UnsupportedGrantTypeError
from taskmanager.field_types import RequestModel
from taskmanager.http.json_bodies import JSON, is_one_of
from taskmanager.http.problems import Answer

_ERRORS: Final = {
    "invalid-grant": "invalid_grant",
    "wrong-login": "invalid_grant",
    "unsupported-grant-type": "unsupported_grant_type",
    "rate-limited": "temporarily_unavailable",
}


class _Grant(RequestModel):
    scope: str = Field(default="", description="Ignored: a login may do all that its user may.")
    client_id: str = Field(default="", description="Ignored.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="Ignored.", json_schema_extra={"default": ""})


class PasswordGrant(_Grant):
    """A login with user name and password."""

    grant_type: Literal["password"] = Field(default="password", description="May be left out.")
    username: str = Field(description="The user name.", examples=["demo"])
    password: SecretStr = Field(description="The password.")


class RefreshGrant(_Grant):
    """A login that goes on."""

    grant_type: Literal["refresh_token"] = Field(description="Says that a login goes on.")
    refresh_token: str = Field(description="The refresh token of the last answer.")


_GRANTS: Final[dict[str, type[PasswordGrant | RefreshGrant]]] = {
    "password": PasswordGrant,
    "refresh_token": RefreshGrant,
}
_SCHEMA: Final = {
    "title": "TokenRequest",
    "description": "What a client asks tokens for.",
    "oneOf": [model.model_json_schema() for model in _GRANTS.values()],
}
# JSON alone: clients of openapi-python-client send a body of several types in all of them at once.
TOKEN_REQUEST: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {JSON: {"schema": _SCHEMA}}}}


async def read_grant(request: Request) -> PasswordGrant | RefreshGrant:
    """Return what the client asks tokens for; a field without a value counts as left out.

    Raises:
        UnsupportedGrantTypeError: It is neither of the two.
        fastapi.exceptions.RequestValidationError: A field is missing, repeated or no text, or unknown in JSON.
    """
    is_json = is_one_of((JSON,), request.headers.get("content-type", "").encode("latin-1")) and await request.body()
    fields = _fields_of_json(await request.json()) if is_json else await _fields_of_form(request)
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    grant_type = given.get("grant_type", "password")
    model = _GRANTS.get(grant_type) if isinstance(grant_type, str) else PasswordGrant
    if model is None:
        raise UnsupportedGrantTypeError
    if not is_json:
        # RFC 6749, section 3.2: unknown parameters of the form are ignored.
        given = {name: value for name, value in given.items() if name in model.model_fields}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False, include_input=False)]
        ) from None


def _fields_of_json(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise RequestValidationError([{"loc": ("body",), "msg": "must be an object", "type": "dict_type"}])
    return document


async def _fields_of_form(request: Request) -> dict[str, Any]:
    fields = (await request.form()).multi_items()
    await request.close()  # a file is refused, as every value that is no text
    repeated = [name for name, times in Counter(name for name, _ in fields).items() if times > 1]
    if repeated:
        raise RequestValidationError(
            [{"loc": ("body", name), "msg": "Give this field once", "type": "repeated"} for name in sorted(repeated)]
        )
    return dict(fields)


def token_error(answer: Answer) -> dict[str, str]:
    """Return the members that OAuth's clients read from an error."""
    unavailable = "temporarily_unavailable" if answer.status == 503 else "invalid_request"
    code = "server_error" if answer.status == 500 else _ERRORS.get(answer.kind, unavailable)
    return {"error": code, "error_description": answer.detail}

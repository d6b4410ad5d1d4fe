"""The one table from exceptions to HTTP answers, all of them `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from taskmanager import errors
from taskmanager.database.driver_errors import is_transient, sqlstate_of
from taskmanager.http.problem_kinds import PROBLEM_KINDS, PROBLEMS_PAGE
from taskmanager.http.problem_statuses import schema_name
from taskmanager.http.validation_messages import limits_of, message_of

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True)
class Answer:
    """How an exception is answered: by a problem of this kind, one of `PROBLEM_KINDS`."""

    kind: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The status of all problems of this kind."""
        return PROBLEM_KINDS[self.kind].status


_BEARER = {"WWW-Authenticate": "Bearer"}
_INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
_RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}


_EXPIRED = {
    "epoch": "The cursor was made before the database was restored, copied or replaced by its standby.",
    "retention": "What happened since the cursor is not all kept any more.",
    "ahead": "The cursor names something that has not happened here.",
}


def _field_error(loc: Iterable[str | int], msg: str, kind: str) -> dict[str, Any]:
    return {"loc": list(loc), "msg": msg, "type": kind}


def _refused_value(error: Mapping[str, Any]) -> dict[str, Any]:
    limits = limits_of(error)
    found = _field_error(error["loc"], message_of(error), error["type"])
    return {**found, "limits": limits} if limits else found


def _invalid(field_errors: list[dict[str, Any]]) -> Answer:
    return Answer("invalid", "The request has values that cannot be accepted.", extra={"errors": field_errors})


def _unavailable() -> Answer:
    return Answer("unavailable", "The database is not available right now; try again.", _RETRY)


_HEADERS = {
    "If-Match": ': send the ETag as it came, such as "3"',
    "Idempotency-Key": ": send 1 to 255 printable ASCII characters, with a login or an API key of an account",
}

# A test walks all subclasses of TaskManagerError and fails for one that is missing here.
DOMAIN_ANSWERS: dict[type[errors.TaskManagerError], Callable[[Any], Answer]] = {
    errors.DatabaseUnavailableError: lambda _: _unavailable(),
    errors.ContentTooLargeError: lambda e: Answer(
        "content-too-large", f"The body may have at most {e.limit_bytes} bytes.", {"Connection": "close"}
    ),
    errors.UnsupportedContentTypeError: lambda e: Answer(
        "unsupported-content-type",
        f"This route takes {' or '.join(e.accepted)}: name it in Content-Type.",
        {"Accept": ", ".join(e.accepted), **({"Accept-Patch": ", ".join(e.accepted)} if e.is_patch else {})},
    ),
    errors.UnsupportedContentEncodingError: lambda _: Answer(
        "unsupported-content-encoding",
        "The body may not be compressed: send it as it is, without Content-Encoding.",
        {"Accept-Encoding": "identity"},
    ),
    errors.MalformedBodyError: lambda e: Answer("malformed-body", f"The body cannot be read: {e.reason}."),
    errors.MalformedHeaderError: lambda e: Answer(
        "malformed-header", f"The header {e.name} cannot be read{_HEADERS.get(e.name, '')}."
    ),
    errors.InvalidCursorError: lambda _: Answer(
        "invalid-cursor", "The cursor does not belong to this list: begin without one."
    ),
    errors.CursorExpiredError: lambda e: Answer(
        "cursor-expired",
        f"{_EXPIRED[e.reason]} Load everything anew, by a request without `since`.",
        extra={"reason": e.reason},
    ),
    errors.UnauthenticatedError: lambda _: Answer("unauthenticated", "Log in first.", _BEARER),
    errors.InvalidTokenError: lambda _: Answer(
        "invalid-token", "The token is not valid, or not valid any more: log in again.", _INVALID_TOKEN
    ),
    errors.WrongLoginError: lambda _: Answer("wrong-login", "Incorrect username or password.", _BEARER),
    errors.InvalidGrantError: lambda _: Answer(
        "invalid-grant", "The refresh token is not valid, or not valid any more: log in again."
    ),
    errors.UnsupportedGrantTypeError: lambda _: Answer(
        "unsupported-grant-type", "The grant_type must be password or refresh_token."
    ),
    errors.WrongPasswordError: lambda _: Answer("wrong-password", "The password is not right."),
    errors.WrongAdminKeyError: lambda _: Answer("wrong-admin-key", "The key is not valid for administration."),
    errors.AdministratorOnlyError: lambda _: Answer(
        "administrator-only", "Only administrators can make a key with the scope admin."
    ),
    errors.ScopeMissingError: lambda e: Answer(
        "scope-missing", f"The API key lacks the scope {e.scope}: use a key that has it.", extra={"scope": e.scope}
    ),
    errors.InvalidValueError: lambda e: _invalid([_field_error(e.loc, e.message, e.kind)]),
    errors.UnknownQueryParameterError: lambda e: _invalid(
        [_field_error(("query", name), "Unknown query parameter", "extra_forbidden") for name in e.names]
    ),
    errors.RepeatedQueryParameterError: lambda e: _invalid(
        [_field_error(("query", name), "Give this query parameter once", "repeated") for name in e.names]
    ),
    errors.NotFoundError: lambda e: Answer(
        "not-found", f"There is no such {e.what}.", extra={} if e.index is None else {"index": e.index}
    ),
    errors.RoleTooLowError: lambda e: Answer("role-too-low", f"This needs the role {e.needed} in the project."),
    errors.NotAuthorError: lambda _: Answer(
        "not-author", "Only the author of a comment and the owners of the project may change it."
    ),
    errors.ProjectArchivedError: lambda _: Answer(
        "project-archived", "The project is archived; bring it back before changing anything in it."
    ),
    errors.StaleVersionError: lambda e: Answer(
        "stale-version",
        "It has changed since the version that you know: read it again and send its ETag in If-Match.",
        {} if e.index is not None else {"ETag": f'"{e.current_version}"'},
        {
            "current_version": e.current_version,
            "changed_fields": e.changed_fields,
            **({} if e.index is None else {"index": e.index}),
        },
    ),
    errors.PreconditionRequiredError: lambda _: Answer(
        "precondition-required", "Say in If-Match which version you replace."
    ),
    errors.IdempotencyKeyInUseError: lambda _: Answer(
        "idempotency-key-in-use", "The same request is running now; try again.", _RETRY
    ),
    errors.IdempotencyKeyReusedError: lambda _: Answer(
        "idempotency-key-reused", "The Idempotency-Key was used for a request with another body: take a new one."
    ),
    errors.PersonalProjectError: lambda e: Answer("personal-project", f"Your Inbox cannot be {e.action}."),
    errors.LastOwnerError: lambda _: Answer(
        "last-owner",
        "The project would be left without an owner who can log in; make another member its owner first.",
    ),
    errors.LastAdministratorError: lambda _: Answer(
        "last-administrator",
        "Nobody else who can log in is an administrator; make another one first.",
    ),
    errors.AlreadyMemberError: lambda _: Answer("already-member", "This person is a member already."),
    errors.OwnsSharedProjectsError: lambda e: Answer(
        "owns-shared-projects",
        "First make another member who can log in the owner of these projects, or delete them: "
        + ", ".join(name for _, name in e.projects)
        + ".",
        extra={"projects": [{"id": project_id, "name": name} for project_id, name in e.projects]},
    ),
    errors.AlreadyTakenError: lambda e: Answer(
        "already-taken", f"This {e.field} is already taken: choose another.", extra={"field": e.field}
    ),
    errors.WebhookInactiveError: lambda e: Answer(
        "webhook-inactive",
        "The webhook is disabled: enable it first."
        if e.state == "disabled"
        else "The webhook is paused, because the database was restored or copied: an operator has to resume it.",
        extra={"state": e.state},
    ),
    errors.MessageGoneError: lambda _: Answer(
        "message-gone", "The body of the message is not kept any more: ask for a replay instead."
    ),
    errors.LimitReachedError: lambda e: Answer(
        "limit-reached", f"There may be {e.most} {e.what} at most.", extra={"limit": e.most}
    ),
    errors.TooManyTasksError: lambda e: Answer(
        "too-many-tasks",
        f"This would change {e.number} tasks, and one request may change {e.most} at most.",
        extra={"tasks": e.number, "limit": e.most},
    ),
    errors.RateLimitedError: lambda e: Answer(
        "rate-limited",
        f"Too many {e.what}; try again in {e.seconds} seconds.",
        {"Retry-After": str(e.seconds)},
    ),
    errors.OverloadedError: lambda e: Answer("overloaded", f"Too many {e.what} at once; try again.", _RETRY),
    errors.NotAcceptableError: lambda e: Answer(
        "not-acceptable", f"The answer is {e.media_type}: take it in Accept, or leave that out."
    ),
    errors.StreamsUnsupportedError: lambda _: Answer(
        "streams-unsupported", "This deployment cannot hold streams: ask for changes by `GET /api/v1/changes`."
    ),
    errors.NotReadyError: lambda e: Answer("not-ready", f"Not ready: {e.reason}.", _RETRY),
}


_OF_ROUTING = {404: "There is nothing at this path.", 405: "This path does not take this method."}
_HTTP_KINDS = {400: "malformed-body", 401: "unauthenticated", 404: "not-found", 405: "method-not-allowed"}


def _for_http(error: HTTPException) -> Answer | None:
    kind = _HTTP_KINDS.get(error.status_code)
    if kind is None:
        return None
    return Answer(kind, _OF_ROUTING.get(error.status_code) or str(error.detail), dict(error.headers or {}))


def answer_to(error: BaseException) -> Answer:
    """Return the answer to an exception; anything unknown is a 500 that does not name its cause."""
    known: Answer | None = None
    if isinstance(error, errors.TaskManagerError):
        known = DOMAIN_ANSWERS[type(error)](error)
    elif isinstance(error, RequestValidationError):
        known = _invalid([_refused_value(e) for e in error.errors()])
    elif isinstance(error, HTTPException):
        known = _for_http(error)
    elif is_transient(error):
        known = _unavailable()
    return known or Answer("internal", "Something went wrong here; the request id leads to it in the logs.")


_CAUSES = {"57014": "statement_timeout", "55P03": "lock_timeout", "40001": "conflict", "40P01": "conflict"}


def unavailable_cause(error: BaseException) -> str:
    """Return in one of a few words what was out of reach or overloaded for an exception that is answered 503."""
    if isinstance(error, errors.DatabaseUnavailableError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, errors.TaskManagerError):
        return answer_to(error).kind.replace("-", "_")
    if isinstance(error, PoolTimeoutError):
        return "pool_timeout"
    if (state := sqlstate_of(error)) is not None:
        return _CAUSES.get(state, "database")
    return "command_timeout" if isinstance(error, TimeoutError) else "database"


def problem_response(answer: Answer, scope: Scope, prefix: str = "") -> Response:
    """Render an answer for the request of this scope, with the `problem_members` that its route has for it.

    Its `type` leads to the page of all problems, below the prefix under which the client finds the service.
    """
    state = scope.get("state", {})
    content: dict[str, Any] = {
        "type": f"{prefix}{PROBLEMS_PAGE}#{answer.kind}",
        "code": answer.kind,
        "title": HTTPStatus(answer.status).phrase,
        "status": answer.status,
        "detail": answer.detail,
        "instance": scope.get("path", ""),
        "request_id": state.get("request_id", ""),
        **answer.extra,
        **(state["problem_members"](answer) if "problem_members" in state else {}),
    }
    # Names sent by the client may hold lone surrogates, which UTF-8 cannot carry.
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status_code=answer.status, headers=dict(answer.headers), media_type=MEDIA_TYPE)


_DESCRIPTIONS = {
    304: "The client has this version already",
    400: "The body, a header or the cursor cannot be read",
    401: "No valid credential",
    403: "The caller may not do this",
    404: "No such thing, or not visible to the caller",
    406: "The client takes no answer of this media type",
    409: "In conflict with what is there",
    410: "The cursor leads nowhere any more, so load everything anew; or what is asked for is not kept any more",
    412: "Changed since the version in If-Match",
    413: "The body is too large",
    415: "The body has another content type, or is compressed",
    422: "Values that cannot be accepted",
    428: "If-Match is required by this server",
    429: "Too many requests; try again after `Retry-After` seconds",
    501: "Streams cannot be held where the service runs",
    503: "Not available right now; try again after `Retry-After` seconds",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of the given statuses, all but 304 with a problem document."""
    return {status: _described(status) for status in statuses}


def _described(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _DESCRIPTIONS[status]}
    if status >= 400:
        response["content"] = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema_name(status)}"}}}
    return response

"""Every kind of problem that the service answers: its status, what it means, the way out, and the members it adds.

The answers, their description and the page `/docs/problems` all come from this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_INDEX: Final = {"type": "integer", "description": "Place of the element in the request, from 0."}
_ERRORS: Final = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/FieldError"},
    "description": "Each value that was refused.",
}


@dataclass(frozen=True)
class ProblemKind:
    """A kind of problem; `members` are the JSON schemas of what its documents have besides those of every problem."""

    code: str
    status: int
    meaning: str
    way_out: str
    members: Mapping[str, Any] = field(default_factory=dict)


_TABLE: Final = (
    ProblemKind(
        "malformed-request", 400, "The bytes received are no HTTP request.", "Send HTTP/1.1, as HTTP libraries do."
    ),
    ProblemKind(
        "malformed-body",
        400,
        "The body is not what its content type says: no JSON, not UTF-8, or a field given twice.",
        "Send one JSON document in UTF-8; `detail` says where reading stopped.",
    ),
    ProblemKind(
        "malformed-header",
        400,
        "A header cannot be read, or is given twice.",
        "Send the header that `detail` names once, in the form that it describes.",
    ),
    ProblemKind(
        "invalid-cursor",
        400,
        "The cursor is not one of this list with these filters, this order and this caller.",
        "Begin without a cursor, and change nothing else while you follow one.",
    ),
    ProblemKind(
        "invalid-grant",
        400,
        "The refresh token of an OAuth request is not valid, or not valid any more.",
        "Log in again with user name and password.",
    ),
    ProblemKind(
        "unsupported-grant-type",
        400,
        "The token route knows no such `grant_type`.",
        "Send `password` or `refresh_token`.",
    ),
    ProblemKind(
        "cors-refused",
        400,
        "A browser asks for a page of another origin that is not allowed.",
        "Add the page's origin to `ALLOWED_ORIGINS`, or serve page and API from one origin.",
    ),
    ProblemKind(
        "unauthenticated", 401, "The request has no credential.", "Log in and send `Authorization: Bearer ...`."
    ),
    ProblemKind(
        "invalid-token",
        401,
        "The access token, refresh token or API key is wrong, expired or revoked.",
        "Refresh the login once; if that fails, log in again. An API key has to be replaced.",
    ),
    ProblemKind(
        "wrong-login",
        401,
        "User name and password do not belong together, or the account is disabled.",
        "Ask for both again.",
    ),
    ProblemKind("wrong-password", 403, "The password that confirms the request is not right.", "Ask for it again."),
    ProblemKind(
        "wrong-admin-key",
        403,
        "The key is not one of an administrator.",
        "Use an API key of an administrator with the scope `admin`, or the service's `API_KEY`.",
    ),
    ProblemKind(
        "administrator-only",
        403,
        "Only an administrator can make a key with the scope `admin`.",
        "Leave the scope out, or have an administrator make the key.",
    ),
    ProblemKind(
        "scope-missing",
        403,
        "The API key was not made for this.",
        "Use a key with the scope in `scope`.",
        {"scope": {"type": "string", "description": "The scope that the API key lacks."}},
    ),
    ProblemKind(
        "role-too-low",
        403,
        "The caller is a member of the project, but only a higher role may do this.",
        "Ask an owner of the project for the role that `detail` names.",
    ),
    ProblemKind(
        "not-author",
        403,
        "Only the author of a comment and the owners of its project may change it.",
        "Do not offer the change to others.",
    ),
    ProblemKind(
        "not-found",
        404,
        "There is nothing at this path, or the caller may not see it.",
        "Drop what you know of it; it was deleted, or the caller's access has ended.",
        {"index": _INDEX},
    ),
    ProblemKind(
        "method-not-allowed", 405, "The path does not take this method.", "Use a method that the header `Allow` names."
    ),
    ProblemKind(
        "not-acceptable",
        406,
        "The answer has another media type than the request takes.",
        "Name the type that `detail` says in Accept, or leave the header out.",
    ),
    ProblemKind(
        "project-archived",
        409,
        "The project is archived, so nothing in it can be changed.",
        'Bring it back first: PATCH the project with `{"archived": false}`.',
    ),
    ProblemKind(
        "idempotency-key-in-use",
        409,
        "A request with the same Idempotency-Key is running now.",
        "Send the same request again after `Retry-After` seconds.",
    ),
    ProblemKind(
        "limit-reached",
        409,
        "There are as many of something in the project as there may be.",
        "Delete one first; `detail` says what.",
        {"limit": {"type": "integer", "description": "How many there may be."}},
    ),
    ProblemKind(
        "too-many-tasks",
        409,
        "The request would change more tasks than one request may.",
        "Move or delete some of the tasks first.",
        {
            "tasks": {"type": "integer", "description": "How many tasks it would change."},
            "limit": {"type": "integer", "description": "How many one request may change."},
        },
    ),
    ProblemKind(
        "webhook-inactive",
        409,
        "The webhook is disabled or paused, so nothing is sent.",
        "Enable it by a PATCH; after a restore of the database an operator has to resume it.",
        {"state": {"type": "string", "description": "`disabled` or `paused`."}},
    ),
    ProblemKind("personal-project", 409, "An Inbox can be neither archived, shared nor deleted.", "Make a project."),
    ProblemKind(
        "last-owner",
        409,
        "The project would be left without an owner who can log in.",
        "Make another member its owner first.",
    ),
    ProblemKind(
        "last-administrator",
        409,
        "The service would be left without an administrator who can log in.",
        "Make another account an administrator first.",
    ),
    ProblemKind("already-member", 409, "The person is a member already.", "Change the role by PUT instead."),
    ProblemKind(
        "owns-shared-projects",
        409,
        "The account is the only owner who can log in of projects with other members.",
        "Make another member the owner of each project in `projects`, or delete it.",
        {
            "projects": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/OwnedProject"},
                "description": "The projects that need another owner.",
            }
        },
    ),
    ProblemKind(
        "already-taken",
        409,
        "Another account has this user name or e-mail address.",
        "Choose another value for the field that `field` names.",
        {"field": {"type": "string", "description": "The field whose value is taken, such as `username`."}},
    ),
    ProblemKind(
        "message-gone",
        410,
        "The body of the webhook's message is not kept any more.",
        "Ask for a replay from a cursor instead.",
    ),
    ProblemKind(
        "cursor-expired",
        410,
        "The cursor leads nowhere any more.",
        "Load everything anew, by a request without `since`.",
        {
            "reason": {
                "type": "string",
                "x-extensible-enum": ["epoch", "retention", "ahead"],
                "description": "Why: the database was replaced (`epoch`), events are not kept that long (`retention`), "
                "or the cursor is of something that has not happened here (`ahead`). There may be others later.",
            }
        },
    ),
    ProblemKind(
        "stale-version",
        412,
        "The thing has changed since the version that the request names.",
        "Read it again, apply the change to what is there now, and send its ETag in If-Match.",
        {
            "current_version": {"type": "integer", "description": "The version that is there now."},
            "changed_fields": {
                "type": ["array", "null"],
                "items": {"type": "string"},
                "description": "Names of the fields that changed since; null if that is not known.",
            },
            "index": _INDEX,
        },
    ),
    ProblemKind(
        "content-too-large", 413, "The body is larger than the service takes.", "Send less; `detail` has the limit."
    ),
    ProblemKind(
        "unsupported-content-type",
        415,
        "The route does not take a body of this content type.",
        "Send one that the header `Accept` of the answer names.",
    ),
    ProblemKind("unsupported-content-encoding", 415, "The body is compressed.", "Send it without Content-Encoding."),
    ProblemKind(
        "invalid",
        422,
        "Values of the body, the query or the path cannot be accepted.",
        "Show each message of `errors` at the field that its `loc` names.",
        {"errors": _ERRORS},
    ),
    ProblemKind(
        "idempotency-key-reused",
        422,
        "The Idempotency-Key was used for a request with another body.",
        "Make a new key for each new request; keep it for its retries only.",
    ),
    ProblemKind(
        "precondition-required",
        428,
        "This server takes changes only with the version that they replace.",
        "Send the ETag of what you read in If-Match.",
    ),
    ProblemKind(
        "rate-limited",
        429,
        "The caller has made all requests, or all failed attempts, of this minute.",
        "Wait for `Retry-After` seconds.",
    ),
    ProblemKind(
        "headers-too-large", 431, "The headers are larger than the service takes.", "Send fewer or shorter ones."
    ),
    ProblemKind(
        "internal",
        500,
        "Something went wrong in the service.",
        "Report `request_id` to the operator; the log has the cause under that id.",
    ),
    ProblemKind(
        "streams-unsupported",
        501,
        "This deployment buffers its answers, so it cannot hold streams.",
        "Ask for changes by `GET /api/v1/changes`.",
    ),
    ProblemKind(
        "unavailable",
        503,
        "The database is out of reach or too slow right now.",
        "Send the request again after `Retry-After` seconds; a write with the same Idempotency-Key.",
    ),
    ProblemKind(
        "overloaded",
        503,
        "More requests of this kind wait than the service takes on.",
        "Send the request again after `Retry-After` seconds; a write with the same Idempotency-Key.",
    ),
    ProblemKind("not-ready", 503, "The process cannot serve requests now.", "Send requests to another process."),
)
PROBLEM_KINDS: Final[Mapping[str, ProblemKind]] = {kind.code: kind for kind in _TABLE}
PROBLEMS_PAGE: Final = "/docs/problems"

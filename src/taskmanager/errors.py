"""What can go wrong, as flat domain exceptions that carry data and know nothing of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass


class TaskManagerError(Exception):
    """Base of every error that a caller may see."""


@dataclass(eq=False)
class DatabaseUnavailableError(TaskManagerError):
    """The database did not answer; `cause` is for the log."""

    cause: str


@dataclass(eq=False)
class ContentTooLargeError(TaskManagerError):
    """The request's body is longer than the service accepts."""

    limit_bytes: int


@dataclass(eq=False)
class UnsupportedContentTypeError(TaskManagerError):
    """The request's body has another content type than those that the route takes."""

    accepted: Sequence[str]
    is_patch: bool = False


@dataclass(eq=False)
class UnsupportedContentEncodingError(TaskManagerError):
    """The request's body is compressed."""


@dataclass(eq=False)
class MalformedBodyError(TaskManagerError):
    """The request's body is not what its content type says."""

    reason: str


@dataclass(eq=False)
class MalformedHeaderError(TaskManagerError):
    """A header of the request is not what its definition says."""

    name: str


@dataclass(eq=False)
class InvalidCursorError(TaskManagerError):
    """The cursor was bent, or belongs to another list, filter, sort or user."""


@dataclass(eq=False)
class CursorExpiredError(TaskManagerError):
    """The cursor leads nowhere any more; `reason` is "epoch", "retention" or "ahead"."""

    reason: str


@dataclass(eq=False)
class UnauthenticatedError(TaskManagerError):
    """The request names no caller."""


@dataclass(eq=False)
class InvalidTokenError(TaskManagerError):
    """The credential is forged, expired, revoked or of another kind."""


@dataclass(eq=False)
class WrongLoginError(TaskManagerError):
    """User name and password don't belong together; never says which of them is wrong."""


@dataclass(eq=False)
class InvalidGrantError(TaskManagerError):
    """The refresh token of an OAuth request is not good (RFC 6749, section 5.2)."""


@dataclass(eq=False)
class UnsupportedGrantTypeError(TaskManagerError):
    """An OAuth request asks for tokens in a way that the service does not know."""


@dataclass(eq=False)
class WrongPasswordError(TaskManagerError):
    """The password that confirms a change of the account is not the caller's."""


@dataclass(eq=False)
class WrongAdminKeyError(TaskManagerError):
    """The key for administration is not one."""


@dataclass(eq=False)
class AdministratorOnlyError(TaskManagerError):
    """Only an administrator may grant this."""


@dataclass(eq=False)
class ScopeMissingError(TaskManagerError):
    """The API key was not made for this."""

    scope: str


@dataclass(eq=False)
class InvalidValueError(TaskManagerError):
    """A value is well-formed but cannot be accepted; `loc` leads to it as in a validation error."""

    loc: tuple[str | int, ...]
    message: str
    kind: str = "value_error"


@dataclass(eq=False)
class UnknownQueryParameterError(TaskManagerError):
    """The query has parameters that the route does not know."""

    names: Sequence[str]


@dataclass(eq=False)
class RepeatedQueryParameterError(TaskManagerError):
    """The query gives parameters more than once that have a single value."""

    names: Sequence[str]


@dataclass(eq=False)
class NotFoundError(TaskManagerError):
    """There is no such thing, or the caller may not see it; the error does not say which.

    `index` is its place in a request for several.
    """

    what: str
    index: int | None = None


@dataclass(eq=False)
class RoleTooLowError(TaskManagerError):
    """The caller is a member of the project, but only a higher role may do this."""

    needed: str


@dataclass(eq=False)
class NotAuthorError(TaskManagerError):
    """Only the author of a comment and the owners of its project may change it."""


@dataclass(eq=False)
class ProjectArchivedError(TaskManagerError):
    """The project is archived, so nothing in it may change."""


@dataclass(eq=False)
class StaleVersionError(TaskManagerError):
    """The thing has changed since the version that the caller knows.

    `base_version` is that version, `changed_fields` the names of what changed since; None where unknown.
    """

    current_version: int
    base_version: int | None = None
    changed_fields: Sequence[str] | None = None
    index: int | None = None


@dataclass(eq=False)
class PreconditionRequiredError(TaskManagerError):
    """A write has to say which version it replaces."""


@dataclass(eq=False)
class IdempotencyKeyInUseError(TaskManagerError):
    """The same request is running now."""


@dataclass(eq=False)
class IdempotencyKeyReusedError(TaskManagerError):
    """The key was used for a request with another body."""


@dataclass(eq=False)
class PersonalProjectError(TaskManagerError):
    """A user's Inbox cannot be archived, shared or deleted."""

    action: str


@dataclass(eq=False)
class LastOwnerError(TaskManagerError):
    """A project keeps at least one owner who can log in."""


@dataclass(eq=False)
class LastAdministratorError(TaskManagerError):
    """The account is the only administrator who can log in."""


@dataclass(eq=False)
class AlreadyMemberError(TaskManagerError):
    """The person is a member of the project already."""


@dataclass(eq=False)
class OwnsSharedProjectsError(TaskManagerError):
    """The account is the only owner who can log in of projects with other members, whose ids and names these are."""

    projects: Sequence[tuple[int, str]]


@dataclass(eq=False)
class AlreadyTakenError(TaskManagerError):
    """Another account has this user name or e-mail address."""

    field: str


@dataclass(eq=False)
class WebhookInactiveError(TaskManagerError):
    """The webhook is `disabled` or `paused`, so nothing is sent."""

    state: str


@dataclass(eq=False)
class MessageGoneError(TaskManagerError):
    """The body of the message is not kept any more."""


@dataclass(eq=False)
class LimitReachedError(TaskManagerError):
    """There are as many of something as there may be."""

    what: str
    most: int


@dataclass(eq=False)
class TooManyTasksError(TaskManagerError):
    """The request would change `number` tasks, more than the `most` that one may."""

    number: int
    most: int


@dataclass(eq=False)
class RateLimitedError(TaskManagerError):
    """The caller has had all of something that there is for now; `seconds` until there is more."""

    what: str
    seconds: int


@dataclass(eq=False)
class OverloadedError(TaskManagerError):
    """More of this work is waiting than the service takes on."""

    what: str


@dataclass(eq=False)
class NotAcceptableError(TaskManagerError):
    """The client takes no answer of the one kind that there is."""

    media_type: str


@dataclass(eq=False)
class StreamsUnsupportedError(TaskManagerError):
    """What runs the service passes answers on only when they are complete, so that there can be no stream."""


@dataclass(eq=False)
class NotReadyError(TaskManagerError):
    """The process cannot serve requests now."""

    reason: str

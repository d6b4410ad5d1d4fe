"""What webhook routes take and answer."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from taskmanager.field_types import UNCHANGED, Line, RequestModel, ResponseModel, Timestamp
from taskmanager.http.pagination import CursorText
from taskmanager.webhooks.schedule import DeliveryState, DisabledReason

LONGEST_URL = 2_048


class WebhookState(StrEnum):
    """Whether a webhook is sent to.

    `failing`: several messages in a row were not accepted, so only the oldest is tried. `paused`: the database was
    restored or copied, and an operator has to resume.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    FAILING = "failing"
    DISABLED = "disabled"


class SecretState(StrEnum):
    """Whether the secret derives from SECRET_KEY; `rotate`: from the one before, so rotate it before that one goes.

    `lost`: the key that it derives from is gone, so the receiver refuses every signature.
    """

    CURRENT = "current"
    ROTATE = "rotate"
    LOST = "lost"


WebhookName = Annotated[str, Line(100)]
Url = Annotated[str, StringConstraints(max_length=LONGEST_URL)]
EventPattern = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,40}\.(\*|[a-z][a-z_]{0,40})$")]
Events = Annotated[
    list[EventPattern],
    Field(max_length=50, description="Types such as `comment.created` and `task.*`; empty for all."),
    AfterValidator(lambda events: sorted(set(events))),
]
_ALL: Any = Field(default_factory=list, json_schema_extra={"default": []})


class WebhookCreate(RequestModel):
    """A new webhook; its URL begins with https://."""

    name: WebhookName
    url: Url
    events: Events = _ALL
    enabled: Annotated[bool, Field(strict=True)] = True


class WebhookUpdate(RequestModel):
    """Changes to a webhook; what is left out stays as it is."""

    name: WebhookName = UNCHANGED
    url: Url = UNCHANGED
    events: Events = UNCHANGED
    enabled: Annotated[bool, Field(strict=True)] = UNCHANGED


class WebhookRead(ResponseModel):
    """A webhook, without its secret."""

    id: int
    project_id: int
    name: str
    url: str
    events: list[str]
    enabled: bool
    state: WebhookState
    disabled_reason: DisabledReason | None
    secret_state: SecretState
    secret_generation: int = Field(description="Goes up with each rotation.")
    failing_since: Timestamp | None = Field(description="The first failure after the last success.")
    last_success_at: Timestamp | None
    lag_seconds: int = Field(description="Age of the oldest event that was not looked at yet; 0 if there is none.")
    parked: int = Field(description="Messages that are tried again while later ones go on.")
    created_at: Timestamp
    updated_at: Timestamp


class WebhookWithSecret(WebhookRead):
    """A webhook with its secret, which is shown when it is made and rotated only."""

    secret: str


class WebhookList(ResponseModel):
    """The webhooks of a project, oldest first."""

    webhooks: list[WebhookRead]
    next_cursor: str | None = None


class Replay(RequestModel):
    """From where to send again."""

    since: CursorText = Field(description="The cursor of a message, of a page of changes or of an event.")


class DeliveryRead(ResponseModel):
    """A message and how its sending went."""

    id: int
    webhook_id: int
    message_id: str = Field(description="The header `webhook-id`, the same at each attempt.")
    type: str
    state: DeliveryState
    attempts: int
    created_at: Timestamp
    last_attempt_at: Timestamp | None
    next_attempt_at: Timestamp | None
    finished_at: Timestamp | None
    status: int | None = Field(description="Of the last answer.")
    error: str | None = Field(description="Why the last attempt failed.")


class DeliveryDetail(DeliveryRead):
    """A message with its body, which is kept for seven days after its end, and what the receiver answered."""

    body: str | None
    answer: str | None


class DeliveryList(ResponseModel):
    """The messages of a webhook, newest first."""

    deliveries: list[DeliveryRead]
    next_cursor: str | None = None

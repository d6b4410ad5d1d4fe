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
Url = Annotated[
    str,
    StringConstraints(max_length=LONGEST_URL),
    Field(description="Where messages are sent, by POST.", examples=["https://example.com/hooks/tasks"]),
]
EventPattern = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,40}\.(\*|[a-z][a-z_]{0,40})$")]
Events = Annotated[
    list[EventPattern],
    Field(max_length=50, description="Types such as `comment.created` and `task.*`; empty for all."),
    AfterValidator(lambda events: sorted(set(events))),
]
Enabled = Annotated[bool, Field(strict=True, description="Whether messages are sent.")]
_ALL: Any = Field(default_factory=list, json_schema_extra={"default": []})


class WebhookCreate(RequestModel):
    """A new webhook; its URL begins with https://."""

    name: WebhookName
    url: Url
    events: Events = _ALL
    enabled: Enabled = True


class WebhookUpdate(RequestModel):
    """Changes to a webhook; what is left out stays as it is."""

    name: WebhookName = UNCHANGED
    url: Url = UNCHANGED
    events: Events = UNCHANGED
    enabled: Enabled = UNCHANGED


class WebhookRead(ResponseModel):
    """A webhook, without its secret."""

    id: int
    project_id: int
    name: str
    url: str = Field(description="Where messages are sent, by POST.", examples=["https://example.com/hooks/tasks"])
    events: list[str] = Field(description="Types of events that are sent; empty for all.")
    enabled: bool = Field(description="Whether messages are sent.")
    state: WebhookState = Field(description="Whether it is sent to. There may be other states later.")
    disabled_reason: DisabledReason | None = Field(
        description="Why it is disabled; null while it is not. There may be other reasons later."
    )
    secret_state: SecretState = Field(description="Whether the secret has to be rotated.")
    secret_generation: int = Field(description="Goes up with each rotation.")
    failing_since: Timestamp | None = Field(description="The first failure after the last success.")
    last_success_at: Timestamp | None = Field(description="When a message was last accepted; null for never.")
    lag_seconds: int = Field(description="Age of the oldest event that was not looked at yet; 0 if there is none.")
    parked: int = Field(description="Messages that are tried again while later ones go on.")
    created_at: Timestamp
    updated_at: Timestamp


class WebhookWithSecret(WebhookRead):
    """A webhook with its secret, which is shown when it is made and rotated only."""

    secret: str = Field(description="With which signatures are checked.", examples=["whsec_c2VjcmV0"])


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
    message_id: str = Field(description="The header `webhook-id`, the same at each attempt.", examples=["msg_1_0_7"])
    type: str = Field(description="The type of the event, such as `task.updated`.", examples=["task.updated"])
    state: DeliveryState = Field(description="How the sending goes. There may be other states later.")
    attempts: int = Field(description="How often it was tried.")
    created_at: Timestamp
    last_attempt_at: Timestamp | None = Field(description="When it was last tried; null for not yet.")
    next_attempt_at: Timestamp | None = Field(description="When it is tried again; null once it is final.")
    finished_at: Timestamp | None = Field(description="When it was final; null as long as it is not.")
    status: int | None = Field(description="Of the last answer; null if there was none.", examples=[204])
    error: str | None = Field(description="Why the last attempt failed.")


class DeliveryDetail(DeliveryRead):
    """A message with its body, which is kept for seven days after its end, and what the receiver answered."""

    body: str | None = Field(description="The JSON document that was sent; null once it is not kept any more.")
    answer: str | None = Field(description="The beginning of the last answer; null if there was none.")


class DeliveryList(ResponseModel):
    """The messages of a webhook, newest first."""

    deliveries: list[DeliveryRead]
    next_cursor: str | None = None

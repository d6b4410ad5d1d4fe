"""What the routes of the stream take and answer."""

from pydantic import Field

from taskmanager.field_types import RequestModel, ResponseModel, WrittenId


class StreamQuery(RequestModel):
    """From where, of what, and by whom."""

    project_id: list[WrittenId] = Field(default=[], description="These projects only.")
    entity: list[str] = Field(default=[], description="Such things only, besides the start and end of own memberships.")
    last_event_id: str = Field(
        default="",
        max_length=4_000,
        description="The `id` behind which to go on, where Last-Event-ID cannot be sent; empty, it counts as none.",
    )
    ticket: str | None = Field(default=None, description="A ticket, in place of a credential.")


class Ticket(ResponseModel):
    """What opens one stream by its address."""

    ticket: str = Field(description="Goes into the query of `GET /events`, once.")
    expires_in: int = Field(description="For how many seconds it is good.")

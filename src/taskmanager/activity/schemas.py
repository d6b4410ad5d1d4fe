"""What activity routes answer."""

from pydantic import Field, JsonValue

from taskmanager.events.schemas import Person
from taskmanager.field_types import INCLUDED, ResponseModel, Timestamp
from taskmanager.people.schemas import People


class Change(ResponseModel):
    """A field before and after."""

    old: JsonValue = Field(description="Before; null for nothing.")
    new: JsonValue = Field(description="After; null for nothing.")


class EventRead(ResponseModel):
    """One change of one thing."""

    id: int
    created_at: Timestamp
    actor: Person | None = Field(description="Who did it; null for the system and for deleted accounts.")
    entity: str = Field(
        description="The kind of thing; there may be more kinds later.",
        examples=["project", "member", "section", "task", "comment"],
    )
    entity_id: int = Field(description="Id of the thing; of a member, the user's.")
    version: int = Field(description="The version that the change made; 0 for what has none.")
    action: str = Field(examples=["created", "updated", "deleted", "moved_in", "moved_out", "added", "removed"])
    changes: dict[str, Change] = Field(
        description="The fields that changed, by name, before and after.",
        examples=[{"title": {"old": "Write copy", "new": "Write the copy"}}],
    )


class EventList(ResponseModel):
    """Changes, newest first."""

    events: list[EventRead]
    people: People = INCLUDED
    next_cursor: str | None = None

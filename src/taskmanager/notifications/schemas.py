"""What notification routes take and answer."""

from enum import StrEnum

from pydantic import Field

from taskmanager.events.schemas import Person
from taskmanager.field_types import INCLUDED, ResponseModel, Timestamp
from taskmanager.people.schemas import IncludePageQuery, People
from taskmanager.projects.schemas import Archived


class NotificationKind(StrEnum):
    """Why somebody is notified. There may be other reasons later."""

    ASSIGNED = "assigned"
    MENTIONED = "mentioned"
    UPDATED = "updated"


class NotificationQuery(IncludePageQuery):
    """Which notifications to list."""

    unread: bool | None = Field(default=None, description="Only those that are not read, or only those that are.")
    archived: Archived = Field(
        default=Archived.FALSE, description="Also of tasks of archived projects, or only those; `unread` follows."
    )


class NotificationRead(ResponseModel):
    """Something that the caller should know of a task."""

    id: int
    kind: NotificationKind
    task_id: int
    project_id: int
    task_title: str
    comment_id: int | None
    actor: Person | None = Field(description="Null once the account is deleted.")
    created_at: Timestamp
    read_at: Timestamp | None


class NotificationList(ResponseModel):
    """Notifications, newest first."""

    notifications: list[NotificationRead]
    unread: int = Field(description="How many are not read, on all pages together.")
    people: People = INCLUDED
    next_cursor: str | None = None

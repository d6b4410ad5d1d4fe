"""What the route of changes takes and answers."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from taskmanager.field_types import DIGITS, RequestModel, ResponseModel, WrittenId
from taskmanager.http.pagination import CursorText


class ChangesQuery(RequestModel):
    """From where, and of what."""

    since: CursorText | None = Field(
        default=None, description="`cursor` of the page before; without it everything is loaded."
    )
    limit: Annotated[int, Field(ge=1, le=1_000), DIGITS] = 200
    project_id: list[WrittenId] = Field(default=[], description="These projects only.")
    entity: list[str] = Field(default=[], description="Such things only, besides projects that are gone.")
    wait: Annotated[int, Field(ge=0, le=30), DIGITS] = Field(
        default=0, description="For how many seconds to wait for a change, if there is none."
    )


class GoneReason(StrEnum):
    """Why a thing is gone. There may be other reasons later."""

    DELETED = "deleted"
    MOVED = "moved"
    NO_ACCESS = "no_access"


class ChangeItem(ResponseModel):
    """A thing as it is now, under the name of its kind, or that it is gone.

    When a project is gone, everything of that project is; when a task is gone, its comments are.
    """

    model_config = ConfigDict(extra="allow")

    entity: str = Field(
        examples=["project", "member", "section", "task", "comment"], description="Others may come: ignore them."
    )
    id: int = Field(description="Id of the thing; of a member, the user's, in the project of `project_id`.")
    project_id: int
    version: int | None = Field(description="Its version, after the change; null for what has none.")
    deleted: bool
    reason: GoneReason | None = Field(default=None, description="Why it is gone; absent for what is there.")

    __pydantic_extra__: dict[str, dict[str, Any]]


class ChangesPage(ResponseModel):
    """What has changed, in the order in which it is to be applied."""

    changes: list[ChangeItem] = Field(description="What has changed since; empty if nothing has.")
    cursor: str = Field(description="`since` of the next page; to be stored together with the changes.")
    has_more: bool = Field(description="Whether the next page is worth asking for immediately.")

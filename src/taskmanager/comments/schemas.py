"""What comment routes take and answer."""

from typing import Annotated

from pydantic import Field

from taskmanager.events.schemas import Person
from taskmanager.field_types import INCLUDED, FreeText, RequestModel, ResponseModel, Timestamp
from taskmanager.people.schemas import People

Body = Annotated[str, FreeText(10_000, visible=True)]


class CommentText(RequestModel):
    """The text of a new or changed comment."""

    body: Body


class CommentRead(ResponseModel):
    """A comment."""

    id: int
    task_id: int
    project_id: int
    body: str
    author: Person | None = Field(description="Null once the account is deleted.")
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class CommentAnswer(CommentRead):
    """A comment, with what else the request asks for."""

    people: People = INCLUDED


class CommentList(ResponseModel):
    """The comments of a task, oldest first."""

    comments: list[CommentRead]
    people: People = INCLUDED
    next_cursor: str | None = None

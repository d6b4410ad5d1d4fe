"""What task routes take and answer."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, Field, ValidationInfo

from taskmanager.field_types import (
    INCLUDED,
    UNCHANGED,
    Day,
    FreeText,
    Id,
    Line,
    Moment,
    RequestModel,
    ResponseModel,
    Timestamp,
)
from taskmanager.people.schemas import People
from taskmanager.written_text import compose


class Included(NamedTuple):
    """What else an answer with tasks shows: the people whom it names, and how much belongs to each task."""

    people: bool = False
    counts: bool = False


NOTHING_INCLUDED = Included()


class TaskStatus(StrEnum):
    """How far a task is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


def _lower_tag(tag: str) -> str:
    lowered = compose(tag.lower())
    if len(lowered) > 50:
        raise ValueError("has more than 50 characters in lower case")
    return lowered


def _refuse_two_due(due_on: date | None, info: ValidationInfo) -> date | None:
    if due_on is not None and info.data.get("due_at") is not None:
        raise ValueError("must be null where due_at is given")
    return due_on


Title = Annotated[str, Line(200)]
Description = Annotated[str, FreeText(2000)]
Priority = Annotated[int, Field(strict=True, ge=1, le=5, description="From 1, the lowest, to 5.")]
Tag = Annotated[str, Line(50), AfterValidator(_lower_tag)]
Tags = Annotated[list[Tag], Field(max_length=20), AfterValidator(lambda tags: sorted(set(tags)))]

DueOn = Annotated[
    Day | None,
    AfterValidator(_refuse_two_due),
    Field(description="The day, without a time; then `due_at` must be null, and the day ends where its reader is."),
]

# A default that is a list would be copied for every task.
_NO_TAGS: Final[Any] = Field(default_factory=list, json_schema_extra={"default": []})


class TaskCreate(RequestModel):
    """A new task."""

    title: Title
    description: Description | None = None
    status: TaskStatus = TaskStatus.PENDING
    priority: Priority = 1
    tags: Tags = _NO_TAGS
    due_at: Moment | None = None
    due_on: DueOn = None
    start_at: Moment | None = None
    assignee_id: Id | None = None
    section_id: Id | None = None


class TaskCreateAnywhere(TaskCreate):
    """A new task for a project, or for the caller's Inbox."""

    project_id: Id | None = None


class TaskChanges(RequestModel):
    """Changes to a task in its project; what is left out stays as it is."""

    title: Title = UNCHANGED
    description: Description | None = None
    status: TaskStatus = UNCHANGED
    priority: Priority = UNCHANGED
    tags: Tags = UNCHANGED
    due_at: Moment | None = None
    due_on: DueOn = None
    start_at: Moment | None = None
    assignee_id: Id | None = None
    section_id: Id | None = None


class TaskUpdate(TaskChanges):
    """Changes to a task; what is left out stays as it is."""

    project_id: Id = UNCHANGED


class TaskRead(ResponseModel):
    """A task."""

    id: int
    project_id: int
    title: str
    description: str | None
    status: TaskStatus
    priority: int
    tags: list[str]
    due_at: Timestamp | None = Field(description="Null where `due_on` is set.")
    due_on: date | None = Field(description="The day on which it is due, if it has no time.")
    start_at: Timestamp | None
    assignee_id: int | None
    section_id: int | None
    position: str = Field(description="The manual order is that of these texts, compared by code point.")
    created_by: int | None = Field(description="Null once the account is deleted.")
    created_at: Timestamp
    updated_at: Timestamp
    completed_at: Timestamp | None
    version: int


class CountedTask(TaskRead):
    """A task, with how much belongs to it where the request asks for that."""

    comment_count: Annotated[int, Field(description="How many comments it has; only with `include=counts`.")] = INCLUDED


class TaskAnswer(CountedTask):
    """A task, with what else the request asks for."""

    people: People = INCLUDED


class TaskList(ResponseModel):
    """One page of tasks."""

    total: int | None = Field(description="How many tasks match, on all pages together; null if not counted.")
    skip: int
    limit: int
    tasks: list[CountedTask]
    people: People = INCLUDED
    next_cursor: str | None = Field(default=None, description="Leads to the next page; null on the last one.")

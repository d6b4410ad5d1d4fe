"""What task routes take and answer."""

from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from taskmanager.field_types import (
    DIGITS,
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
    WrittenId,
    WrittenMoment,
)
from taskmanager.http.pagination import CursorText, Limit, ListQuery
from taskmanager.people.schemas import People
from taskmanager.projects.schemas import Archived
from taskmanager.written_text import compose

MAX_IDS = 100


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


class TaskSort(StrEnum):
    """What a list can be sorted by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    PRIORITY = "priority"
    TITLE = "title"
    DUE_AT = "due_at"
    POSITION = "position"


class SortKey(NamedTuple):
    """One key of an order."""

    by: TaskSort
    ascending: bool


class Due(StrEnum):
    """When tasks are due, seen from the caller's time zone; a week begins on Monday."""

    NONE = "none"
    OVERDUE = "overdue"
    TODAY = "today"
    WEEK = "week"


class AssigneeWord(StrEnum):
    """What a filter by assignee takes in place of an id: the caller, or nobody."""

    ME = "me"
    NONE = "none"


class Counting(StrEnum):
    """Whether a list counts what matches."""

    EXACT = "exact"
    NONE = "none"


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


_KEY = f"({'|'.join(TaskSort)})"
SortBy = Annotated[str, Field(pattern=f"^{_KEY}(,{_KEY})?$", description="One key, or two with a comma between them.")]
Directions = Annotated[
    str, Field(pattern="^(asc|desc)(,(asc|desc))?$", description="Of all keys, or of each one, with a comma between.")
]
_LATER_FILTERS: Final = (
    *("section_id", "not_status", "not_tag", "not_assignee", "created_by", "due"),
    *("created_after", "created_before", "updated_after"),
)


class TaskInclude(StrEnum):
    """What else an answer with tasks shows."""

    PEOPLE = "people"
    COUNTS = "counts"


class TaskIncludeQuery(ListQuery):
    """What else to show of tasks, and beside them."""

    include: list[TaskInclude] = Field(
        default=[],
        description="`people`: everybody whom the answer names, by id; `counts`: how many comments each task has.",
    )

    @property
    def included(self) -> Included:
        """What else to show."""
        return Included(people=TaskInclude.PEOPLE in self.include, counts=TaskInclude.COUNTS in self.include)


class TaskFilters(ListQuery):
    """Which tasks of a project; a repeated filter means any of its values."""

    status: list[TaskStatus] = Field(default=[], description="How far they are.")
    not_status: list[TaskStatus] = Field(default=[], description="Without those that are so far.")
    priority: list[Annotated[int, Field(ge=1, le=5), DIGITS]] = Field(
        default=[], description="Their priority, from 1, the lowest, to 5."
    )
    tag: list[Tag] = Field(default=[], description="One of their tags.")
    not_tag: list[Tag] = Field(default=[], description="Without those that have one of these tags.")
    assignee: list[AssigneeWord | WrittenId] = Field(
        default=[], description="Who is to do them: an id, `me` for the caller, or `none` for nobody."
    )
    not_assignee: list[AssigneeWord | WrittenId] = Field(
        default=[],
        description="Without those that these are to do; `none` leaves out those that nobody has.",
    )
    created_by: list[Literal["me"] | WrittenId] = Field(
        default=[], description="Who created them: an id, or `me` for the caller."
    )
    section_id: list[Literal["none"] | WrittenId] = Field(
        default=[], description="The section that they are in, or `none` for those in none."
    )
    due: list[Due] = Field(default=[], description="By the caller's time zone; `overdue` as the filter of that name.")
    due_after: WrittenMoment | None = Field(
        default=None, description="Due at this moment or later; a day counts as its last moment in UTC."
    )
    due_before: WrittenMoment | None = Field(default=None, description="Due before this moment.")
    overdue: bool | None = Field(
        default=None,
        description="Due before now, or on a day that is over in the caller's time zone, and neither completed nor "
        "cancelled.",
    )
    created_after: WrittenMoment | None = Field(default=None, description="Created at this moment or later.")
    created_before: WrittenMoment | None = Field(default=None, description="Created before this moment.")
    updated_after: WrittenMoment | None = Field(default=None, description="Changed at this moment or later.")
    search: Annotated[str, FreeText(100)] | None = Field(
        default=None, description="Part of the title or the description, in any case; wildcards are literal."
    )
    archived: Archived = Field(
        default=Archived.FALSE,
        description="Also tasks of archived projects, or only those; without effect where projects are named.",
    )

    @model_validator(mode="after")
    def _refuse_reversed_ranges(self) -> Self:
        for name in ("due", "created"):
            after, before = getattr(self, f"{name}_after"), getattr(self, f"{name}_before")
            if after and before and after >= before:
                raise ValueError(f"{name}_after must be before {name}_before")
        return self


class ProjectTaskQuery(TaskIncludeQuery, TaskFilters):
    """Which tasks of a project to list, and in which order; a repeated filter means any of its values."""

    sort_by: SortBy = TaskSort.CREATED_AT.value
    order: Directions = Field(default="desc", description="By position alone it is `asc` by default.")
    skip: Annotated[int, Field(ge=0, le=10_000), DIGITS] = 0
    limit: Limit = 20
    cursor: CursorText | None = Field(default=None, description="`next_cursor` of the page before; `skip` is then 0.")
    count: Counting | None = Field(
        default=None, description="Whether to count `total`; without it the first page counts, those by cursor don't."
    )

    @cached_property
    def filters_and_order(self) -> str:
        """What makes this list different from those with other filters or another order, `archived` apart."""
        # Cursors from before there were these filters stay good.
        unset = {name for name in _LATER_FILTERS if not getattr(self, name)}
        return self.model_dump_json(exclude={"cursor", "skip", "limit", "count", "archived", "include", "id", *unset})

    @model_validator(mode="before")
    @classmethod
    def _order_positions_upwards(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("sort_by") == TaskSort.POSITION:
            return {"order": "asc", **given}
        return given

    @cached_property
    def sort(self) -> tuple[SortKey, ...]:
        """The keys to sort by; creation is not named where it follows anyway."""
        directions = self.order.split(",")
        names = self.sort_by.split(",")
        keys = [
            SortKey(TaskSort(name), ascending=direction == "asc")
            for name, direction in zip(names, directions * len(names), strict=False)
        ]
        if len(keys) == 2 and keys[1] == (TaskSort.CREATED_AT, keys[0].ascending):
            del keys[1]
        return tuple(keys)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.cursor is not None and self.skip > 0:
            raise ValueError("skip must be 0 with a cursor")
        names = self.sort_by.split(",")
        if len(set(names)) < len(names):
            raise ValueError("sort_by must name two different keys")
        if self.order.count(",") > self.sort_by.count(","):
            raise ValueError("order must not name more directions than sort_by has keys")
        return self


class TaskQuery(ProjectTaskQuery):
    """Which tasks to list, and in which order; a repeated filter means any of its values."""

    project_id: list[WrittenId] = Field(default=[], description="Tasks of these projects only.")
    id: Annotated[list[WrittenId], Field(max_length=MAX_IDS)] = Field(
        default=[],
        description="These tasks alone, in this order, as far as they may be seen; only `include` may stand beside it.",
    )

    @model_validator(mode="after")
    def _refuse_filters_beside_ids(self) -> Self:
        if self.id and (others := self.model_fields_set - {"id", "include"}):
            raise ValueError(f"id cannot stand beside {min(others)}")
        return self

    @model_validator(mode="after")
    def _order_within_one_project(self) -> Self:
        if any(key.by is TaskSort.POSITION for key in self.sort) and len(set(self.project_id)) != 1:
            raise ValueError("sort_by=position needs one project_id")
        return self
